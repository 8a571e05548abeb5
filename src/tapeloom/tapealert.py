"""TapeAlert: the 64 flags by which a drive says what troubles it or its cartridge.

Numbers, meaning and severity: SSC-4 (INCITS 516), annex "TapeAlert application client interface"; also IBM TS3310
"TapeAlert flags supported by the Ultrium tape drive". Names and advice are in words of our own.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

from msgspec import Struct

FLAGS_MAX: Final = 64


class Severity(StrEnum):
    """CRITICAL: data is at risk. WARNING: look after it soon."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFORMATION = "information"


class About(StrEnum):
    """What is to blame; EITHER: the drive cannot tell."""

    CARTRIDGE = "cartridge"
    DRIVE = "drive"
    EITHER = "either"


class Flag(Struct, frozen=True):
    """`unfit`: what is written to this cartridge from now on is at risk."""

    number: int
    name: str
    severity: Severity
    about: About
    advice: str
    unfit: bool = False

    @property
    def sentence(self) -> str:
        """
        >>> flag(7).sentence
        'TapeAlert 7, media life: copy what is on it to another cartridge, and discard this one'
        """
        return f"TapeAlert {self.number}, {self.name}: {self.advice}"

    def as_json(self) -> dict[str, object]:
        return {
            "number": self.number,
            "name": self.name,
            "severity": self.severity.value,
            "about": self.about.value,
            "advice": self.advice,
        }


_SEVERITIES: Final = {"C": Severity.CRITICAL, "W": Severity.WARNING, "I": Severity.INFORMATION}
_ABOUT: Final = {"c": About.CARTRIDGE, "d": About.DRIVE, "e": About.EITHER}

_TABLE: Final = """
1  We  read warning; reading is troubled and slow: clean the drive, and try another cartridge
2  We  write warning; writing is troubled and takes more tape: clean the drive, and try another cartridge
3  We! hard error; something could not be read or written: clean the drive, and try another cartridge
4  Cc! media; copy what is on it to another cartridge, and do not use this one again
5  Ce! read failure; the tape is damaged, or the drive is faulty: try the cartridge in another drive
6  Ce! write failure; the tape is damaged, or the drive is faulty: try another cartridge, then another drive
7  Wc! media life; copy what is on it to another cartridge, and discard this one
8  Wc! not data grade; copy what is on it to a cartridge made for data
9  Cc  write protect; move its tab, or take another cartridge
10 Id  no removal; it was to be ejected while somebody had locked it in
11 Ic  cleaning media; this is a cleaning cartridge: take one for data
12 Ic  unsupported format; the drive does not know this kind of cartridge: look at its type
13 Cc! recoverable mechanical cartridge failure; the cartridge is broken: discard it
14 Cc! unrecoverable mechanical cartridge failure; the tape is torn, do not try to pull it out: call the vendor
15 Wc! memory chip in cartridge failure; copy what is on it to another cartridge, and discard this one
16 Ce  forced eject; somebody took it out by hand while it was used: verify what was written last
17 Wc  read-only format; this drive cannot write that kind of cartridge: take a newer one
18 Wc  tape directory corrupted on load; finding places is slow until all of it has been read once
19 Ic  nearing media life; copy what is on it to another cartridge before long
20 Cd  clean now; the drive must be cleaned before it is used again
21 Wd  clean periodic; the drive is due to be cleaned
22 Cd  expired cleaning media; the cleaning cartridge is used up: take a new one
23 Cd  invalid cleaning cartridge; that cannot clean this drive: look at its type
24 We  retension requested; wind the tape to its end and back once
25 Wd  multi-port interface error; look at the cables of the drive
26 Wd  cooling fan failure; have the drive's fan looked at
27 Wd  power supply failure; have the drive's power supply looked at
28 Wd  power consumption; the drive takes more power than it should: call the vendor
29 Wd  drive preventive maintenance required; call the vendor
30 Cd  hardware A; reset the drive, and where that does not help call the vendor
31 Cd  hardware B; switch the drive off and on, and where that does not help call the vendor
32 Wd  primary interface; look at the cable between host and drive
33 Cd  eject media; take the cartridge out, put it in again, and do it again
34 Wd  microcode update failed; get the right firmware, and load it again
35 Wd  drive humidity; it is too damp or too dry around the drive
36 Wd  drive temperature; cool the room, look at the fans
37 Wd  drive voltage; its supply is outside of what is allowed
38 Cd  predictive failure; the drive is about to fail: call the vendor
39 Wd  diagnostics required; let the drive test itself, see its manual
40 Cd  loader hardware A; the loader does not move: see its manual
41 Cd  loader stray tape; a cartridge was left in the loader by a failure: see its manual
42 Wd  loader hardware B; the loader has trouble moving: see its manual
43 Cd  loader door; close the loader's door
44 Cd  loader hardware C; the loader has a fault: call the vendor
45 Cd  loader magazine; the loader lacks its magazine: put it in
46 Wd  loader predictive failure; the loader is about to fail: call the vendor
50 We  lost statistics; the counts of this cartridge are not right any more
51 Wc  tape directory invalid at unload; finding places is slow until all of it has been read once
52 Cc! tape system area write failure; copy what is on it to another cartridge, and discard this one
53 Cc! tape system area read failure; copy what is on it to another cartridge, and discard this one
54 Cc  no start of data; the tape is blank, damaged, or of a kind that this drive does not read
55 Ce! loading or threading failure; the cartridge does not load: try it in another drive
56 Ce  unrecoverable unload failure; the cartridge is stuck in the drive: call the vendor
57 Cd  automation interface failure; look at the cable between drive and library
58 Wd  microcode failure; the drive has reset itself: look for newer firmware
59 Wc! WORM medium integrity check failed; somebody may have tampered with the cartridge
60 Wc  WORM medium overwrite attempted; what can be written once cannot be written anew: take another cartridge
61 Wd  encryption policy violation; the drive's settings of keys do not allow what was asked for
"""
"""Number, severity (C, W, I), what it is about (c, d, e), "!" where it makes a cartridge unfit; name; advice."""


def _read_table() -> dict[int, Flag]:
    found = {}
    for line in _TABLE.strip().splitlines():
        number, kind, text = line.split(maxsplit=2)
        name, advice = text.split("; ", 1)
        flag = Flag(int(number), name, _SEVERITIES[kind[0]], _ABOUT[kind[1]], advice, kind.endswith("!"))
        found[flag.number] = flag
    return found


FLAGS: Final = _read_table()
"""By number; 47 to 49 and 62 to 64 are reserved."""


def flag(number: int) -> Flag:
    """Also a reserved one, which a vendor may use. ValueError: not 1 to 64."""
    if not 1 <= number <= FLAGS_MAX:
        raise ValueError(f"there is no TapeAlert flag {number}")
    return FLAGS.get(number) or Flag(
        number, "reserved", Severity.INFORMATION, About.EITHER, "see the drive's manual for what its vendor means by it"
    )


def flags(numbers: Iterable[int], *about: About) -> list[Flag]:
    """In order, the gravest first; only those that are about one of `about`, or might be."""
    order = list(Severity)
    wanted = {*about, About.EITHER} if about else set(About)
    found = [flag(number) for number in set(numbers)]
    return sorted(
        (one for one in found if one.about in wanted), key=lambda one: (order.index(one.severity), one.number)
    )
