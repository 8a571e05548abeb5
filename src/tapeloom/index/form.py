"""The stored form of an index: a Parquet file with one row per archive entry, in canonical order.

Columns: path, kind, mode, uid, gid, size, mtime, offset, link, as `agent.rows.RowBatch` says. Row groups have
GROUP_ROWS rows, but fewer where paths are long. What the columns cannot say stands in the file's key-value metadata:

    tapeloom.index   JSON: version, object, source, step, end, rows, files, folders, others, gone, bytes
    tapeloom.groups  base64 of zlib of: for each row group its rows (u32), for each the offset of its first row (u64),
                     for each the end of its first key (u32, cumulative), then these keys; all little-endian

Every page has a checksum. Behind the last row group stand 8 bytes, `TLIX` and the CRC-32 of everything that follows
them, and then the Parquet footer: any reader of Parquet skips them, and ours need not believe a damaged footer.
"""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any
from uuid import UUID

import numpy as np
from msgspec import Struct
from msgspec.structs import asdict
from numpy.typing import NDArray

from ..errors import TapeloomError, VersionTooNew
from ..limits import MIB

VERSION = 1

INDEX_KEY = b"tapeloom.index"
GROUPS_KEY = b"tapeloom.groups"

GROUP_ROWS = 32 * 1024
"""Small enough for one path to be found soon, large enough for names to compress."""
GROUP_BYTES_MAX = 8 * MIB
"""Of a group's paths and link targets."""

GUARD = b"TLIX"
GUARD_BYTES = 8
MAGIC = b"PAR1"

NUMBERS = {
    "kind": np.uint8,
    "mode": np.uint32,
    "uid": np.uint32,
    "gid": np.uint32,
    "size": np.uint64,
    "mtime": np.int64,
    "offset": np.uint64,
}
COLUMNS = ("path", *NUMBERS, "link")

ENCODINGS = {
    "path": "DELTA_BYTE_ARRAY",
    "size": "BYTE_STREAM_SPLIT",
    "mtime": "DELTA_BINARY_PACKED",
    "offset": "DELTA_BINARY_PACKED",
    "link": "DELTA_BYTE_ARRAY",
}
DICTIONARIES = ["kind", "mode", "uid", "gid"]
ZSTD_LEVELS = {"path": 3, "link": 3}


class Facts(Struct, frozen=True):
    """What an index says of its object as a whole.

    `step` is how many bytes of the sequence a block stands for, None where blocks differ; `end` the offset at which the
    last entry ends. `rows` counts all rows, `gone` those of GONE, `others` what is neither file nor folder, `bytes` the
    lengths of the files.
    """

    object: UUID
    source: str
    step: int | None
    end: int
    rows: int
    files: int
    folders: int
    others: int
    gone: int
    bytes: int


def pack_facts(facts: Facts) -> bytes:
    return json.dumps({"version": VERSION, **asdict(facts), "object": str(facts.object)}).encode()


def unpack_facts(packed: bytes) -> Facts:
    """Raises VersionTooNew; for what is no facts at all ValueError, KeyError or TypeError."""
    said: dict[str, Any] = json.loads(packed)
    if said.pop("version") > VERSION:
        raise VersionTooNew("the file index was written by a newer tapeloom; this one cannot read it")
    facts = Facts(**{**said, "object": UUID(said["object"])})
    counts = (facts.end, facts.rows, facts.files, facts.folders, facts.others, facts.gone, facts.bytes)
    if not all(isinstance(count, int) and count >= 0 for count in counts) or not isinstance(facts.source, str):
        raise ValueError("counts that are none")
    return facts


class Groups(Struct, frozen=True):
    """The row groups: how many rows each has, the offset of its first one, and that one's key."""

    rows: NDArray[np.uint32]
    offsets: NDArray[np.uint64]
    keys: list[bytes]

    def pack(self) -> bytes:
        ends = np.cumsum([len(key) for key in self.keys], dtype="<u4")
        numbers = self.rows.astype("<u4").tobytes() + self.offsets.astype("<u8").tobytes() + ends.tobytes()
        return base64.b64encode(zlib.compress(numbers + b"".join(self.keys)))

    @classmethod
    def unpack(cls, packed: bytes, count: int) -> Groups:
        """Raises ValueError or zlib.error where it is not that of `count` groups."""
        plain = zlib.decompress(base64.b64decode(packed, validate=True))
        numbers = count * (4 + 8 + 4)
        rows = np.frombuffer(plain, "<u4", count)
        offsets = np.frombuffer(plain, "<u8", count, offset=4 * count)
        ends = np.frombuffer(plain, "<u4", count, offset=12 * count).tolist()
        keys = [plain[numbers + first : numbers + last] for first, last in zip([0, *ends], ends, strict=False)]
        if len(plain) != numbers + (ends[-1] if ends else 0) or keys != sorted(keys):
            raise ValueError("groups that are none")
        return cls(rows, offsets, keys)


def arrow() -> tuple[Any, Any]:
    """The modules pyarrow and pyarrow.parquet: late, because they are large. TapeloomError: they are not there."""
    try:
        import pyarrow  # type: ignore[import-untyped]
        import pyarrow.parquet  # type: ignore[import-untyped]
    except ImportError as error:
        raise TapeloomError(f"file indexes need the package pyarrow, which is not installed ({error})") from None
    return pyarrow, pyarrow.parquet
