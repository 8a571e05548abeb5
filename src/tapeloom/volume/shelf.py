"""What mounting has to know of the catalog: the volumes, and which of them are this job's to write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol
from uuid import UUID

from msgspec import Struct

from tapeloom.volume.looking import Look

if TYPE_CHECKING:
    from tapeloom.health import Doubt


class Known(Struct, frozen=True):
    """What the catalog knows of a volume.

    `end_position` is the place behind its last filemark with a receipt; `unfinished` says that a job of this very
    catalog went on writing behind it and did not come to an end, so that what stands there is nobody's. `replaces` is
    the volume that its cartridge held before, and holds still where a job ended before it wrote the label. `doubt` says
    why its cartridge is not to be trusted.
    """

    id: UUID
    label: str
    cartridge: str
    sequence: int
    previous: UUID | None
    block_bytes: int
    end_position: int
    unfinished: bool
    state: str = "appendable"
    pool: str | None = None
    barcode: str | None = None
    replaces: UUID | None = None
    doubt: Doubt | None = None

    @property
    def unfit(self) -> bool:
        """Nothing should be written to it while there is another one."""
        return self.doubt is not None and self.doubt.unfit


class Where(Struct, frozen=True):
    """Where a job's volumes belong: a library or a drive that stands alone, and the pool."""

    home: str
    pool: str


class Shelf(Protocol):
    """The catalog, as far as volumes go, as one job sees it."""

    def appendable(self, where: Where, drive: str) -> list[Known]:
        """The volumes that this drive may go on with, the one that it prefers first."""

    def scratch(self, where: Where) -> list[Known]:
        """Those that may be written from their beginning."""

    def by_cartridge(self, home: str, cartridge: str) -> Known | None: ...

    def by_id(self, volume: UUID) -> Known | None: ...

    def home_of(self, volume: UUID) -> str | None:
        """Where a volume belongs; None: it is not known."""

    def take(self, home: str, cartridge: str, drive: str) -> bool:
        """This drive writes to the cartridge. False: another one does, in this job."""

    def make_volume(
        self,
        *,
        id: UUID,
        cartridge: str,
        where: Where,
        sequence: int,
        previous: UUID | None,
        block_bytes: int,
        barcode: str | None,
        replaces: UUID | None,
        label: str | None = None,
    ) -> str:
        """Before the first byte of its label is written. Gives the label: the one asked for, or that of the volume that
        it `replaces`, else the cartridge's name, or one that begins so where another volume has it."""

    def labelled(self, id: UUID, end_position: int) -> None: ...

    def append_at(self, id: UUID, end_of_data: int, tail: Look | None) -> int:
        """Where the next block may go on a volume whose data ends at `end_of_data`; `tail` is what stands behind the
        last receipt, where a job of this catalog may have left it. Raises CatalogOlderThanTape, CatalogError."""


class Mounted(Struct, frozen=True):
    """A volume ready for appending at `position`."""

    id: UUID
    label: str
    sequence: int
    position: int
