"""Reading tar archives: pax, ustar and GNU's long names, as they come out of a stream.

Nothing in an archive is believed further than its own entry: every length is bounded before memory is taken for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Protocol, cast, runtime_checkable

from msgspec import Struct, field

from ..errors import FormatError
from . import pax
from .report import printable
from .sink import Sequence

LISTING = b"GNU.dumpdir"
LISTING_BYTES_MAX = 512 << 20
"""The most that the listing of one folder may take, beyond what other records may: it has millions of names."""

_GNU_LONG_NAME, _GNU_LONG_LINK = b"L", b"K"
_BODILESS = frozenset((pax.HARD_LINK, pax.SYMBOLIC_LINK, pax.CHARACTER, pax.DEVICE, pax.FOLDER, pax.FIFO))
_REGULAR_ALIASES = {b"\0": pax.REGULAR, b"7": pax.REGULAR, b"D": pax.FOLDER}
_EMPTY = bytes(pax.BLOCK)
_NUMBER_DIGITS_MAX = 20
_SIZE_MAX = (1 << 63) - 1
_NUMBER = re.compile(rb"-?[0-9]{1,20}\Z")
_SECONDS = re.compile(rb"(-?)([0-9]{1,19})(?:\.([0-9]*))?\Z")
_FOR_ALL = (b"uid", b"gid", b"uname", b"gname", b"mtime", b"atime")


class Entry(Struct):
    """One entry of an archive: `kind` is one of the letters in `pax`. Times are ns since 1970.

    `stored` is what the content takes in the archive, `size` the length of the file, holes included; `extents` are
    offset and length of the pieces of a sparse file, or None. `listing` says what is in a folder (see `listing.py`).
    """

    path: bytes
    kind: bytes
    mode: int
    uid: int
    gid: int
    user: bytes
    group: bytes
    stored: int
    size: int
    mtime: int
    atime: int | None = None
    link: bytes = b""
    device: tuple[int, int] = (0, 0)
    attributes: dict[bytes, bytes] = field(default_factory=dict)
    acl_access: bytes | None = None
    acl_default: bytes | None = None
    extents: list[tuple[int, int]] | None = None
    listing: bytes | None = None


@runtime_checkable
class Viewed(Protocol):
    """A sequence whose bytes can be looked at where they lie."""

    def peek(self) -> memoryview:
        """The next unread bytes that lie together, empty at the end. Nothing is taken. Void after the next call."""

    def consume(self, bytes: int) -> None:
        """Pass over the first *bytes* of what `peek` has shown."""


class Seekable(Protocol):
    """A sequence of which parts are read."""

    def go_to(self, offset: int) -> None:
        """Go forward to *offset*. What lies between need not be there."""


class Unpax:
    """Iterates over the entries of *sequence*. What is not taken of an entry's content is passed over.

    Raises FormatError where the bytes are no archive, or end before its end mark.
    """

    def __init__(self, sequence: Sequence):
        self._sequence = sequence
        self._viewed = sequence if isinstance(sequence, Viewed) else None
        self._at = 0  # offset in the sequence
        self._until: int | None = None  # where the part ends that is read
        self._left = 0  # bytes of the present entry's content that were not taken
        self._padding = 0
        self._last = b""
        self._for_all: dict[bytes, bytes] = {}

    def part(self, begin: int, end: int) -> Iterator[Entry]:
        """The entries that stand from offset *begin* of the sequence up to *end*. Parts come in ascending order.

        Raises FormatError where the last one does not end there.
        """
        self._left = self._padding = 0
        cast(Seekable, self._sequence).go_to(begin)
        self._at, self._until = begin, end
        yield from self
        self._pass_over()
        if self._at > end:
            raise FormatError(f"an entry of the archive goes beyond byte {end}, where it is to end")

    def __iter__(self) -> Iterator[Entry]:
        records = dict(self._for_all)
        while True:
            self._pass_over()
            if self._until is not None and self._at >= self._until:
                return
            block = self._header()
            if block is None:
                return
            kind = block[156:157]
            if kind in (pax.RECORDS, pax.RECORDS_FOR_ALL):
                found = _parse_records(
                    self._text(_number(block, 124, 12), "records", pax.RECORDS_BYTES_MAX + LISTING_BYTES_MAX),
                    self._last,
                )
                others = sum(len(key) + len(value) for key, value in found.items() if key != LISTING)
                if others > pax.RECORDS_BYTES_MAX:
                    raise self._too_large("records", others, pax.RECORDS_BYTES_MAX)
                if kind == pax.RECORDS:
                    records = self._for_all | found
                else:
                    self._for_all.update((key, found[key]) for key in _FOR_ALL if key in found)
                    records = self._for_all | records
            elif kind == _GNU_LONG_NAME:
                records[b"path"] = self._text(_number(block, 124, 12), "long name").rstrip(b"\0")
            elif kind == _GNU_LONG_LINK:
                records[b"linkpath"] = self._text(_number(block, 124, 12), "long link name").rstrip(b"\0")
            else:
                entry = self._entry(block, records)
                self._last = entry.path
                yield entry
                records = dict(self._for_all)

    def copy_to(self, fd: int, entry: Entry) -> None:
        """Write the content of the present *entry* into the empty file *fd*, holes as holes.

        Raises OSError when writing fails.
        """
        if entry.extents is None:
            self._pump(fd, 0, entry.stored)
            return
        for offset, size in entry.extents:
            self._pump(fd, offset, size)

    def content(self, bytes: int) -> bytes:
        """The next *bytes* bytes of the present entry's content."""
        data = self._read(bytes)
        self._left -= bytes
        return data

    def view(self) -> memoryview:
        """What lies together in memory of the entries behind the present one, nothing where it cannot be looked at."""
        if self._viewed is None or self._for_all:
            return memoryview(b"")
        self._pass_over()
        if self._until is None:
            return self._viewed.peek()
        left = self._until - self._at
        return self._viewed.peek()[:left] if left > 0 else memoryview(b"")  # what lies behind a part may be missing

    def passed(self, bytes: int, last: bytes) -> None:
        """Say that whole entries of *bytes* bytes, which `view` has shown, are done with; *last* is the last one's
        path.
        """
        assert self._viewed is not None
        self._viewed.consume(bytes)
        self._at += bytes
        self._last = last

    def drain(self) -> None:
        """Read what follows the end mark, so that whoever sends it comes to an end."""
        while self._sequence.skip(1 << 20):
            pass

    def _pump(self, fd: int, offset: int, size: int) -> None:
        if size and self._sequence.pump_to(fd, offset, size) != size:
            raise self._ends_early()
        self._at += size
        self._left -= size

    def _pass_over(self) -> None:
        rest = self._left + self._padding
        self._left = self._padding = 0
        if rest and self._sequence.skip(rest) != rest:
            raise self._ends_early()
        self._at += rest

    def _read(self, size: int) -> bytes:
        data = self._sequence.read(size)
        if len(data) != size:
            raise self._ends_early()
        self._at += size
        return data if isinstance(data, bytes) else bytes(data)

    def _ends_early(self) -> FormatError:
        where = f"after {printable(self._last)}" if self._last else "at its start"
        return FormatError(f"the archive breaks off {where}: it is not whole")

    def _header(self) -> bytes | None:
        """The next header, checked, or None at the end mark."""
        block = self._read(pax.BLOCK)
        if block == _EMPTY:
            return None
        stated = _number(block, 148, 8)
        total = sum(block) - sum(block[148:156]) + 8 * ord(" ")
        if stated != total:
            signed = total - 256 * sum(byte > 127 for byte in block[:148] + block[156:])
            if stated != signed:  # some old programs summed signed characters
                where = f"behind {printable(self._last)}" if self._last else "at its start"
                raise FormatError(f"no archive, or a damaged one: the header {where} has a wrong checksum")
        return block

    def _text(self, size: int, what: str, most: int = pax.RECORDS_BYTES_MAX) -> bytes:
        if not 0 <= size <= most:
            raise self._too_large(what, size, most)
        text = self._read(size)
        self._padding = pax.padding(size)
        self._pass_over()
        return text

    def _too_large(self, what: str, size: int, most: int) -> FormatError:
        where = f"behind {printable(self._last)}" if self._last else "at the start"
        return FormatError(f"the {what} {where} of the archive would take {size} bytes, more than {most}")

    def _entry(self, block: bytes, records: dict[bytes, bytes]) -> Entry:
        kind = _REGULAR_ALIASES.get(block[156:157], block[156:157])
        path = records.get(b"path") or _name(block)
        if kind == pax.REGULAR and path.endswith(b"/") and b"path" not in records:
            kind = pax.FOLDER  # as before 1988
        size = _whole(records, b"size", path) if b"size" in records else _number(block, 124, 12)
        entry = Entry(
            path=path,
            kind=kind,
            mode=_number(block, 100, 8) & 0o7777,
            uid=_whole(records, b"uid", path) if b"uid" in records else _number(block, 108, 8),
            gid=_whole(records, b"gid", path) if b"gid" in records else _number(block, 116, 8),
            user=records[b"uname"] if b"uname" in records else _string(block, 265, 32),
            group=records[b"gname"] if b"gname" in records else _string(block, 297, 32),
            stored=size,
            size=size,
            mtime=_seconds(records, b"mtime", path) if b"mtime" in records else _number(block, 136, 12) * 1_000_000_000,
        )
        if b"atime" in records:
            entry.atime = _seconds(records, b"atime", path)
        if kind in (pax.HARD_LINK, pax.SYMBOLIC_LINK):
            entry.link = records.get(b"linkpath") or _string(block, 157, 100)
            if len(entry.link) > pax.PATH_BYTES_MAX:
                raise FormatError(f"{printable(path)} in the archive is a link to a name of {len(entry.link)} bytes")
        elif kind in (pax.CHARACTER, pax.DEVICE):
            entry.device = (_number(block, 329, 8), _number(block, 337, 8))
            if not all(0 <= number < 1 << 32 for number in entry.device):
                raise FormatError(f"{printable(path)} in the archive is a device with numbers that are none")
        if len(path) > pax.PATH_BYTES_MAX:
            raise FormatError(
                f"{printable(path)} in the archive is a name of {len(path)} bytes, which no file can have"
            )
        if not 0 <= size <= _SIZE_MAX:
            raise FormatError(f"{printable(path)} in the archive has a size that no file can have")
        if block[156:157] in _BODILESS:
            entry.stored = entry.size = 0  # a link may state the size of what it links to
        self._left, self._padding = entry.stored, pax.padding(entry.stored)
        for key, value in records.items():
            if key.startswith(pax.XATTR):
                name = key[len(pax.XATTR) :].replace(b"%3D", b"=").replace(b"%25", b"%")
                entry.attributes[name] = value
            elif key == pax.ACL_ACCESS:
                entry.acl_access = value
            elif key == pax.ACL_DEFAULT:
                entry.acl_default = value
            elif key == LISTING:
                entry.listing = value
        if any(key.startswith(b"GNU.sparse.") for key in records) or kind == b"S":
            self._sparse(entry, records)
        return entry

    def _sparse(self, entry: Entry, records: dict[bytes, bytes]) -> None:
        entry.path = records.get(b"GNU.sparse.name", entry.path)[: pax.PATH_BYTES_MAX]
        version = (records.get(b"GNU.sparse.major"), records.get(b"GNU.sparse.minor"))
        if entry.kind != pax.REGULAR or version != (b"1", b"0"):
            raise FormatError(
                f"{printable(entry.path)} is a sparse file in an old form that is not understood here: "
                "GNU tar reads it, and writes the one that is with --format=posix --sparse-version=1.0"
            )
        entry.size = _whole(records, b"GNU.sparse.realsize", entry.path)
        numbers = self._sparse_numbers(entry)
        extents = list(zip(numbers[0::2], numbers[1::2], strict=True))
        end = 0
        for offset, size in extents:
            if offset < end or not offset + size <= entry.size <= _SIZE_MAX:
                raise FormatError(f"the sparse map of {printable(entry.path)} does not fit the file")
            end = offset + size
        if sum(size for _, size in extents) != self._left:
            raise FormatError(f"the sparse map of {printable(entry.path)} does not fit its content")
        entry.extents = [extent for extent in extents if extent[1]]
        entry.stored = self._left

    def _sparse_numbers(self, entry: Entry) -> list[int]:
        """The map at the head of the content, which fills whole blocks."""
        wrong = FormatError(f"the sparse map of {printable(entry.path)} cannot be read")
        numbers: list[int] = []
        wanted = 1
        rest = b""
        while len(numbers) < wanted:
            if self._left < pax.BLOCK:
                raise wrong
            lines = (rest + self.content(pax.BLOCK)).split(b"\n")
            rest = lines.pop()
            for line in lines:
                if len(numbers) == wanted:
                    break
                if not line.isdigit() or len(line) > _NUMBER_DIGITS_MAX:
                    raise wrong
                numbers.append(int(line))
                if numbers[0] > pax.EXTENTS_MAX:
                    raise FormatError(f"{printable(entry.path)} has more than {pax.EXTENTS_MAX} pieces")
                wanted = 1 + 2 * numbers[0]
            if len(rest) > _NUMBER_DIGITS_MAX and len(numbers) < wanted:
                raise wrong
        return numbers[1:]


