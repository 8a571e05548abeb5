"""What is on a tape."""

from __future__ import annotations

from dataclasses import dataclass, field

from tapeguest.target.sense import DATA_PROTECT, Check

MARK = None
"""A filemark among the records."""


@dataclass(slots=True)
class Cartridge:
    """Blocks and filemarks in order, and what the cartridge's memory chip knows.

    Attributes
    ----------
    capacity, early_warning : bytes on the whole tape; bytes before its end from which on the drive warns.
    bad : positions that cannot be read.
    """

    barcode: str
    capacity: int
    early_warning: int
    protected: bool = False
    worm: bool = False
    records: list[bytes | None] = field(default_factory=list)
    used: int = 0
    loads: int = 0
    written: int = 0
    read: int = 0
    bad: set[int] = field(default_factory=set)

    @property
    def serial(self) -> str:
        return f"SN{self.barcode}"

    def near_end(self) -> bool:
        return self.used >= self.capacity - self.early_warning

    def fits(self, length: int) -> bool:
        return self.used + length <= self.capacity

    def refuse_overwriting(self, position: int) -> None:
        """What a write at `position` may not do: nothing on a protected tape; on WORM only filemarks at the end go."""
        if self.protected:
            raise Check(DATA_PROTECT, 0x27)
        if self.worm and any(record is not MARK for record in self.records[position:]):
            raise Check(DATA_PROTECT, 0x30, 0x0C)

    def truncate(self, position: int) -> None:
        self.used -= sum(len(record) for record in self.records[position:] if record is not MARK)
        del self.records[position:]
        self.bad = {place for place in self.bad if place < position}

    def append(self, record: bytes | None) -> None:
        self.records.append(record)
        if record is not MARK:
            self.used += len(record)
            self.written += len(record)

    def layout(self) -> list[int | None]:
        """Length of each block, None for a filemark."""
        return [None if record is MARK else len(record) for record in self.records]
