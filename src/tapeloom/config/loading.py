"""From a file to a `Config`, or to every mistake that is in it."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from tapeloom import limits, moment
from tapeloom.config.check import check
from tapeloom.config.devices import IN_FOLDERS, split_device
from tapeloom.config.faults import Path as KeyPath
from tapeloom.config.faults import dotted, quoted
from tapeloom.config.forms import (
    AgentForm,
    BackupGroupForm,
    ConfigForm,
    DriveForm,
    GroupForm,
    LibraryForm,
    RestoreAgentForm,
    ServerForm,
    WritingForm,
)
from tapeloom.config.libraries import bay_of, library_of
from tapeloom.config.model import (
    Agent,
    Config,
    Drive,
    Group,
    Kind,
    Library,
    OnLag,
    Pool,
    Selection,
    Server,
    Source,
    line_of,
)
from tapeloom.config.origins import SourceForm
from tapeloom.config.places import key_lines
from tapeloom.config.selecting import SelectionForm
from tapeloom.config.wording import faults_of
from tapeloom.errors import ConfigError, Problem

T = TypeVar("T")


def load(path: str | os.PathLike[str]) -> Config:
    """Read a configuration file and check it.

    Relative paths in it are taken from its folder. Nothing is opened but the file itself, and nothing is made; whether
    the paths of sources exist is for `missing_paths`. Raises ConfigError with all mistakes, in the order of the file.
    """
    shown = os.fspath(path)
    return judge(shown, _read(shown))


def judge(shown: str, data: bytes) -> Config:
    """Check the content of a configuration file whose path is `shown`. Raises ConfigError as `load` does."""
    tables, lines = _parse(shown, _text(shown, data))
    faults = check(tables)
    form = None
    try:
        form = ConfigForm.model_validate(tables)
    except ValidationError as error:
        faults += faults_of(error)
    if form is None or faults:
        problems = [
            Problem(shown, line_of(lines, at), f"{dotted(at)}: {what}" if at else what, hint)
            for at, what, hint in dict.fromkeys(faults)
        ]
        raise ConfigError(sorted(problems, key=lambda problem: problem.line or 0))
    return _Builder(shown, lines).config(form)


def missing_paths(config: Config) -> list[Problem]:
    """One problem for each path of a source, and each key file, that does not exist, or cannot be reached, now.

    That is no mistake in the file, since a disk may not be mounted yet. A source whose `before` command may be what
    makes its paths is passed over.
    """
    problems = []
    for name, path, at in _paths(config):
        try:
            os.stat(path)  # follows links, as reading the source does
        except OSError as error:
            missing = isinstance(error, FileNotFoundError)
            reason = "does not exist" if missing else f"cannot be reached: {error.strerror}"
            problems.append(config.problem(f"{name}: {path} {reason}", *at))
    return problems


def _paths(config: Config) -> Iterator[tuple[str, Path, KeyPath]]:
    """Every path that is read, with what it belongs to and its place in the file."""
    for source in config.sources.values():
        if source.before is not None:
            continue
        shown, at = f"source {quoted(source.name)}", ("sources", source.name)
        if source.raw is not None:
            yield shown, source.raw, (*at, "raw")
        for number, path in enumerate(source.paths):
            item: KeyPath = (*at, "paths", number)
            yield shown, path, item if item in config.lines else (*at, "path")
    for name, path in config.keys.items():
        yield f"key {quoted(name)}", path, ("keys", name)


def _read(shown: str) -> bytes:
    try:
        with open(shown, "rb") as file:
            return file.read(limits.CONFIG_BYTES_MAX + 1)
    except FileNotFoundError:
        raise _refused(shown, "there is no such file", "the verb `init` makes a starter file") from None
    except IsADirectoryError:
        inside = os.path.join(shown, "tapeloom.toml")
        hint = f"did you mean {inside}?" if os.path.isfile(inside) else "the verb `init` makes a starter file"
        raise _refused(shown, "this is a folder, not a configuration file", hint) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
        raise _refused(shown, f"the file cannot be read: {reason}", "the verb `init` makes a starter file") from None


def _text(shown: str, data: bytes) -> str:
    if len(data) > limits.CONFIG_BYTES_MAX:
        raise _refused(
            shown, f"the file is larger than {limits.CONFIG_BYTES_MAX} bytes: this is no configuration", None
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError([Problem(shown, line, "the file is not UTF-8 text")]) from None


def _refused(shown: str, what: str, hint: str | None) -> ConfigError:
    return ConfigError([Problem(shown, None, what, hint)])


def _parse(shown: str, text: str) -> tuple[dict[str, Any], dict[KeyPath, int]]:
    try:
        return tomllib.loads(text), key_lines(text)
    except RecursionError:
        raise _refused(shown, "the file is nested too deeply", None) from None
    except ValueError as error:
        said = str(error) if isinstance(error, tomllib.TOMLDecodeError) else "a number has thousands of digits"
        match = re.search(r" \(at line (\d+), column (\d+)\)$", said)
        line = int(match[1]) if match else (text.count("\n") + 1 if said.endswith("(at end of document)") else None)
        said = said[: match.start()] + f" at column {match[2]}" if match else said
        raise ConfigError([Problem(shown, line, f"this is not TOML: {said}")]) from None


class _Builder:
    """From forms that hold together to the model: defaults filled in, paths made absolute."""

    def __init__(self, shown: str, lines: dict[KeyPath, int]):
        self._shown = shown
        self._file = Path(os.path.abspath(shown))
        self._folder = self._file.parent
        self._lines = lines

    def config(self, form: ConfigForm) -> Config:
        sections: list[tuple[Kind, Mapping[str, GroupForm]]] = [
            ("backup", form.backup),
            ("mirror", form.mirror),
            ("restore", form.restore),
            ("copy", form.copy_),
        ]
        groups = [(kind, name, group) for kind, section in sections for name, group in section.items()]
        groups.sort(key=lambda entry: self._lines[entry[0], entry[1]])
        self._libraries = {name: self._library(name, library) for name, library in form.libraries.items()}
        self._restore_agents = {agent for group in form.restore.values() for agent in group.agents()}
        agents = [
            self._agent(kind, name, agent, found, group)
            for kind, name, group in groups
            for agent, found in group.agents().items()
        ]
        agents.sort(key=lambda agent: self._lines[agent.kind, agent.group, agent.name])
        return Config(
            file=self._file,
            folder=self._folder,
            server=self._server(form.server),
            drives={name: self._drive(name, drive) for name, drive in form.drives.items()},
            sources={name: self._source(name, source) for name, source in form.sources.items()},
            agents={agent.name: agent for agent in agents},
            groups={
                (kind, name): Group(
                    kind,
                    name,
                    tuple(a.name for a in agents if (a.kind, a.group) == (kind, name)),
                    level=group.level if isinstance(group, BackupGroupForm) else "full",
                )
                for kind, name, group in groups
            },
            shown=self._shown,
            lines=self._lines,
            pools={name: Pool(name, pool.retention) for name, pool in form.pools.items()},
            keys={name: self._path(key) for name, key in form.keys.items()},
            libraries=self._libraries,
        )

    def _path(self, text: str) -> Path:
        # not resolved, and ".." left alone: a folder may be a link
        return self._folder / text

    def _server(self, form: ServerForm) -> Server:
        state = self._path(form.state)
        spool = state / "spool" if form.spool is None else self._path(form.spool)
        return Server(state, form.block, form.memory, spool, form.spool_max, form.export_catalog)

    def _drive(self, name: str, form: DriveForm) -> Drive:
        device = split_device(form.device)
        changers = {library.name: library.changer for library in self._libraries.values()}
        if device.kind in IN_FOLDERS:
            device = device._replace(place=str(self._path(device.place)))
        library = library_of(str(device), form.library, changers)
        return Drive(
            name,
            str(device),
            form.capacity,
            form.rate,
            form.locate,
            library=library,
            bay=bay_of(str(device), form.bay),
        )

    def _library(self, name: str, form: LibraryForm) -> Library:
        changer = split_device(form.changer)
        if changer.kind in IN_FOLDERS:
            changer = changer._replace(place=str(self._path(changer.place)))
        return Library(name, str(changer))

    def _source(self, name: str, form: SourceForm) -> Source:
        paths = form.paths or ([form.path] if form.path is not None else [])
        return Source(
            name,
            paths=tuple(self._path(path) for path in paths),
            exclude=tuple(form.exclude),
            command=_command(form.command),
            producer=form.producer,
            digest=form.digest,
            one_file_system=form.one_file_system,
            before=_command(form.before),
            after=_command(form.after),
            time_limit=form.time_limit,
            cachedir_tag=form.exclude_caches,
            nobackup=tuple(form.exclude_if_present),
            raw=None if form.raw is None else self._path(form.raw),
            compress=form.compress,
            encrypt=form.encrypt,
        )

    def _agent(self, kind: Kind, group: str, name: str, form: AgentForm, shared: GroupForm) -> Agent:
        buffers = {key: _feeds(feeds) for key, feeds in form.buffers.items()}
        restored = form.buffers if isinstance(form, RestoreAgentForm) else {}
        # what the agent says goes before what its group says
        levels = [level for level in (form, shared) if isinstance(level, WritingForm)]
        runs = next((level for level in levels if level.run_blocks or level.max_restore_cost), WritingForm())
        return Agent(
            name,
            kind,
            group,
            form.drive,
            buffers,
            run_blocks=_first([runs.run_blocks], limits.RUN_BLOCKS_DEFAULT),
            on_lag=_first([level.on_lag for level in levels], self._on_lag(kind, buffers)),
            lag_bytes=_first([level.lag_max.bytes for level in levels if level.lag_max], 0),
            lag_seconds=_first([level.lag_max.time for level in levels if level.lag_max], limits.LAG_SECONDS_DEFAULT),
            checkpoint_bytes=_first(
                [level.checkpoint.bytes for level in levels if level.checkpoint], limits.CHECKPOINT_BYTES_DEFAULT
            ),
            checkpoint_seconds=_first(
                [level.checkpoint.time for level in levels if level.checkpoint],
                float(limits.CHECKPOINT_SECONDS_DEFAULT),
            ),
            max_restore_cost=runs.max_restore_cost,
            pool=_first([level.pool for level in levels], limits.DEFAULT_POOL),
            selections={key: _selection(feeds) for key, feeds in restored.items()},
        )

    def _on_lag(self, kind: Kind, buffers: dict[str, tuple[str, ...]]) -> OnLag:
        """Originals wait, and so do the first copies that a restore makes; what is chained behind them detaches."""
        if kind == "copy":
            fed_by = {feed.partition(".")[0] for feeds in buffers.values() for feed in feeds}
            return "detach" if fed_by.isdisjoint(self._restore_agents) else "wait"
        return "detach" if kind == "mirror" else "wait"


def _feeds(value: list[str] | SelectionForm) -> tuple[str, ...]:
    return tuple(value) if isinstance(value, list) else (value.words(),)


def _selection(value: list[str] | SelectionForm) -> Selection:
    if isinstance(value, list):
        return Selection(names=tuple(value))
    return Selection(
        sources=tuple(value.source),
        job=value.job,
        since_ns=None if value.since is None else moment.first_ns(value.since),
        until_ns=None if value.until is None else moment.last_ns(value.until),
        level=value.level,
        copies_below=value.copies_below,
        volume=value.volume,
        single=value.single,
    )


def _command(value: str | list[str] | None) -> str | tuple[str, ...] | None:
    return tuple(value) if isinstance(value, list) else value


def _first(given: list[T | None], default: T) -> T:
    return next((value for value in given if value is not None), default)
