"""The frozen plan of one job: numpy arrays and nothing else.

A leaf: imports nothing of tapeloom but `limits`. The compiler makes it, `runtime` and the kernel run it, `plan` prints
it.

The words of the tables:

* a **stream** is one sequence of slots with one producer: all buffers of a chain that stand on one host share it, so a
  further mirror costs a row in `cursors` and no memory;
* a **pool** is the slots that a restore media agent reads into, for all of its streams together: which of them the next
  block is for, only the tape knows. It is a row of `streams` without sources and cursors, behind those that have some;
* a **cursor** is one buffer of one media agent: its place in a stream;
* an **agent** owns a drive and visits its cursors in the order of their rows;
* a **source** is one entry of the list that feeds a stream, one after another.
"""

from __future__ import annotations

import hashlib
import io
from ast import literal_eval
from enum import IntEnum

import numpy as np
from msgspec import Struct

NONE = 0xFFFFFFFF
"""Index that stands for "no such row"."""


class Kind(IntEnum):
    """What an agent is for.

    DIGEST agents have no drive: they only read along. Nor have SPOOL agents: such a one is dormant until its owner
    lags, and then takes its place in all streams. Row by row, its cursors have the owner's as `upstream`.
    """

    BACKUP = 0
    MIRROR = 1
    RESTORE = 2
    COPY = 3
    DIGEST = 4
    SPOOL = 5


class OnLag(IntEnum):
    WAIT = 0
    DETACH = 1
    SPOOL = 2


class Feed(IntEnum):
    """Who fills a stream's slots."""

    READER = 0
    """A thread of this process that reads files, or a command's output."""
    PRODUCER = 1
    """A program, through the Python API; from another process in shared memory of its own."""
    DRIVE = 2
    """A restore media agent, with slots of its pool: each goes to the stream whose block has been read into it."""
    POOL = 3
    """Nobody: these are the slots that a restore media agent reads into."""


STREAM = np.dtype(
    [
        ("feed", "u1"),
        ("header_bytes", "<u4"),
        ("quota", "<u4"),  # slots that no other stream can take, at least limits.SLOTS_PER_BUFFER_MIN; DRIVE: none
        ("cap", "<u4"),  # the most slots it may hold at once: quota plus a share of the common ones; DRIVE: the pool's
        ("first_source", "<u4"),
        ("sources", "<u4"),  # rows of `sources`, from first_source on
        ("agent", "<u4"),  # DRIVE: the restore agent that feeds it; POOL: the one that reads into it; else NONE
        ("thread", "<u4"),  # the thread that fills it, or NONE
    ]
)

SOURCE = np.dtype([("stream", "<u4"), ("order", "<u4"), ("digest", "u1")])

CURSOR = np.dtype(
    [
        ("stream", "<u4"),
        ("agent", "<u4"),
        ("upstream", "<u4"),  # the cursor this buffer is chained to, or NONE where a source feeds it
        ("depth", "<u4"),  # 0 for the first buffer of a chain
    ]
)

AGENT = np.dtype(
    [
        ("kind", "u1"),
        ("on_lag", "u1"),
        ("group", "<u4"),
        ("drive", "<u4"),  # NONE for DIGEST and SPOOL
        ("first_cursor", "<u4"),
        ("cursors", "<u4"),  # rows of `cursors`, from first_cursor on, in visiting order
        ("run_blocks", "<u4"),
        ("thread", "<u4"),
        ("lag_bytes", "<u8"),  # 0: no limit but the memory's
        ("lag_seconds", "<f8"),
        ("checkpoint_bytes", "<u8"),  # for SPOOL: of one segment
        ("checkpoint_seconds", "<f8"),
        ("start_bytes", "<u8"),  # with nothing left to write, so much is gathered before the next block; 0: nothing is
    ]
)

MEMORY = np.dtype([("count", "<u8"), ("each_bytes", "<u8")])


