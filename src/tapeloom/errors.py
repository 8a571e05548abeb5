"""Everything that tapeloom raises on purpose.

::

    TapeloomError
     +-- ConfigError          the configuration file is wrong: one Problem per mistake
     +-- UsageError           a command or a call that makes no sense here
     +-- Declined             somebody was asked, and said no
     +-- HeldError            a drive or the state folder is in another process's hands
     +-- DeviceError          a drive refused or failed
     |    +-- DriveHangs      it does not come back
     |    +-- NoMedium
     |    |    +-- NotReady         it is being loaded, or calibrated: ask again
     |    |    +-- VolumeWanted     a cartridge that is not there: who waits for it goes on when it is put in
     |    |         +-- VolumeBusy  it is in another drive of this process, and nobody has to put it in
     |    +-- WriteProtected
     |    +-- EndOfMedium     a write met the physical end
     |    +-- EndOfData       a read or a positioning went beyond what is recorded
     |    +-- PositionLost    reset or change of medium: nothing is known of the place
     |    +-- BlockSizeError
     |    +-- HostFull        the disk under a virtual tape is full
     +-- FormatError          bytes that are not what FORMAT.md says
     |    +-- BlockDamaged
     |    |    +-- SealBroken    a sealed block that its key does not open: changed, swapped or put there
     |    |    |    +-- KeyUnfit     not even the data key in its header: the whole object may be another key's
     |    |    +-- DigestWrong   a whole sequence, but not the one whose digest the catalog has
     |    +-- VersionTooNew
     |    +-- ForeignVolume   a volume that tapeloom did not label
     |    +-- IndexDamaged    a file that is no index of an object, or not whole
     +-- CatalogError
     |    +-- CatalogTooNew   the catalog was written by a newer version
     |    +-- CatalogOlderThanTape
     |    +-- NotFound        no such object, source, copy, volume or job
     |         +-- Ambiguous  or more than one
     +-- SourceError          a source could not be read: its object fails, nothing else
     |    +-- Stopped         the job told the source to stop
     |         +-- NoReaders  because no drive takes its object any more
     |         +-- JobGone    a producer in another process: the job's process has ended
     |    +-- NotWaiting      a producer in another process: no job waits for it
     |    +-- SnapshotError   what a source looked like at its last object cannot be read or written
     +-- SealError            a key that is no use
     |    +-- KeyMissing      or is not here
     +-- RetentionError       what was to be retired is still needed
     +-- LibraryMissing       an optional library, and what installs it
     +-- RestoreError
          +-- UnsafeEntry     an entry that would leave the target folder

Each carries one sentence that says what, where and how to mend it; `exit_status` is what a command ends with.
"""

from __future__ import annotations

from msgspec import Struct


class TapeloomError(Exception):
    """Base of all errors raised on purpose."""

    exit_status = 1


class Problem(Struct, frozen=True):
    """One mistake in a configuration file: `file:line: what (did you mean hint?)`."""

    file: str
    line: int | None
    what: str
    hint: str | None = None

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.what}" + (f" ({self.hint})" if self.hint else "")


class ConfigError(TapeloomError):
    """All mistakes of a configuration, together. `problems` is never empty."""

    exit_status = 2

    def __init__(self, problems: list[Problem]):
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))


class UsageError(TapeloomError):
    exit_status = 2


class Declined(TapeloomError):
    """Somebody was asked, and said no: nothing was done."""

    exit_status = 3


class HeldError(TapeloomError):
    """Another process holds what is asked for; the sentence names it."""

    exit_status = 3


class DeviceError(TapeloomError):
    """A drive refused or failed. `status` is the pinned number of csrc/device.h, `errno` the system's word or 0."""

    def __init__(self, message: str, *, status: int = 16, errno: int = 0):
        super().__init__(message)
        self.status = status
        self.errno = errno


class DriveHangs(DeviceError):
    """A drive has not come back from what it was asked, longer than any healthy one takes."""


class NoMedium(DeviceError):
    pass


class NotReady(NoMedium):
    pass


class VolumeWanted(NoMedium):
    """The sentence is for who waits; `absent` is what is not there, for who does not."""

    exit_status = 3

    def __init__(self, message: str, *, status: int = 16, errno: int = 0, absent: str | None = None):
        super().__init__(message, status=status, errno=errno)
        self.absent = absent or message


class VolumeBusy(VolumeWanted):
    pass


class WriteProtected(DeviceError):
    pass


class EndOfMedium(DeviceError):
    pass


class EndOfData(DeviceError):
    pass


class PositionLost(DeviceError):
    pass


class BlockSizeError(DeviceError):
    pass


class HostFull(DeviceError):
    pass


class FormatError(TapeloomError):
    pass


class BlockDamaged(FormatError):
    pass


class SealBroken(BlockDamaged):
    pass


class KeyUnfit(SealBroken):
    pass


class DigestWrong(BlockDamaged):
    pass


class VersionTooNew(FormatError):
    pass


class ForeignVolume(FormatError):
    """`program` is whose data it is, where that is known."""

    def __init__(self, message: str, program: str | None = None):
        super().__init__(message)
        self.program = program


class IndexDamaged(FormatError):
    pass


class CatalogError(TapeloomError):
    pass


class CatalogTooNew(CatalogError):
    exit_status = 3


class CatalogOlderThanTape(CatalogError):
    exit_status = 3


class NotFound(CatalogError):
    exit_status = 2


class Ambiguous(NotFound):
    pass


class SourceError(TapeloomError):
    pass


class Stopped(SourceError):
    pass


class NoReaders(Stopped):
    pass


class JobGone(Stopped):
    pass


class NotWaiting(SourceError):
    pass


class SnapshotError(SourceError):
    pass


class RestoreError(TapeloomError):
    pass


class UnsafeEntry(RestoreError):
    pass


class SealError(TapeloomError):
    pass


class KeyMissing(SealError):
    pass


class RetentionError(TapeloomError):
    """What was to be retired is still needed."""

    exit_status = 3


class LibraryMissing(TapeloomError):
    pass