def _parse_records(text: bytes, behind: bytes) -> dict[bytes, bytes]:
    records = {}
    at = 0
    while at < len(text):
        space = text.find(b" ", at, at + _NUMBER_DIGITS_MAX)
        length = text[at:space] if space > 0 else b""
        end = at + int(length) if length.isdigit() else 0
        equals = text.find(b"=", space + 1, max(end - 1, 0))
        if not space + 2 <= end <= len(text) or equals < 0 or text[end - 1 : end] != b"\n":
            where = f"behind {printable(behind)}" if behind else "at the start"
            raise FormatError(f"the records {where} of the archive cannot be read")
        records[text[space + 1 : equals]] = text[equals + 1 : end - 1]
        at = end
    return records


def _string(block: bytes, at: int, size: int) -> bytes:
    return block[at : at + size].partition(b"\0")[0]


def _name(block: bytes) -> bytes:
    name = _string(block, 0, 100)
    if block[257:263] == b"ustar\0":
        prefix = _string(block, 345, 155)
        if prefix:
            return prefix + b"/" + name
    return name


def _number(block: bytes, at: int, size: int) -> int:
    """A number of the old header: octal digits, or GNU's base 256 where the first byte says so."""
    raw = block[at : at + size]
    if raw[0] in (0x80, 0xFF):
        return int.from_bytes(raw if raw[0] == 0xFF else raw[1:], "big", signed=raw[0] == 0xFF)
    digits = raw.partition(b"\0")[0].strip()
    if not digits:
        return 0
    try:
        if not digits.isalnum():  # int() takes signs and underscores too
            raise ValueError
        return int(digits, 8)
    except ValueError:
        raise FormatError("no archive, or a damaged one: a header holds a number that is none") from None


def _whole(records: dict[bytes, bytes], key: bytes, path: bytes) -> int:
    value = records.get(key, b"")
    if not _NUMBER.match(value):
        raise FormatError(f"the archive's record {printable(key)} of {printable(path)} is no number")
    return int(value)


def _seconds(records: dict[bytes, bytes], key: bytes, path: bytes) -> int:
    match = _SECONDS.match(records[key])
    if not match:
        raise FormatError(f"the archive's record {printable(key)} of {printable(path)} is no time")
    sign, seconds, fraction = match.groups()
    stamp = int(seconds) * 1_000_000_000 + int((fraction or b"")[:9].ljust(9, b"0"))
    return -stamp if sign else stamp
