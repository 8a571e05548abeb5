"""What a drive is, for Python: the contract of csrc/device.h, its outcomes as values and exceptions.

The semantics are those of the Linux st driver in variable block mode, but every outcome is a `Status` of its own. One
thread at a time uses a drive; only `release_hang`, `wait_hang` and `close` may come from another, while a write hangs
on purpose.
"""

from __future__ import annotations

import os
from enum import IntEnum
from types import TracebackType
from typing import TYPE_CHECKING, Final, Protocol

from msgspec import Struct

from tapeloom.errors import (
    BlockSizeError,
    DeviceError,
    EndOfData,
    EndOfMedium,
    HostFull,
    NoMedium,
    PositionLost,
    WriteProtected,
)

if TYPE_CHECKING:
    from typing import Self

    from typing_extensions import Buffer

    from tapeloom.device.aside import Aside
    from tapeloom.device.model import ModelCounts
    from tapeloom.health import Health


UNNAMED: Final = "?"
"""The name of a cartridge that is in a drive and that nobody could name yet: its label will."""


class Status(IntEnum):
    """What a call came to: `enum tl_status` of csrc/device.h. From 16 on: failures, after which the mount is over."""

    OK = 0
    FILEMARK = 1
    END_OF_DATA = 2
    EARLY_WARNING = 3
    END_OF_MEDIUM = 4
    BEGIN_OF_TAPE = 5
    ERR_IO = 16
    ERR_WRITE_PROTECTED = 17
    ERR_NO_MEDIUM = 18
    ERR_BUSY = 19
    ERR_BLOCK_SIZE = 20
    ERR_ROOM = 21
    ERR_INVALID = 22
    ERR_POSITION_LOST = 23
    ERR_UNSUPPORTED = 24
    ERR_HOST_FULL = 25


class Position(Struct, frozen=True):
    """Where a tape stands.

    Attributes
    ----------
    position : blocks and filemarks from the beginning.
    file : filemarks before here, None where the drive cannot say.
    end_of_data : position of the end of data, None where the drive cannot say.
    """

    position: int
    file: int | None
    end_of_data: int | None


_FAILURES: dict[Status, tuple[type[DeviceError], str]] = {
    Status.END_OF_DATA: (EndOfData, "nothing is recorded from here on"),
    Status.END_OF_MEDIUM: (
        EndOfMedium,
        "the tape is at its end, the block is not on it; go on with the next cartridge",
    ),
    Status.ERR_IO: (DeviceError, "input or output failed; what stands behind the last filemark is unknown"),
    Status.ERR_WRITE_PROTECTED: (WriteProtected, "the cartridge is write-protected"),
    Status.ERR_NO_MEDIUM: (NoMedium, "no cartridge is loaded"),
    Status.ERR_BUSY: (DeviceError, "the drive is busy"),
    Status.ERR_BLOCK_SIZE: (BlockSizeError, "a block of this length is not one that the drive can take"),
    Status.ERR_ROOM: (
        BlockSizeError,
        "the block is longer than the room given; it was passed, read it again into more",
    ),
    Status.ERR_INVALID: (DeviceError, "the drive was asked for something that makes no sense here"),
    Status.ERR_POSITION_LOST: (
        PositionLost,
        "the drive was reset or the cartridge changed; rewind and look at the label",
    ),
    Status.ERR_UNSUPPORTED: (DeviceError, "this drive cannot do that"),
    Status.ERR_HOST_FULL: (
        HostFull,
        "the disk under this virtual tape is full; free some space, the tape itself is not full",
    ),
}


def failure(status: int, what: str, errno: int = 0) -> DeviceError:
    """The exception for a status that is not a good outcome. `what` names drive, cartridge and call."""
    kind, words = _FAILURES[Status(status)]
    system = f" ({os.strerror(errno)})" if errno else ""
    return kind(f"{what}: {words}{system}", status=int(status), errno=errno)


class Magazine(Protocol):
    """How a library hands cartridges to one of its drives. Whoever brings or puts away has unloaded the drive."""

    def names(self) -> list[str]:
        """The cartridges that it can bring, in order, the one in the drive included."""

    def loaded(self) -> str | None:
        """What the library says is in the drive."""

    def bring(self, name: str) -> None:
        """Moves it into the drive; what is in there goes to a free slot. NoMedium, DeviceError."""

    def put_away(self) -> None:
        """What is in the drive goes to its slot."""

    def changes(self) -> object:
        """Differs once the library may hold other cartridges."""

    def close(self) -> None:
        """The drive is closed: lets go of its bay."""


