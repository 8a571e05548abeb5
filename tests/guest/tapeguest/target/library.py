"""All units together, and what an operator or a defect does to them: one method for each request of
`tapeguest.control`."""

from __future__ import annotations

from dataclasses import dataclass

from tapeguest.target.cartridge import Cartridge
from tapeguest.target.changer import Changer
from tapeguest.target.drive import Drive
from tapeguest.target.pages import Health
from tapeguest.target.unit import CARTRIDGE_CHANGED, POWER_ON, Fault, Unit


@dataclass(frozen=True, slots=True)
class Plan:
    """How a library is built: the target's arguments."""

    drives: int
    tapes: int
    changer: bool
    capacity: int
    early_warning: int
    block_bytes_max: int


SPARE_SLOTS = MAIL_SLOTS = 2


def barcode_of(number: int) -> str:
    return f"T{number + 1:05d}L5"


class Library:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.drives = [Drive(number, plan.block_bytes_max) for number in range(plan.drives)]
        self.changer = Changer(self.drives, plan.tapes + SPARE_SLOTS, MAIL_SLOTS)
        self.units: list[Unit] = [self.changer, *self.drives] if plan.changer else [*self.drives]
        for unit in self.units:
            unit.luns = len(self.units)
        self.reset()

    # Operator

    def reset(self, loaded: bool | None = None, capacity: int | None = None, early_warning: int | None = None) -> None:
        """As at the start: blank cartridges, no faults."""
        plan = self.plan
        loaded = not plan.changer if loaded is None else loaded
        self._capacity = plan.capacity if capacity is None else capacity
        self._early_warning = plan.early_warning if early_warning is None else early_warning
        self._blanks = 0
        self.cartridges: dict[str, Cartridge] = {}
        tapes = [self._new(barcode_of(number)) for number in range(plan.tapes)]
        self.changer.slots[:] = [*tapes, *[None] * SPARE_SLOTS]
        self.changer.mail[:] = [None] * len(self.changer.mail)
        self.changer.sources.clear()
        self.changer.heal()
        for number, drive in enumerate(self.drives):
            drive.heal()
            with drive.lock:
                drive.eject()
                drive.locked, drive.block, drive.health = False, 0, Health()
                if loaded and number < len(tapes):
                    self._bring(number, tapes[number])

    def _bring(self, drive: int, cartridge: Cartridge) -> None:
        """The cartridge goes into the drive, from wherever it was; the one in the drive to a free slot."""
        old = self.drives[drive].eject()
        for place in (self.changer.slots, self.changer.mail):
            for number, there in enumerate(place):
                if there is cartridge:
                    place[number] = None
        for other in self.drives:
            if other.cartridge is cartridge:
                other.eject()
        self._shelve(old)
        self.drives[drive].insert(cartridge)

    def _shelve(self, cartridge: Cartridge | None) -> None:
        """To the first free slot. Without a changer the slots are an operator's shelf, which has always room."""
        if cartridge is None:
            return
        slots = self.changer.slots
        if None in slots:
            slots[slots.index(None)] = cartridge
        elif self.plan.changer:
            raise LookupError(f"no slot is free for {cartridge.barcode}")
        else:
            slots.append(cartridge)

    def load(self, drive: int, barcode: str) -> None:
        self._bring(drive, self.cartridges[barcode])

    def unload(self, drive: int) -> None:
        self._shelve(self.drives[drive].eject())

    def add(self, barcode: str, capacity: int | None = None, early_warning: int | None = None) -> None:
        """A new blank cartridge into a free slot, or onto the operator's shelf."""
        self._shelve(self._new(barcode, capacity, early_warning))

    def _new(self, barcode: str, capacity: int | None = None, early_warning: int | None = None) -> Cartridge:
        if barcode in self.cartridges:
            raise ValueError(f"there is a cartridge {barcode} already")
        size = self._capacity if capacity is None else capacity
        warning = self._early_warning if early_warning is None else early_warning
        return self.cartridges.setdefault(barcode, Cartridge(barcode, size, warning))

    def blank(
        self, drive: int, barcode: str | None = None, capacity: int | None = None, early_warning: int | None = None
    ) -> str:
        """A new blank cartridge in the drive; the one that was in is gone for good."""
        if barcode is None:
            self._blanks += 1
            barcode = f"B{self._blanks:05d}L5"
        old = self.drives[drive].eject()
        if old is not None:
            del self.cartridges[old.barcode]
        self.drives[drive].insert(self._new(barcode, capacity, early_warning))
        return barcode

    def protect(self, barcode: str, on: bool) -> None:
        self.cartridges[barcode].protected = on

    def worm(self, barcode: str, on: bool) -> None:
        self.cartridges[barcode].worm = on

    def resize(self, barcode: str, capacity: int, early_warning: int) -> None:
        tape = self.cartridges[barcode]
        tape.capacity, tape.early_warning = capacity, early_warning

    def mail(self, slot: int, barcode: str) -> None:
        """A cartridge, new or one that was taken out, into an import/export slot."""
        self.changer.put_mail(slot, self.cartridges.get(barcode) or self._new(barcode))

    def take(self, slot: int) -> str | None:
        taken = self.changer.take_mail(slot)
        return taken.barcode if taken else None

    def places(self) -> dict[str, str | None]:
        """Barcode by place: "drive 0", "slot 0", "mail 0"."""
        drives = {f"drive {number}": drive.cartridge for number, drive in enumerate(self.drives)}
        slots = {f"slot {number}": tape for number, tape in enumerate(self.changer.slots)}
        mail = {f"mail {number}": tape for number, tape in enumerate(self.changer.mail)}
        return {place: tape.barcode if tape else None for place, tape in (drives | slots | mail).items()}

    # Defects. A unit is a drive by its number, or the changer: None.

    def _unit(self, drive: int | None) -> Unit:
        return self.changer if drive is None else self.drives[drive]

    def attention(self, drive: int | None, asc: int, ascq: int) -> None:
        self._unit(drive).attention((asc, ascq))

    def change(self, drive: int) -> None:
        """The drive says that its cartridge may have changed."""
        self.drives[drive].attention(CARTRIDGE_CHANGED)

    def reset_drive(self, drive: int) -> None:
        """As after a loss of power: the tape stands at its beginning, in variable block mode."""
        with self.drives[drive].lock:
            self.drives[drive].position = self.drives[drive].block = 0
            self.drives[drive].attention(POWER_ON)

    def fail(
        self, drive: int | None, opcode: int, key: int, asc: int, ascq: int, after: int, times: int, carry_out: bool
    ) -> None:
        self._unit(drive).faults.append(Fault(opcode, key, asc, ascq, after, times, carry_out))

    def hang(self, drive: int | None, opcode: int | None, after: int) -> None:
        self._unit(drive).hang(opcode, after)

    def hanging(self, drive: int | None) -> int:
        return self._unit(drive).hanging

    def heal(self, drive: int | None) -> None:
        self._unit(drive).heal()

    def becoming_ready(self, drive: int | None, times: int) -> None:
        self._unit(drive).becoming = times

    def alert(self, drive: int, flags: list[int]) -> None:
        self.drives[drive].health.alerts.update(flags)

    def counters(self, drive: int, **numbers: int) -> None:
        """corrected, rewritten, unwritten, unread, hours, meters."""
        for name, number in numbers.items():
            setattr(self.drives[drive].health, name, number)

    def corrupt(self, barcode: str, position: int) -> None:
        """The block there cannot be read from now on."""
        self.cartridges[barcode].bad.add(position)

    def alter(self, barcode: str, position: int, offset: int) -> None:
        """One bit of the block there is another; the drive does not notice."""
        block = bytearray(self.cartridges[barcode].records[position] or b"")
        block[offset] ^= 1
        self.cartridges[barcode].records[position] = bytes(block)

    # What is to be seen

    def commands(self, drive: int | None) -> list[str]:
        return self._unit(drive).seen()

    def layout(self, barcode: str) -> list[int | None]:
        return self.cartridges[barcode].layout()