class Schedule(Struct, frozen=True):
    """Tables of one job. Rows refer to one another by index; names stand in arrays of their own, row by row.

    Attributes
    ----------
    size : u8[4]
        block_bytes, slot_bytes, slots in all (but for those behind spools), slots common to all streams.
    streams, sources, cursors, agents : structured arrays
        See `STREAM`, `SOURCE`, `CURSOR`, `AGENT`.
    source_names, buffer_names, agent_names, drive_names, group_names : str arrays
        For the rows of `sources`, `cursors`, `agents`, the drives, the groups.
    group_kinds : u1
        `Kind` of each group.
    drive_rates : f8
        Bytes per second that each drive is expected to take; nan where the configuration does not say.
    memory, memory_names : MEMORY[k], str[k]
        The itemised sum of all shared memory that the job allocates, decided before the first byte moves.
    """

    size: np.ndarray
    streams: np.ndarray
    sources: np.ndarray
    cursors: np.ndarray
    agents: np.ndarray
    source_names: np.ndarray
    buffer_names: np.ndarray
    agent_names: np.ndarray
    drive_names: np.ndarray
    group_names: np.ndarray
    group_kinds: np.ndarray
    drive_rates: np.ndarray
    memory: np.ndarray
    memory_names: np.ndarray

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            getattr(self, name).setflags(write=False)

    @property
    def block_bytes(self) -> int:
        return int(self.size[0])

    @property
    def slot_bytes(self) -> int:
        return int(self.size[1])

    @property
    def slots(self) -> int:
        return int(self.size[2])

    @property
    def slots_common(self) -> int:
        return int(self.size[3])

    @property
    def memory_bytes(self) -> int:
        return int((self.memory["count"] * self.memory["each_bytes"]).sum())

    @property
    def chains(self) -> int:
        """How many rows of `streams` carry blocks: the pools stand behind them."""
        return int((self.streams["feed"] != Feed.POOL).sum())

    def pool(self, agent: int) -> int:
        """The row of `streams` whose slots a RESTORE agent reads into."""
        ((row,),) = np.nonzero((self.streams["feed"] == Feed.POOL) & (self.streams["agent"] == agent))
        return int(row)

    def spool_owner(self, spool: int) -> int:
        """The agent that a SPOOL agent stands in for."""
        mirrored = self.cursors["upstream"][self.agents["first_cursor"][spool]]
        return int(self.cursors["agent"][mirrored])

    def fed_by(self, agent: int) -> list[int]:
        """The streams that a RESTORE agent hands blocks to."""
        mine = self.streams["agent"] == agent
        return [int(row) for row in np.flatnonzero(mine & (self.streams["feed"] == Feed.DRIVE))]

    def to_bytes(self) -> bytes:
        """The whole schedule in one deterministic byte string: same input, same bytes."""
        out = io.BytesIO()
        for name in self.__struct_fields__:
            array = np.ascontiguousarray(getattr(self, name))
            out.write(f"{name} {array.dtype.descr} {array.shape}\n".encode())
            out.write(array.tobytes())
            out.write(b"\n")
        return out.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Schedule:
        """The schedule that `to_bytes` gave these bytes. Raises ValueError for anything else."""
        wanted = {"streams": STREAM, "sources": SOURCE, "cursors": CURSOR, "agents": AGENT, "memory": MEMORY}
        arrays: dict[str, np.ndarray] = {}
        at = 0
        for field in cls.__struct_fields__:
            line = content[at : content.index(b"\n", at)]
            name, _, described = line.decode().partition(" ")
            descr, _, shape = described.rpartition(" ")
            try:
                columns, (rows,) = literal_eval(descr), literal_eval(shape)
                dtype = wanted.get(name, np.dtype(columns[0][1]))
            except (SyntaxError, TypeError, LookupError) as error:
                raise ValueError(f"{name} is no table: {error}") from None
            if name != field or dtype.descr != columns:
                raise ValueError(f"{name} in the place of {field}")
            at += len(line) + 1
            arrays[name] = np.frombuffer(content, dtype, rows, at).copy()
            at += arrays[name].nbytes + 1
        if at != len(content):
            raise ValueError("bytes beyond the last table")
        return cls(**arrays)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of `to_bytes()`, in hex."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    def __str__(self) -> str:
        lines = [f"schedule {self.fingerprint[:16]}"]
        for name in self.__struct_fields__:
            array = getattr(self, name)
            if array.dtype.names:
                lines.append(f"{name}: {' '.join(array.dtype.names)}")
                lines += [f"  {i:4d}: {' '.join(str(x) for x in row)}" for i, row in enumerate(array)]
            else:
                lines.append(f"{name}: {' '.join(str(x) for x in array)}")
        return "\n".join(lines) + "\n"
