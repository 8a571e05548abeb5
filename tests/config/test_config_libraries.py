"""Libraries in the file, and each mistake that they can have: its line (marked with `#!`), what is said, and the
hint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tapeloom import kept
from tapeloom.config import Config, Library
from tapeloom.errors import Problem

VIRTUAL = """\
[libraries]
L1 = "vlib:lib?drives=2"
[drives]
R1 = "vlib:lib?bay=0"
"""
REAL = """\
[libraries]
L1 = "/dev/sg3"
[drives]
R1 = { device = "/dev/nst0", library = "L1" }
"""

MISTAKES = [
    ("changer", '[libraries]\nL1 = "lib" #!\n[drives]\nR1 = "null:"', '"lib" is not a changer', '"vlib:lib"?'),
    ("node", '[libraries]\nL1 = "/dev/nst0" #!\n[drives]\nR1 = "null:"', "is a drive, not a changer", "lsscsi"),
    ("shape", '[libraries]\nL1 = "vlib:lib?slot=2" #!\n[drives]\nR1 = "null:"', "has no option 'slot'", None),
    ("count", '[libraries]\nL1 = "vlib:lib?drives=0" #!\n[drives]\nR1 = "null:"', "from 1 to 256", None),
    ("blank", '[libraries]\nL1 = "vlib:lib?slots=2&cartridges=3" #!\n[drives]\nR1 = "null:"', "3 cartridges do", None),
    ("twice", '[libraries]\nL1 = "vlib:lib?slots=2&slots=3" #!\n[drives]\nR1 = "null:"', "slots: it is there", None),
    (
        "no drive",
        '[libraries]\nL1 = "vlib:lib" #!\n[drives]\nR1 = "null:"',
        "no drive of [drives] is in",
        "vlib:lib?bay",
    ),
    ("none real", '[libraries]\nL1 = "/dev/sg1" #!\n[drives]\nR1 = "null:"', "no drive of [drives]", 'library = "L1"'),
    (
        "same changer",
        VIRTUAL + 'R2 = { device = "vlib:lib?bay=1", library = "L1" }\n[libraries.L2]\nchanger = "vlib:./lib" #!',
        "is the changer of library",
        None,
    ),
    (
        "same name",
        REAL.replace("L1", "R1").replace('sg3"', 'sg3" #!'),
        "is the name of a drive, too",
        "different names",
    ),
    (
        "unknown",
        REAL + 'R2 = { device = "/dev/nst1", library = "L2" } #!',
        'there is no library "L2"',
        'libraries are: "L1"',
    ),
    (
        "folder",
        VIRTUAL + 'R2 = "vlib:lob?bay=1" #!',
        'no library of [libraries] has the folder "lob"',
        "vlib:lob?drives",
    ),
    ("other folder", VIRTUAL + 'R2 = { device = "vlib:lob", library = "L1" } #!', "is not in the folder", "vlib:lib"),
    ("same bay", VIRTUAL + 'R2 = "vlib:lib" #!', 'drive "R1" is in bay 0 of "L1" already', None),
    (
        "same real bay",
        REAL.replace(" }", ", bay = 1 }") + 'R2 = { device = "/dev/nst1", library = "L1", bay = 1 } #!',
        'drive "R1" is in bay 1 of "L1" already',
        None,
    ),
    (
        "no such bay",
        VIRTUAL + 'R2 = "vlib:lib?bay=2" #!',
        "has 2 drive bays, counted from 0: there is no bay 2",
        "drives=3",
    ),
    ("bay twice", VIRTUAL + 'R2 = { device = "vlib:lib?bay=1", bay = 1 } #!', "says its bay already", "leave one"),
    (
        "bay of none",
        REAL + 'R2 = { device = "/dev/nst1", bay = 1 } #!',
        "a drive in no library has no bay",
        "library =",
    ),
    ("word", VIRTUAL + 'R2 = "vlib:lib?bay=x" #!', "bay=x: bay is a whole number", None),
    ("model", VIRTUAL + 'R2 = "vlib:lib?bay=1&model=lto5" #!', "'lto5' is no model of a drive; there are lto7", None),
    (
        "option",
        VIRTUAL + 'R2 = "vlib:lib?bay=1&speed=2" #!',
        "a drive of a virtual library has no option 'speed'",
        None,
    ),
    ("aside", VIRTUAL + 'R2 = "vlib:lib?bay=1&aside=1" #!', "no option 'aside'; it has bay, model, rate, ", None),
    (
        "model of a library",
        '[libraries]\nL1 = "vlib:lib?model=lto9" #!\n[drives]\nR1 = "vlib:lib"',
        "model= is of a drive; the device of a drive in it is vlib:FOLDER?bay=0&model=...",
        None,
    ),
    ("virtual in real", REAL + 'R2 = { device = "vlib:lib", library = "L1" } #!', "is no drive of library", "-nst"),
    (
        "real in virtual",
        VIRTUAL + 'R2 = { device = "/dev/nst0", library = "L1" } #!',
        "is no drive of library",
        "bay=0",
    ),
    ("vtape in real", REAL + 'R2 = { device = "vtape:x", library = "L1" } #!', "cannot be in a library", "real drives"),
    ("negative", REAL + 'R2 = { device = "/dev/nst1", library = "L1", bay = -1 } #!', "-1 is too small", None),
]


@pytest.mark.parametrize(("text", "what", "hint"), [case[1:] for case in MISTAKES], ids=[case[0] for case in MISTAKES])
def test_one_mistake(mistakes: Callable[[str], list[Problem]], text: str, what: str, hint: str | None) -> None:
    found = mistakes(text)
    line = next(number for number, row in enumerate(text.splitlines(), 1) if "#!" in row)
    fitting = [one for one in found if one.line == line and what in one.what]
    assert fitting, found
    assert hint is None or hint in (fitting[0].hint or "")


def test_virtual_libraries(loaded: Callable[[str], Config]) -> None:
    config = loaded(VIRTUAL)
    folder = config.folder / "lib"
    assert config.libraries == {"L1": Library("L1", f"vlib:{folder}?drives=2")}
    drive = config.drives["R1"]
    assert (drive.device, drive.library, drive.bay, drive.home) == (f"vlib:{folder}?bay=0", "L1", 0, "L1")


def test_real_libraries(loaded: Callable[[str], Config]) -> None:
    config = loaded(REAL + 'R2 = { device = "/dev/nst1", library = "L1", bay = 1 }\nR3 = "/dev/nst2"')
    assert [(one.library, one.bay, one.home) for one in config.drives.values()] == [
        ("L1", None, "L1"),
        ("L1", 1, "L1"),
        (None, None, "R3"),
    ]


def test_what_was_judged_before_is_the_same(tmp_path: Path) -> None:
    file = tmp_path / "tapeloom.toml"
    file.write_text('[server]\nstate = "state"\n' + VIRTUAL)
    (tmp_path / "state").mkdir()
    assert kept.config(file) == kept.config(file)
    assert any((tmp_path / "state" / "cache").iterdir())