class Device(Protocol):
    """An open drive: reserved for this process until `close`, or the end of a `with` block.

    Every call may raise `DeviceError` or one of its kinds, and `UsageError` on a drive that is closed. After any other
    than EndOfData, EndOfMedium, NoMedium and BlockSizeError the mount is over: what is on tape behind the last filemark
    is unknown.

    Leaving the place behind a written block by `rewind`, `locate`, `space_filemarks` backwards, `unload` or `close`
    writes a filemark first, as the st driver does. So a filemark alone proves nothing: what was written is complete
    where every call since the filemark before, and the `write_filemarks` that ended it, has succeeded.
    """

    name: str
    """As the configuration calls it."""
    spec: str
    """What it was opened as: "vtape:DIR", "null:", "memory:", "/dev/...-nst"."""
    makes_cartridges: bool
    """Whether `new_cartridge` can make blank ones."""
    fed_by_hand: bool
    """Whether a person puts one cartridge after another into it, as into a real drive that stands alone: no stack is in
    it, and no library feeds it. Then the label alone says which volume is in it. `loaded` is what the cartridge's
    memory says, or `UNNAMED`, until `call_it`; so it is put in with `load()`, looked at, and called as it is known."""

    @property
    def ops_address(self) -> int:
        """Address of a `struct tl_device_ops`, valid until `close`."""

    @property
    def handle_address(self) -> int:
        """What the functions at `ops_address` take first, valid until `close`."""

    @property
    def block_bytes_max(self) -> int:
        """The longest block that it takes."""

    @property
    def block_bytes_direct_max(self) -> int:
        """The longest block that goes to the medium without a copy, its errors at once."""

    @property
    def keeps(self) -> bool:
        """False: what is written is gone, the drive is there for measuring."""

    @property
    def loaded(self) -> str | None:
        """The cartridge in the drive; `UNNAMED` where nobody could name it."""

    def call_it(self, name: str) -> None:
        """From now on the cartridge in the drive is called so: its label has been read. UsageError: its stack or its
        library calls it otherwise. NoMedium: there is none."""

    @property
    def write_protected(self) -> bool:
        """Whether the loaded cartridge cannot be written. NoMedium where there is none."""

    @property
    def write_once(self) -> bool:
        """Whether what is on the loaded cartridge cannot be written over (WORM). False where nobody can tell."""

    def cartridges(self) -> list[str]:
        """The names of all cartridges that `load` could take, in order."""

    def changes(self) -> object:
        """Differs, compared with ==, once what `load` could take may have changed: a cartridge was put into the drive,
        the stack or the library. Cheap enough to be asked once a second."""

    def new_cartridge(self, name: str) -> None:
        """Makes a blank cartridge. UsageError: the name is taken, or not made of 1 to 32 of A-Z a-z 0-9 . _ - without a
        dot in front, or this drive cannot make one."""

    def load(self, cartridge: str | None = None) -> None:
        """Puts a cartridge in, rewound; the one in the drive goes out first. None: the one that is in already, or else
        the next of the stack behind the last one loaded. NoMedium: there is none. A drive that stands alone answers
        with the one inside, whatever is asked for, while that is `UNNAMED`: look at its label."""

    def unload(self) -> None:
        """Takes the cartridge out; it is out even if this raises. Nothing happens where there is none."""

    def write(self, block: Buffer) -> bool:
        """One block. True: it IS on tape, and the end of the tape is near. EndOfMedium: it is not on tape."""

    def read_into(self, buffer: Buffer) -> int:
        """The length of the block now in `buffer`; 0: a filemark was passed. EndOfData. BlockSizeError: `buffer` is
        too short, the block was passed."""

    def write_filemarks(self, count: int = 1) -> None:
        """When it returns, everything before is on the medium."""

    def rewind(self) -> None: ...

    def locate(self, position: int) -> None:
        """EndOfData: the tape ends before `position`, and stands there."""

    def to_end_of_data(self) -> None: ...

    def space_filemarks(self, count: int) -> Status:
        """Behind the count-th filemark, or with count < 0 before the count-th back. OK; BEGIN_OF_TAPE, and stands
        there. EndOfData: there are not so many, the tape stands at the end of data."""

    def space_blocks(self, count: int) -> Status:
        """Over count blocks, backwards with count < 0. OK; FILEMARK: stopped behind a filemark, or going backwards
        before it; BEGIN_OF_TAPE. EndOfData."""

    def position(self) -> Position: ...

    @property
    def simulated_seconds(self) -> float | None:
        """What a drive with a model has counted since it was opened, instead of letting it pass. None: time passes."""

    def model_counts(self) -> ModelCounts | None:
        """What a drive with a model did, and what its time went into; None without one."""

    @property
    def aside(self) -> Aside | None:
        """The process of its own that it is in; None: it is in this one."""

    def health(self, *, alerts: bool = True) -> Health | None:
        """What it tells of itself and of the cartridge in it; None: it has nothing of the kind, or does not answer. Not
        between a write and its filemark. `alerts`: the TapeAlert flags too, which the drive then forgets."""

    def failure(self, status: int, what: str) -> DeviceError:
        """The exception for a status that the kernel got from `ops_address` while it did `what`."""

    def release_hang(self) -> None:
        """A write that hangs on purpose (`Trouble.hang_write`) goes on."""

    def wait_hang(self, seconds: float) -> bool:
        """Waits until a write hangs on purpose; False: none does after so long."""

    def close(self) -> None:
        """Unloads, where a real drive that stands alone keeps its cartridge and rewinds it, and lets go. A write that
        hangs on purpose comes back with ERR_IO first. May be called again."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
