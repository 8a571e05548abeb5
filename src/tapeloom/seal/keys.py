"""Keys and the files they are kept in.

A key seals nothing but data keys: each sealed object has its own, wrapped (AES key wrap, RFC 3394) in every header. A
key's id is made from its secret, so that a key file with a wrong character in it is found to be wrong before anything
is sealed with it or fails to open.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
import stat
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from tapeloom.errors import KeyMissing, KeyUnfit, SealError
from tapeloom.seal.library import library

SECRET_BYTES = 32
DATA_KEY_BYTES = 32
ID_BYTES = 16
FILE_BYTES_MAX = 4096

_FIRST_LINE = "tapeloom key, version "
_VERSION = 1
_FIELD = re.compile(r"(id|name|made|secret): (.*)")

_TEXT = """\
{first_line}{version}
# Who has this file can read what was sealed with it; who has lost it cannot, and nobody can help.
# Keep a second one where the tapes are not.
id: {id}
{name}made: {made}
secret: {secret}
"""


class Key(Struct, frozen=True):
    """`id` is what headers name it by, `secret` what nobody else may see, `name` what its owner calls it."""

    id: bytes
    secret: bytes
    name: str | None = None

    @classmethod
    def of(cls, secret: bytes, name: str | None = None) -> Key:
        """The key with this secret of SECRET_BYTES random bytes."""
        return cls(hashlib.sha256(b"tapeloom key id" + secret).digest()[:ID_BYTES], secret, name)

    def __repr__(self) -> str:
        return f"Key({self.shown})"  # whatever prints it, the secret stays one

    def __rich_repr__(self) -> list[tuple[str, Any]]:  # the one that it has as a record gives every field
        return [("id", self.shown)]

    @property
    def shown(self) -> str:
        """The id in hexadecimal, as the catalog and messages have it."""
        return self.id.hex()

    def wrap(self, data_key: bytes) -> bytes:
        """A data key as it stands in headers. Raises LibraryMissing."""
        wrapped: bytes = library("cryptography.hazmat.primitives.keywrap").aes_key_wrap(self.secret, data_key)
        return wrapped

    def unwrap(self, wrapped: bytes) -> bytes:
        """The data key again.

        Raises
        ------
        KeyUnfit
            It was not wrapped with this key, or has been changed since.
        LibraryMissing
        """
        keywrap = library("cryptography.hazmat.primitives.keywrap")
        try:
            data_key: bytes = keywrap.aes_key_unwrap(self.secret, wrapped)
        except (keywrap.InvalidUnwrap, ValueError):
            raise KeyUnfit(
                f"its header names the key {_called(self)}, but that does not open the data key in it: "
                "the header was changed or comes from somewhere else"
            ) from None
        return data_key


class KeyRing:
    """The keys that are here. A file that cannot be read is told when its key is asked for, and not before: what was
    sealed with another key needs it not.

    `remarks`: sentences on files that others than their owner may read.
    """

    def __init__(self) -> None:
        self.remarks: list[str] = []
        self._keys: dict[bytes, Key] = {}
        self._named: dict[str, Key | SealError] = {}
        self._unreadable: list[SealError] = []

    @classmethod
    def load(cls, files: Mapping[str, Path] | Iterable[Path] = ()) -> KeyRing:
        """The keys in these files; in a mapping under names of its own, as in `[keys]`. Raises nothing."""
        ring = cls()
        named: Iterable[tuple[str | None, Path]] = (
            files.items() if isinstance(files, Mapping) else ((None, path) for path in files)
        )
        for name, path in named:
            ring.add_file(path, name)
        return ring

    def add_file(self, path: Path, name: str | None = None) -> None:
        try:
            key, remark = _read(path)
        except SealError as error:
            self._unreadable.append(error)
            if name is not None:
                self._named[name] = error
            return
        self.remarks += [remark] if remark else []
        self.add(Key(key.id, key.secret, name or key.name))

    def add(self, key: Key) -> None:
        self._keys[key.id] = key
        if key.name is not None:
            self._named[key.name] = key

    def named(self, name: str) -> Key:
        """The key that the configuration calls so. Raises SealError where there is none, or its file cannot be read."""
        found = self._named.get(name)
        if isinstance(found, Key):
            return found
        raise found or SealError(f"there is no key called {name!r}: [keys] names key files")

    def find(self, id: bytes | str) -> Key:
        """The key with this id. Raises SealError where it is not here."""
        wanted = bytes.fromhex(id) if isinstance(id, str) else id
        if (key := self._keys.get(wanted)) is not None:
            return key
        also = "".join(f"; and {error}" for error in self._unreadable)
        raise KeyMissing(f"sealed with the key {wanted.hex()}, which is not here: name its file in [keys]{also}")


def new_key_file(path: Path, name: str | None = None) -> Key:
    """Makes a key, and a new file with it that its owner alone may read (mode 0600), on disk when this returns.

    Raises
    ------
    SealError
        The file is there already, or cannot be written; or `name` is not one printable line.
    """
    if name is not None and not (name.isprintable() and name.strip() == name and name):
        raise SealError(f"{name!r} cannot be a key's name: it is one line of printable characters")
    key = Key.of(os.urandom(SECRET_BYTES), name)
    text = _TEXT.format(
        first_line=_FIRST_LINE,
        version=_VERSION,
        id=key.shown,
        name=f"name: {name}\n" if name else "",
        made=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        secret=base64.b64encode(key.secret).decode(),
    )
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SealError(f"{path.parent}, the folder of the key, cannot be made: {error.strerror}") from None
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise SealError(f"{path} is there already, and stays as it is: a key that is overwritten is lost") from None
    except OSError as error:
        raise SealError(f"the key file {path} cannot be written: {error.strerror}") from None
    try:
        with open(fd, "w", encoding="utf-8") as file:
            os.fchmod(fd, 0o600)
            file.write(text)
            file.flush()
            os.fsync(fd)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise SealError(f"the key file {path} cannot be written: {error.strerror}") from None
    return key


def read_key_file(path: Path) -> Key:
    """The key in a file.

    Raises
    ------
    SealError
        It cannot be read, or is no key file of a version that is known, or a character in it is wrong.
    """
    return _read(path)[0]


def _read(path: Path) -> tuple[Key, str | None]:
    """The key, and a remark where others may read it."""
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(FILE_BYTES_MAX).decode()
    except OSError as error:
        raise SealError(f"the key file {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SealError(f"{path} is no key file") from None
    others = mode & (stat.S_IRWXG | stat.S_IRWXO)
    remark = f"{path}: others than its owner may use this key; `chmod 600` keeps it for its owner" if others else None
    return _parse(text, path), remark


def _parse(text: str, path: Path) -> Key:
    first, *rest = text.splitlines() or [""]
    if not first.startswith(_FIRST_LINE):
        raise SealError(f"{path} is no key file: it does not begin with {_FIRST_LINE.strip()!r}")
    if first != f"{_FIRST_LINE}{_VERSION}":
        raise SealError(f"{path} is a key file of another version ({first!r}); this tapeloom reads version {_VERSION}")
    fields = {found[1]: found[2].strip() for line in rest if (found := _FIELD.fullmatch(line))}
    try:
        secret = base64.b64decode(fields["secret"], validate=True)
        told = bytes.fromhex(fields["id"])
    except KeyError as missing:
        raise SealError(f"{path} is not whole: it has no {missing.args[0]}") from None
    except (binascii.Error, ValueError):
        secret = told = b""
    key = Key.of(secret, fields.get("name"))
    if len(secret) != SECRET_BYTES or key.id != told:
        raise SealError(f"{path} is damaged: its secret and its id do not belong together")
    return key


def _called(key: Key) -> str:
    return key.shown if key.name is None else f"{key.shown} ({key.name})"
