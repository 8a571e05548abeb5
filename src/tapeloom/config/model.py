"""A configuration that has been checked: frozen, whole, with every default filled in and every path absolute."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from msgspec import Struct, field

from tapeloom.errors import Problem, UsageError
from tapeloom.limits import DEFAULT_POOL

if TYPE_CHECKING:
    from tapeloom.config.faults import Path as KeyPath
    from tapeloom.timing import Timing

Kind = Literal["backup", "mirror", "restore", "copy"]
OnLag = Literal["wait", "detach", "spool"]
Level = Literal["full", "incremental", "differential"]
Digest = Literal["none", "sha256", "blake3"]


class Server(Struct, frozen=True):
    """`state` and `spool` are absolute paths; `block` counts the bytes of a tape block with its header, `memory` of all
    slots, `spool_max` of all that the agents of one job may have in `spool` at once. `export_catalog`: the catalog goes
    to tape after each backup."""

    state: Path
    block: int
    memory: int
    spool: Path
    spool_max: int
    export_catalog: bool = False


class Drive(Struct, frozen=True):
    """A recorder.

    `device` is "vtape:" and an absolute path, "null:" or "memory:" (options of the driver behind a question mark), or a
    path below /dev. `capacity` is in bytes a cartridge, `rate` in bytes per second, `locate` the seconds that going
    to another place on a tape takes on the average, `library` the one that it stands in, `bay` the number of its place
    there; None where the file does not say.
    """

    name: str
    device: str
    capacity: int | None = None
    rate: float | None = None
    locate: float | None = None
    library: str | None = None
    bay: int | None = None

    @property
    def home(self) -> str:
        """Where its volumes belong: the library that it stands in, or the drive itself."""
        return self.library or self.name

    @property
    def timing(self) -> Timing:
        """What is expected of it: as the file has it, else as its model or drives of its kind are. Raises UsageError
        where its options name no model."""
        from tapeloom.timing import Timing  # a backup expects nothing

        return Timing.of(real=self.device.startswith("/"), rate=self.rate, locate=self.locate, model=self._model)

    @property
    def stated_rate(self) -> float | None:
        """Bytes per second, as the file or the drive's model has it; None where neither does."""
        if self.rate is not None or (model := self._model) is None:
            return self.rate
        return model.rate

    @property
    def _model(self) -> Timing | None:
        from tapeloom.config.devices import split_device  # for virtual drives: start-up time

        options = split_device(self.device).pairs
        if not options:
            return None
        from tapeloom.timing import modelled

        try:
            return modelled(options)
        except ValueError as wrong:
            raise UsageError(f"drive {self.name}: {wrong}") from None


class Library(Struct, frozen=True):
    """A changer with slots and drives. `changer` is a path below /dev, or "vlib:" and an absolute path, with options
    behind a question mark."""

    name: str
    changer: str


class Pool(Struct, frozen=True):
    """A named set of volumes. `retention` is in seconds, counted from an object's moment; None: nothing on them ever
    expires."""

    name: str
    retention: float | None = None


class Source(Struct, frozen=True):
    """Where a data sequence comes from: exactly one of `paths`, `command`, `raw` and `producer` is set.

    A command (`command`, `before`, `after`) that is a string is for the shell, one that is a tuple is not; `time_limit`
    is in seconds, for each of them. `exclude` holds gitignore-style patterns, `nobackup` the names of files that keep
    the content of their folder out. `compress` is a level of zstd, `encrypt` a name in `Config.keys`.
    """

    name: str
    paths: tuple[Path, ...] = ()
    exclude: tuple[str, ...] = ()
    command: str | tuple[str, ...] | None = None
    producer: bool = False
    digest: Digest = "none"
    one_file_system: bool = False
    before: str | tuple[str, ...] | None = None
    after: str | tuple[str, ...] | None = None
    time_limit: float | None = None
    cachedir_tag: bool = False
    nobackup: tuple[str, ...] = ()
    raw: Path | None = None
    compress: int | None = None
    encrypt: str | None = None


class Selection(Struct, frozen=True):
    """Which objects a restore buffer is assigned to: those that fit everything that is said.

    `names` are sources, of each its newest object, or ids of objects: the catalog tells which. With any of the other
    fields all objects are meant that fit; `job` is an id or the beginning of one, `volume` a label. `since_ns` and
    `until_ns` are the first and the last ns since 1970 UTC, both included; `copies_below` takes what has fewer good
    copies. Unless `single`, an object brings those it is based on.
    """

    names: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    objects: tuple[str, ...] = ()
    job: str | None = None
    since_ns: int | None = None
    until_ns: int | None = None
    level: Level | None = None
    copies_below: int | None = None
    volume: str | None = None
    single: bool = False


class Agent(Struct, frozen=True):
    """A media agent.

    `buffers` maps each buffer, in the order of the file, to what feeds it: names of sources for a backup agent, exactly
    one "AGENT.BUFFER" for a mirror or copy agent, names of sources or object ids for a restore agent, or the words of
    a selection, as "D4 level=full". `selections` says for each buffer of a restore agent what these mean. `lag_bytes` 0
    is no limit. With `max_restore_cost` (seconds of restoring one of its objects : those of one in one piece) it is for
    the compiler to choose the `run_blocks`. `pool` is that of the volumes it writes.
    """

    name: str
    kind: Kind
    group: str
    drive: str
    buffers: dict[str, tuple[str, ...]]
    run_blocks: int
    on_lag: OnLag
    lag_bytes: int
    lag_seconds: float
    checkpoint_bytes: int
    checkpoint_seconds: float
    max_restore_cost: float | None = None
    pool: str = DEFAULT_POOL
    selections: dict[str, Selection] = field(default_factory=dict)


class Group(Struct, frozen=True):
    """Agents of one kind that run together, by name, in the order of the file.

    `level` is what a backup group's jobs take when nothing else is asked for; other groups have it and do not use it.
    """

    kind: Kind
    name: str
    agents: tuple[str, ...]
    level: Level = "full"


class Config(Struct, frozen=True):
    """A whole configuration, as `load` gives it.

    `file` and `folder` are absolute; relative paths of the file have been taken from `folder`. All mappings are in the
    order of the file. `keys` are key files by name, `pools` those that have a table of their own, or a retention.
    """

    file: Path
    folder: Path
    server: Server
    drives: dict[str, Drive]
    sources: dict[str, Source]
    agents: dict[str, Agent]
    groups: dict[tuple[str, str], Group]
    shown: str
    """The file as its user named it, for messages."""
    lines: dict[KeyPath, int]
    keys: dict[str, Path] = field(default_factory=dict)
    pools: dict[str, Pool] = field(default_factory=dict)
    libraries: dict[str, Library] = field(default_factory=dict)

    def where(self, *keys: str | int) -> int | None:
        """The line of a key; of the nearest table around it where the key is not in the file; None where neither is.

        For example `where("backup", "nightly", "BMA124", "buffers", "B1")`.
        """
        return line_of(self.lines, keys)

    def problem(self, what: str, *keys: str | int, hint: str | None = None) -> Problem:
        """A mistake at a key of this file, ready for a `ConfigError`."""
        return Problem(self.shown, self.where(*keys), what, hint)


def line_of(lines: dict[KeyPath, int], keys: KeyPath) -> int | None:
    """The line of the longest part of the path that is in the file."""
    for length in range(len(keys), 0, -1):
        if (line := lines.get(keys[:length])) is not None:
            return line
    return None
