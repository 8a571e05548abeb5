"""The files that the paths of an archive stand for, as they are now; and what stands among them and has no entry.

Paths come in canonical order, so that the folders on the way to one are open already for most. No symbolic link is
followed, but where a source's own path is one.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from ..errors import SourceError
from .descent import FOLDER_FLAGS, Descent
from .report import reason
from .rules import Rules
from .walk import open_unseen

Components = list[bytes]

_ROOT: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_PARENT: Final = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_CACHE_TAG: Final = b"CACHEDIR.TAG"
_CACHE_SIGNATURE: Final = b"Signature: 8a477f597d28d172789f06886806bc55"


class Standing:
    """Where the files of a source's *paths* stand. As `TreeSource` has it: the content of one folder stands at the root
    of its archive, of several paths each under its last component.

    Raises SourceError where the only path there is does not exist."""

    def __init__(self, paths: Sequence[Path]):
        self._alone = len(paths) == 1 and _is_folder(paths[0])
        self._roots = {b"" if self._alone else _name(path): path for path in paths}
        self._name: bytes | None = None  # of the root that is open
        self._file = b"."  # what is looked at in the root's descriptor for the root itself
        self._descent: Descent | None = None
        self.device = 0
        """The file system of the root that the last path found is below."""

    @property
    def names(self) -> list[bytes]:
        """What stands at the top of the archive where it has several roots."""
        return [] if self._alone else list(self._roots)

    def below_root(self, components: Components) -> Components:
        """The part that patterns see."""
        return components if self._alone else components[1:]

    def archived(self, components: Components) -> bytes:
        """The path as it would stand in the archive, but for a folder's closing slash."""
        return b"/".join([b".", *components] if self._alone else components)

    def find(self, components: Components) -> tuple[int, bytes]:
        """The folder that a path lies in, open until the next call, and its name there.

        Raises OSError where there is no such folder any more, or where it cannot be opened. For the root of an archive
        of several paths, which is no file, FileNotFoundError.
        """
        name = b"" if self._alone else b"".join(components[:1])
        rest = self.below_root(components)
        descent = self._root(name)
        if not rest:
            return descent.root, self._file
        if self._file != b".":
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        wanted = rest[:-1]
        while descent.names != wanted[: descent.depth]:
            descent.leave()
        for part in wanted[descent.depth :]:
            descent.enter(part, open_unseen(part, FOLDER_FLAGS, descent.fd))
        return descent.fd, rest[-1]

    def look(self, components: Components) -> os.stat_result:
        """The status of what stands under a path, wherever that is. Raises OSError."""
        other = Standing(list(self._roots.values()))
        try:
            parent, name = other.find(components)
            return os.stat(name, dir_fd=parent, follow_symlinks=False)
        finally:
            other.close()

    def close(self) -> None:
        if self._descent is not None:
            self._descent.close()
        self._descent = self._name = None

    def _root(self, name: bytes) -> Descent:
        if self._descent is not None and name == self._name:
            return self._descent
        self.close()
        if name not in self._roots:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        path, self._file = self._roots[name], b"."
        try:
            fd = open_unseen(path, _ROOT)
        except NotADirectoryError:
            path = path.resolve(strict=True)
            self._file = os.fsencode(path.name)
            fd = os.open(path.parent, _PARENT)
        self._descent, self._name = Descent(fd), name
        self.device = os.fstat(fd).st_dev
        return self._descent


class Newcomers:
    """Finds what stands in the folders of an archive now and has no entry there. *tell* is told its path, of each such
    folder but not of what is below."""

    def __init__(self, standing: Standing, rules: Rules, tell: Callable[[Components], None]):
        self._standing = standing
        self._rules = rules
        self._tell = tell
        self._excluded = rules.matcher()
        self._folders: list[tuple[Components, set[bytes]]] = [([], set(standing.names))]

    def entry(self, components: Components) -> None:
        """An entry comes: what is left of the folders that it does not lie in has none."""
        parent = components[:-1]
        while self._folders and parent[: len(self._folders[-1][0])] != self._folders[-1][0]:
            self._leave()
        if components and self._folders and self._folders[-1][0] == parent:
            self._folders[-1][1].discard(components[-1])

    def folder(self, components: Components, fd: int) -> None:
        """The entry is that of the folder that is open as *fd*. Raises OSError where it cannot be listed."""
        self._folders.append((components, self._names(components, fd)))

    def finish(self) -> None:
        """No more entries come."""
        while self._folders:
            self._leave()

    def _leave(self) -> None:
        components, names = self._folders.pop()
        for name in sorted(names):
            self._tell([*components, name])

    def _names(self, components: Components, fd: int) -> set[bytes]:
        rules = self._rules
        if rules.one_file_system and os.fstat(fd).st_dev != self._standing.device:
            return set()
        prefix = b"".join(part + b"/" for part in self._standing.below_root(components))
        names = set()
        with os.scandir(fd) as entries:
            for entry in entries:
                name = os.fsencode(entry.name)
                if name in rules.nobackup or (rules.cachedir_tag and name == _CACHE_TAG and _is_tag(fd)):
                    return set()
                slash = b"/" if entry.is_dir(follow_symlinks=False) else b""
                if self._excluded is None or not self._excluded(prefix + name + slash):
                    names.add(name)
        return names


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except OSError as error:
        raise SourceError(f"{path} cannot be compared with: {reason(error)}. Is its disk mounted?") from None


def _name(path: Path) -> bytes:
    return os.fsencode(path.name if path.name not in ("", "..") else path.resolve().name)


def _is_tag(folder: int) -> bool:
    try:
        fd = open_unseen(_CACHE_TAG, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, folder)
    except OSError:
        return False
    try:
        return os.read(fd, len(_CACHE_SIGNATURE)) == _CACHE_SIGNATURE
    except OSError:
        return False
    finally:
        os.close(fd)
