"""What Linux knows of a tape drive's device node, without opening it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from tapeloom.errors import DeviceError, UsageError
from tapeloom.limits import PAGE_BYTES

TAPE_MAJOR = 9
NO_REWIND = 128
"""This bit of the minor number: the tape stays where it is when the node is closed."""

DIRECT_PAGES_DEFAULT = 254
"""Where the system does not say how many: what a host adapter without large segments takes (tried on virtio-scsi)."""


def drive_number(minor: int) -> int:
    """Which drive a minor number stands for: all its nodes have the same. Bits 5 to 7 are mode and no-rewind."""
    return minor & 0x1F | (minor & ~0xFF) >> 3


class TapeNode(Struct, frozen=True):
    """A no-rewind node of the st driver.

    Attributes
    ----------
    path : as it was named, a link perhaps.
    minor : of the node.
    """

    path: str
    minor: int

    @property
    def number(self) -> int:
        return drive_number(self.minor)

    @property
    def serial(self) -> str | None:
        """Of the drive, as page 80h of its INQUIRY has it."""
        page = self._read("device/vpd_pg80")
        return page[4:].decode("ascii", errors="replace").strip("\0 ") or None if page else None

    @property
    def model(self) -> str:
        """Vendor, product and revision, as INQUIRY has them."""
        words = ((self._read(f"device/{part}") or b"").decode(errors="replace").strip() for part in _INQUIRY)
        return " ".join(word for word in words if word)

    @property
    def direct_bytes(self) -> int:
        """The longest page-aligned block that the driver sends from where it lies. Longer ones go through its own
        buffer, and their errors come late."""
        if self._number("device/driver/try_direct_io") == 0:
            return 0
        host = next((part for part in self._folder.resolve().parts if part.startswith("host")), "")
        pages = (
            self._number("device/driver/max_sg_segs"),
            _count(Path("/sys/class/scsi_host", host, "sg_tablesize")) if host else None,
        )
        return min((count for count in pages if count), default=DIRECT_PAGES_DEFAULT) * PAGE_BYTES

    @property
    def waits(self) -> bool:
        """The driver's calls come back when the drive has done what they ask for, as its options are by default. A
        filemark that it does not wait for proves nothing."""
        options = self._read("options")
        return options is None or not int(options, 16) & _NO_WAIT

    def holders(self) -> Iterator[str]:
        """The processes that have a node of this drive open, as far as this one may see them."""
        for process in Path("/proc").iterdir():
            if process.name.isdecimal() and self._open_in(process):
                with suppress(OSError):
                    command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                    yield f"pid {process.name}: {command}"

    def _open_in(self, process: Path) -> bool:
        with suppress(OSError):
            for fd in os.scandir(process / "fd"):
                with suppress(OSError):
                    found = os.stat(fd.path)
                    if _is_tape(found) and drive_number(os.minor(found.st_rdev)) == self.number:
                        return True
        return False

    @property
    def _folder(self) -> Path:
        return Path(f"/sys/dev/char/{TAPE_MAJOR}:{self.minor}")

    def _read(self, what: str) -> bytes | None:
        try:
            return (self._folder / what).read_bytes()
        except OSError:
            return None

    def _number(self, what: str) -> int | None:
        return _count(self._folder / what)


_NO_WAIT = 0x2000 | 0x8000
"""MT_ST_NOWAIT, of what moves the tape, and MT_ST_NOWAIT_EOF, of filemarks."""
_INQUIRY = ("vendor", "model", "rev")


def tape_node(path: str, what: str) -> TapeNode:
    """The node at `path`, also through links such as /dev/tape/by-id/...-nst. Errors begin with `what`. UsageError: it
    is no tape drive, or a node that rewinds. DeviceError: it is not there, as that of a drive that is switched off."""
    try:
        found = os.stat(path)
    except OSError as error:
        raise DeviceError(
            f"{what}: {path} cannot be looked at ({error.strerror}): is the drive connected, and the module st loaded?",
            errno=error.errno or 0,
        ) from error
    if not _is_tape(found):
        raise UsageError(f"{what}: {path} is no tape drive; name a node such as /dev/nst0 or /dev/tape/by-id/...-nst")
    minor = os.minor(found.st_rdev)
    if not minor & NO_REWIND:
        raise UsageError(
            f"{what}: {path} rewinds the tape whenever it is closed, and the next write would go over what is there; "
            f"take /dev/nst{drive_number(minor)}, or the name under /dev/tape/by-id that ends with -nst"
        )
    return TapeNode(path, minor)


def _is_tape(found: os.stat_result) -> bool:
    return stat.S_ISCHR(found.st_mode) and os.major(found.st_rdev) == TAPE_MAJOR


def _count(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
