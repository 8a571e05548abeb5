"""Asks the target for cartridges and for trouble, from inside of the guest and from outside."""

from __future__ import annotations

import json
import os
import time
import uuid
from pathlib import Path
from typing import Any

VARIABLE = "TAPELOOM_GUEST"
"""Set inside of the guest only: the folder of requests."""

TEST_UNIT_READY, REWIND, READ, WRITE, WRITE_FILEMARKS, SPACE, LOCATE, READ_POSITION, MOVE_MEDIUM = (
    0x00,
    0x01,
    0x08,
    0x0A,
    0x10,
    0x11,
    0x2B,
    0x34,
    0xA5,
)
"""Opcodes worth failing. Tape moves are LOAD UNLOAD, 0x1B."""

NOT_READY, MEDIUM_ERROR, HARDWARE_ERROR, ILLEGAL_REQUEST, DATA_PROTECT, ABORTED = 2, 3, 4, 5, 7, 11
"""Sense keys to fail with."""


class ControlError(Exception):
    """The target could not do what was asked for."""


class Control:
    """A drive is its number, 0 for /dev/nst0; where None is allowed, it means the changer. A cartridge is its barcode:
    T00001L5 and so on at the start."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def from_environment(cls) -> Control:
        """The control of the guest that this process runs in. KeyError: it runs in none."""
        return cls(Path(os.environ[VARIABLE]))

    def _ask(self, do: str, **arguments: object) -> Any:
        name = uuid.uuid4().hex
        unfinished, request, answer = (self._folder / f"{name}.{kind}" for kind in ("writing", "request", "answer"))
        unfinished.write_text(json.dumps({"do": do, **arguments}))
        unfinished.rename(request)
        until = time.monotonic() + 30
        while True:
            try:
                came = json.loads(answer.read_text())
            except FileNotFoundError:
                if time.monotonic() > until:
                    raise ControlError(f"the target does not answer: {do}") from None
                time.sleep(0.002)
                continue
            answer.unlink()
            if "error" in came:
                raise ControlError(f"{do}: {came['error']}")
            return came["result"]

    # Cartridges

    def reset(
        self, *, loaded: bool | None = None, capacity: int | None = None, early_warning: int | None = None
    ) -> None:
        """The library as at the start: blank cartridges, no faults.

        Parameters
        ----------
        loaded : the first cartridges are in the drives; by default where there is no changer.
        capacity, early_warning : bytes of these cartridges and of new ones until the next reset; by default the
            guest's `Shape`.
        """
        self._ask("reset", loaded=loaded, capacity=capacity, early_warning=early_warning)

    def blank(
        self, drive: int, barcode: str | None = None, *, capacity: int | None = None, early_warning: int | None = None
    ) -> str:
        """A new blank cartridge into the drive, in place of the one there; returns its barcode. Sizes in bytes."""
        return self._ask("blank", drive=drive, barcode=barcode, capacity=capacity, early_warning=early_warning)

    def add(self, barcode: str, *, capacity: int | None = None, early_warning: int | None = None) -> None:
        """A new blank cartridge into a free slot of the library, or onto the operator's shelf."""
        self._ask("add", barcode=barcode, capacity=capacity, early_warning=early_warning)

    def load(self, drive: int, barcode: str) -> None:
        """An operator puts a cartridge in, in place of the one there: UNIT ATTENTION 28h. Also while a tape moves."""
        self._ask("load", drive=drive, barcode=barcode)

    swap = load

    def unload(self, drive: int) -> None:
        """An operator takes the cartridge out."""
        self._ask("unload", drive=drive)

    def protect(self, barcode: str, on: bool = True) -> None:
        """The write-protect tab."""
        self._ask("protect", barcode=barcode, on=on)

    def worm(self, barcode: str, on: bool = True) -> None:
        """Write once: what is recorded cannot be overwritten (filemarks before the end of data can)."""
        self._ask("worm", barcode=barcode, on=on)

    def resize(self, barcode: str, capacity: int, early_warning: int) -> None:
        self._ask("resize", barcode=barcode, capacity=capacity, early_warning=early_warning)

    def corrupt(self, barcode: str, position: int) -> None:
        """The block at `position` cannot be read any more: MEDIUM ERROR."""
        self._ask("corrupt", barcode=barcode, position=position)

    def alter(self, barcode: str, position: int, offset: int) -> None:
        """A bit of the block at `position` is another, and the drive does not notice."""
        self._ask("alter", barcode=barcode, position=position, offset=offset)

    def mail(self, slot: int, barcode: str) -> None:
        """Puts a cartridge, a new one if need be, into an import/export slot (0, 1)."""
        self._ask("mail", slot=slot, barcode=barcode)

    def take(self, slot: int) -> str | None:
        """Takes the cartridge out of an import/export slot; its barcode."""
        return self._ask("take", slot=slot)

    # Trouble

    def fail(
        self,
        drive: int | None,
        opcode: int,
        *,
        key: int,
        asc: int = 0,
        ascq: int = 0,
        after: int = 0,
        times: int = 1,
        carry_out: bool = False,
    ) -> None:
        """After `after` good commands of this opcode, `times` of them fail with this sense; `carry_out`: the work is
        done all the same."""
        self._ask(
            "fail",
            drive=drive,
            opcode=opcode,
            key=key,
            asc=asc,
            ascq=ascq,
            after=after,
            times=times,
            carry_out=carry_out,
        )

    def hang(self, drive: int | None, opcode: int | None = None, *, after: int = 0) -> None:
        """After `after` commands of this opcode (of any), no command is answered until `heal`."""
        self._ask("hang", drive=drive, opcode=opcode, after=after)

    def hanging(self, drive: int | None) -> int:
        """How many commands wait for `heal`."""
        return self._ask("hanging", drive=drive)

    def heal(self, drive: int | None) -> None:
        """Ends what `fail`, `hang` and `becoming_ready` have begun; what hangs is carried out now."""
        self._ask("heal", drive=drive)

    def becoming_ready(self, drive: int | None, times: int) -> None:
        """The next `times` commands that need a cartridge say NOT READY, BECOMING READY."""
        self._ask("becoming_ready", drive=drive, times=times)

    def attention(self, drive: int | None, asc: int, ascq: int = 0) -> None:
        """The next command fails with this UNIT ATTENTION."""
        self._ask("attention", drive=drive, asc=asc, ascq=ascq)

    def reset_drive(self, drive: int) -> None:
        """A loss of power: the tape is rewound, UNIT ATTENTION 29h."""
        self._ask("reset_drive", drive=drive)

    def alert(self, drive: int, *flags: int) -> None:
        """TapeAlert flags, 1 to 64, until they are read."""
        self._ask("alert", drive=drive, flags=flags)

    def counters(self, drive: int, **numbers: int) -> None:
        """Error counters: corrected, rewritten, unwritten, unread; and hours switched on, meters of tape."""
        self._ask("counters", drive=drive, **numbers)

    # What is to be seen

    def places(self) -> dict[str, str | None]:
        """Barcode or None for each of "drive 0", "slot 0", "mail 0" and so on."""
        return self._ask("places")

    def layout(self, barcode: str) -> list[int | None]:
        """What is on a tape: the length of each block, None for a filemark."""
        return self._ask("layout", barcode=barcode)

    def commands(self, drive: int | None) -> list[str]:
        """The commands that a unit got since this was asked last, in hexadecimal."""
        return self._ask("commands", drive=drive)
