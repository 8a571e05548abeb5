"""The text label, block 0 of a volume: for a human with nothing but `mt` and `dd`; and who wrote a volume."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from uuid import UUID

from ..errors import FormatError
from ..limits import KIB

LABEL_BYTES = 4 * KIB
READER_BYTES = 16 * KIB

_FIRST_LINE = "TAPELOOM VOLUME: backups written by tapeloom"

_TEXT = """\
{first_line}

  label         {label}
  volume id     {volume_id}
  written       {written} UTC
  drive         {drive}
  software      {software}, volume format 1
  blocks        up to {block_bytes} bytes each, of variable length

WHAT THIS IS
This medium holds data sequences ("objects") of several sources, woven into
one another block by block. Most objects are plain tar archives (POSIX pax).
You do not need tapeloom to read it: a small program stands on this medium, in
plain text, and needs nothing but Python 3.6 or later. Objects that "list"
calls zstd take the program zstd too; sealed ones take the Python module
cryptography and the file with their key: add --key=FILE.

  block 0   this text, 4096 bytes
  block 1   reader.py, the program, 16384 bytes with line feeds at its end
  block 2   a machine-readable label (header and JSON); then a filemark
  then      blocks: a header of 512 or 4096 bytes, which names its object and
            its place in it, then data. reader.py explains the header.

TAKING THE READER OFF A TAPE (the drive is /dev/nst0 here)
  mt -f /dev/nst0 setblk 0
  mt -f /dev/nst0 rewind
  mt -f /dev/nst0 fsr 1
  dd if=/dev/nst0 of=reader.py bs=64k count=1

TAKING THE READER OFF A VIRTUAL TAPE (a pair of files, NAME.tape, NAME.index)
  dd if=NAME.tape of=reader.py bs=4096 skip=1 count=4

USING IT
  mt -f /dev/nst0 rewind
  python3 reader.py list /dev/nst0
prints the objects with their ids. Then, for one of them:
  mt -f /dev/nst0 rewind
  python3 reader.py get ID object.tar /dev/nst0
  tar xvf object.tar
or, for all of them in one pass:
  mt -f /dev/nst0 rewind
  python3 reader.py all FOLDER /dev/nst0
Instead of /dev/nst0 give NAME.tape, or a file into which all blocks were
copied one after another. An object that goes on on another medium: name the
inputs in order, the drive as often as there are cartridges; it asks for each.
Every checksum is verified. What is missing or damaged is named, and --fill
puts zeros in its place, so that tar finds its way again behind it.

Older increments first: "parent" in the list names the object that an
increment builds on. GNU tar restores them with --listed-incremental=/dev/null
and then also carries out the deletions.
"""


def text_label(
    *, label: str, volume_id: UUID, written_at: int, drive: str, block_bytes: int, software: str = "tapeloom"
) -> bytes:
    """Block 0 of a volume: exactly 4096 bytes of ASCII, padded with line feeds.

    `written_at` is ns since 1970 UTC. What is not ASCII in a name is shown as `?`: the machine reads volume-start.

    Raises
    ------
    FormatError
        The names are so long that the text does not fit.
    """
    text = _TEXT.format(
        first_line=_FIRST_LINE,
        label=_one_line(label),
        volume_id=volume_id,
        written=datetime.fromtimestamp(written_at // 10**9, UTC).strftime("%Y-%m-%d %H:%M:%S"),
        drive=_one_line(drive),
        software=_one_line(software),
        block_bytes=block_bytes,
    ).encode("ascii", errors="replace")
    if len(text) > LABEL_BYTES:
        raise FormatError(f"the text label of {label!r} takes {len(text)} bytes of {LABEL_BYTES}: shorten the names")
    return text.ljust(LABEL_BYTES, b"\n")


def _one_line(name: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in name)


@cache
def reader_block() -> bytes:
    """Block 1 of a volume: reader.py padded with line feeds to 16 KiB, so that one `dd` line fits every volume."""
    from importlib.resources import files  # a new volume is rare

    text = (files(__package__) / "reader.py").read_bytes()
    if len(text) > READER_BYTES:
        raise FormatError(f"reader.py takes {len(text)} bytes: the block for it has {READER_BYTES}")
    return text.ljust(READER_BYTES, b"\n")


def is_tapeloom_label(block: bytes | memoryview) -> bool:
    """Whether `block`, the first of a volume, is a text label of tapeloom."""
    return len(block) == LABEL_BYTES and bytes(block[: len(_FIRST_LINE)]) == _FIRST_LINE.encode()


_SIGNS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"AMANDA: ", "Amanda"),
    (12, b"BB02", "Bareos or Bacula"),
    (12, b"BB01", "Bareos or Bacula"),
    (257, b"ustar", "tar"),
    (0, b"070701", "cpio"),
    (0, b"070702", "cpio"),
    (0, b"070707", "cpio"),
    (24, (60012).to_bytes(4, "little"), "dump"),
    (24, (60012).to_bytes(4, "big"), "dump"),
    (0, b"VOL1", "ANSI label"),
    (0, "VOL1".encode("cp037"), "IBM label"),
    (0, b"\x1f\x8b\x08", "gzip"),
    (0, b"\x28\xb5\x2f\xfd", "zstd"),
    (0, b"\xfd7zXZ\x00", "xz"),
)
_LTFS_AT = 24
_LTFS_ROOTS = (b"<ltfslabel", b"<ltfsindex")
_TAR_CHECKSUM = slice(148, 156)
_TAR_HEADER_BYTES = 512


def identify(first_block: bytes | memoryview) -> str | None:
    """Who wrote a volume, by its first block: "tapeloom", a foreign program's name, or None where nothing is known.

    None does not mean that the volume is empty. The signs stand in public documents: of tar, ustar and cpio in POSIX
    (pax), and of tar before it its checksum; of Amanda in amanda's media format; of Bareos and Bacula in their block
    headers' ids; of dump in protocols/dumprestore.h; of LTFS in SNIA's "LTFS Format Specification", whose two
    partitions begin with one VOL1 label, an XML label behind it; of ANSI and IBM labels in ANSI X3.27. NetBackup and
    Storage Protect (TSM) publish no sign of their own: with standard labels they are an ANSI or IBM label.
    """
    block = bytes(first_block[:_TAR_HEADER_BYTES])
    if block.startswith(_FIRST_LINE.encode()):
        return "tapeloom"
    if block.startswith(b"VOL1") and block[_LTFS_AT : _LTFS_AT + 4] == b"LTFS":
        return "LTFS"
    if block.lstrip().startswith(b"<?xml") and any(root in block for root in _LTFS_ROOTS):
        return "LTFS"
    found = next((name for at, sign, name in _SIGNS if block[at : at + len(sign)] == sign), None)
    return found or ("tar" if _is_old_tar(block) else None)


def _is_old_tar(block: bytes) -> bool:
    """A header without a magic number, of tar as it was before POSIX: the sum of its bytes, with blanks in the place
    of the sum."""
    said = block[_TAR_CHECKSUM].strip(b" \0")
    if len(block) < _TAR_HEADER_BYTES or not block[0] or not said or any(digit not in b"01234567" for digit in said):
        return False
    return int(said, 8) == sum(block) - sum(block[_TAR_CHECKSUM]) + 8 * ord(" ")


def holds(program: str | None) -> str:
    """What `identify` found on a volume of somebody else's, for a sentence that begins with its cartridge."""
    if program is not None and program.endswith(" label"):
        return f"has an {program}"
    return f"holds data of {program or 'an unknown program'}"
