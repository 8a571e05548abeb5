"""What was checked and compiled before, kept in `<state>/cache`: the same file is not judged again for every job.

A result is taken from there where the configuration, its place, the question and the code that would answer it are what
they were, and the file that holds it is this user's alone, and whole. In any doubt everything is done anew, and not a
word is said of it: what is kept saves time (pydantic and networkx are not even loaded) and decides nothing. Only what
was found right is kept, so mistakes are found anew each time, with their lines.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import stat
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import tapeloom
from tapeloom.config import model
from tapeloom.limits import CONFIG_BYTES_MAX, STATE_DEFAULT

if TYPE_CHECKING:
    from tapeloom.schedule import Schedule

T = TypeVar("T")

FOLDER: Final = "cache"
RESULTS_MAX: Final = 32
"""So many of the newest are left when another one is kept."""

_RECORDS: Final = {
    record.__name__: record
    for record in (
        *(model.Config, model.Server, model.Drive, model.Library, model.Pool, model.Source),
        *(model.Agent, model.Selection, model.Group),
    )
}
_JUDGES: Final = (
    *("config", "compile", "graph.py", "kept.py", "limits.py"),
    *("moment.py", "quantity.py", "schedule.py", "softdrive.py", "timing.py", "vlib.py"),
)
"""The code whose results are kept."""


def config(path: str | os.PathLike[str]) -> model.Config:
    """The configuration in a file, as `config.load` gives it. Raises as that does."""
    shown = os.fspath(path)
    try:
        with open(shown, "rb") as file:
            data = file.read(CONFIG_BYTES_MAX + 1)
    except (OSError, ValueError):
        from tapeloom.config.loading import load

        return load(path)  # which has the words

    def judged() -> model.Config:
        from tapeloom.config.loading import judge

        return judge(shown, data)

    file_path = os.path.abspath(shown)
    state = _state(os.path.dirname(file_path), data)
    if state is None:
        return judged()
    return _kept(state, (b"config", os.fsencode(file_path), os.fsencode(shown), data), judged, _CONFIG)


def schedule(config: model.Config, groups: Sequence[str] | None = None) -> Schedule:
    """The schedule of a job, as `compile.compile_job` gives it. Raises as that does."""

    from tapeloom.schedule import Schedule  # and numpy, which a configuration does without

    def compiled() -> Schedule:
        from tapeloom.compile import compile_job

        return compile_job(config, groups)

    asked = json.dumps(None if groups is None else list(groups)).encode()
    question = json.dumps(_plain(config, without=("shown", "lines"))).encode()
    form = (Schedule.to_bytes, Schedule.from_bytes)
    return _kept(config.server.state, (b"schedule", asked, question), compiled, form)


def _state(folder: str, data: bytes) -> Path | None:
    """Where the state folder is, as far as that can be told before the file is judged."""
    import tomllib

    try:
        server = tomllib.loads(data.decode("utf-8-sig")).get("server", {})
    except (ValueError, RecursionError):
        return None
    state = server.get("state", STATE_DEFAULT) if isinstance(server, dict) else None
    return Path(folder, state) if isinstance(state, str) and "\0" not in state else None


# ----- files ----------------------------------------------------------------------------------------------------------


def _kept(
    state: Path,
    question: tuple[bytes, ...],
    answer: Callable[[], T],
    form: tuple[Callable[[T], bytes], Callable[[bytes], T]],
) -> T:
    encode, decode = form
    path = state / FOLDER / _digest(_code(), *question).hex()
    with suppress(OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return decode(_read(path))
    result = answer()
    with suppress(OSError):
        _write(path, encode(result))
    return result


def _read(path: Path) -> bytes:
    """The content of a file of ours. OSError, or ValueError where it is not certainly that."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(fd, "rb") as file:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
            raise ValueError("not this user's alone")
        digest, content = file.read(hashlib.sha256().digest_size), file.read()
    if digest != _digest(path.name.encode(), content):
        raise ValueError("not whole")
    return content


def _write(path: Path, content: bytes) -> None:
    if not path.parent.parent.is_dir():
        return  # the first job makes the state folder
    path.parent.mkdir(mode=0o700, exist_ok=True)
    beside = path.with_name(f"{os.getpid()}.part")
    try:
        fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with open(fd, "wb") as file:
            file.write(_digest(path.name.encode(), content) + content)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    _prune(path.parent)


def _prune(folder: Path) -> None:
    with os.scandir(folder) as entries:
        by_age = sorted((entry.stat(follow_symlinks=False).st_mtime_ns, entry.path) for entry in entries)
    for _, old in by_age[:-RESULTS_MAX]:
        os.unlink(old)


def _digest(*parts: bytes) -> bytes:
    whole = hashlib.sha256()
    for part in parts:
        whole.update(len(part).to_bytes(8, "little") + part)
    return whole.digest()


@functools.cache
def _code() -> bytes:
    """Which code it is that judges and compiles: a version, and what its files look like."""
    here = os.path.dirname(__file__)
    listed: list[object] = [tapeloom.__version__, sys.version_info[:3]]
    for name in _JUDGES:
        path = os.path.join(here, name)
        if not os.path.isdir(path):
            listed.append(_stamp(name, os.stat(path)))
            continue
        with os.scandir(path) as entries:
            listed += sorted(_stamp(entry.name, entry.stat()) for entry in entries if entry.name.endswith(".py"))
    return repr(listed).encode()


def _stamp(name: str, found: os.stat_result) -> tuple[str, int, int]:
    return name, found.st_size, found.st_mtime_ns


# ----- forms ----------------------------------------------------------------------------------------------------------


def _plain(value: object, without: Sequence[str] = ()) -> Any:
    """What JSON can hold of a configuration, and `_rich` makes a configuration of again."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case Path():
            return {"path": str(value)}
        case tuple():
            return {"tuple": [_plain(item) for item in value]}
        case dict():
            return {"dict": [[_plain(key), _plain(item)] for key, item in value.items()]}
    names = [name for name in _RECORDS[type(value).__name__].__struct_fields__ if name not in without]
    return {type(value).__name__: {name: _plain(getattr(value, name)) for name in names}}


def _rich(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    match kind:
        case "path":
            return Path(content)
        case "tuple":
            return tuple(map(_rich, content))
        case "dict":
            return {_rich(key): _rich(item) for key, item in content}
    return _RECORDS[kind](**{name: _rich(item) for name, item in content.items()})


def _config_bytes(config: model.Config) -> bytes:
    return json.dumps(_plain(config)).encode()


def _config_of(content: bytes) -> model.Config:
    found = _rich(json.loads(content))
    if not isinstance(found, model.Config):
        raise ValueError("no configuration")
    return found


_CONFIG: Final = (_config_bytes, _config_of)
