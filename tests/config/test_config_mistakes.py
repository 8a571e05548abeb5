"""Each mistake that a configuration can have: its line (marked with `#!`), what is said, and the hint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tapeloom.errors import Problem

Mistakes = Callable[[str], list[Problem]]

DRIVES = """
[drives]
R1 = "vtape:tapes/R1"
R2 = "vtape:tapes/R2"
R3 = "vtape:tapes/R3"
"""
SOURCES = """
[sources]
D1 = "data/D1"
D2 = "data/D2"
docs = "data/docs"
"""
BASE = DRIVES + SOURCES
BACKUP = (
    BASE
    + """
[backup.nightly.BMA1]
drive = "R1"
buffers = { B1 = "D1", B2 = "D2" }
"""
)
RESTORE = (
    DRIVES
    + """
[restore.vault.RMA1]
drive = "R1"
buffers = { B1 = "D1", B2 = "D2" }
"""
)
MIRROR = '[mirror.1.BMA2]\ndrive = "R2"\n'
COPY = '[copy.1.BMA3]\ndrive = "R2"\n'

Case = tuple[str, str, str, "str | None"]

SERVER: list[Case] = [
    (
        "unit",
        '[server]\nblock = "512Kib" #!',
        'server.block: "512Kib" is not a size: there is no unit "Kib"',
        '"512KiB"?',
    ),
    ("odd block", '[server]\nblock = "500kB" #!', "a block of 500000 bytes is not a multiple of 4KiB", '"488KiB"?'),
    ("small block", "[server]\nblock = 1 #!", "a block of 1 bytes is not a multiple of 4KiB", '"16KiB"?'),
    ("large block", '[server]\nblock = "1GiB" #!', "from 16KiB to 8MiB", '"8MiB"?'),
    ("negative", "[server]\nmemory = -5 #!", "server.memory: -5 is not a size: it is negative", None),
    ("zero", "[server]\nmemory = 0 #!", "server.memory: 0B cannot hold even the two slots of one buffer", '"1MiB"'),
    ("memory", '[server]\nblock = "8MiB"\nmemory = "15MiB" #!', "15MiB cannot hold even the two slots", '"16MiB"'),
    (
        "spool",
        '[server]\nblock = "1MiB"\nspool_max = "63MiB" #!',
        "server.spool_max: 63MiB cannot hold 8 segments of 8 blocks",
        '"64MiB"',
    ),
    ("key", '[server]\nbloc = "1MiB" #!', "server.bloc: this is not a key of [server]", 'did you mean "block"?'),
    (
        "keys",
        "[server]\nspeed = 9 #!",
        "server.speed: this is not a key of [server]",
        'its keys are: "state", "block", "memory"',
    ),
    ("home", '[server]\nstate = "~/state" #!', 'server.state: "~/state": ~ is not expanded', "whole path"),
    ("empty", '[server]\nstate = "" #!', "server.state: the path is empty", None),
    ("nul", '[server]\nstate = "a\\u0000b" #!', "server.state: a path cannot hold the character NUL", None),
    ("type", "[server]\nstate = 5 #!", "server.state: 5 is not a string", None),
    ("section", "server = 5 #!", "server: 5 is not a table", None),
    ("sections", "[restroe] #!", "restroe: this is not a key of the configuration", 'did you mean "restore"?'),
]

DEVICES: list[Case] = [
    ("no kind", 'R = "tapes/R" #!', '"tapes/R" does not say what kind of device it is', '"vtape:tapes/R"?'),
    ("no colon", 'R = "null" #!', '"null" does not say what kind of device it is', '"null:"?'),
    ("kind", 'R = "vtap:x" #!', '"vtap:" is not a kind of device', '"vtape:"?'),
    ("kinds", 'R = "robot:x" #!', '"robot:" is not a kind of device', '"vlib:", "null:", "memory:" and "/dev/..."'),
    ("home", 'R = "vtape:~/x" #!', '"~/x": ~ is not expanded', "whole path"),
    ("empty", 'R = "vtape:" #!', "drives.R.device: the path is empty", None),
    ("null", 'R = "null:x" #!', "a null device has no path", '"null:"?'),
    ("memory", 'R = "memory:x?fail_write=1" #!', "a memory device has no path", '"memory:"?'),
    (
        "no end",
        'R = { device = "null:", capacity = 1 } #!',
        "drives.R: a null device has no end",
        'leave out "capacity"',
    ),
    ("twice, options", 'R = "vtape:tapes/R1?fail_write=3" #!', 'is the device of drive "R1" already', None),
    ("empty, options", 'R = "vtape:?fail_write=1" #!', "drives.R.device: the path is empty", None),
    ("nul", 'R = "/dev/nst\\u0000" #!', "cannot hold the character NUL", None),
    ("rewinding", 'R = "/dev/st0" #!', '"/dev/st0" rewinds the tape', '"/dev/nst0"?'),
    ("twice", 'R = "vtape:./tapes//R1" #!', 'drives.R: "vtape:./tapes//R1" is the device of drive "R1" already', None),
    (
        "model",
        'R = "vtape:x?model=lto99" #!',
        "model: 'lto99' is no model of a drive; there are lto7, lto8, lto9",
        None,
    ),
    ("option", 'R = "null:?speed=3" #!', "null has no option 'speed'; it has model, rate, rate_min, ", None),
    ("no option", 'R = "memory:?" #!', "memory has no option ''; it has model", None),
    ("option twice", 'R = "null:?rate=1MB&rate=2MB" #!', "rate: it is there twice", None),
    ("trouble", 'R = { device = "vtape:x?fail_write=soon" } #!', "fail_write: 'soon' is not a count", None),
    ("no rate", 'R = "vtape:x?scale=32" #!', "scale: of which drive? say model= (lto7, lto8, lto9) or rate=", None),
    ("time", 'R = "vtape:x?model=lto9&time=none" #!', "time: 'none' is none; it is real or simulated", None),
    ("time aside", 'R = "vtape:x?model=lto9&time=simulated&aside=1" #!', "seen by nobody; leave out aside", None),
    ("hangs", 'R = "memory:?hang_open=1" #!', "hang_open: only a process of its own can be ended then", None),
    ("real, options", 'R = "/dev/nst0?model=lto9" #!', "a real drive has no options", 'did you mean "/dev/nst0"?'),
    ("twice, long", 'R.device = "vtape:tapes/R1" #!', "drives.R.device: ", None),
    ("type", "R = 5 #!", "drives.R: 5 is not a table", '"vtape:tapes/R1", or a table'),
    ("missing", "R = { rate = 1 } #!", 'drives.R: "device" is missing', None),
    ("capacity", 'R = { device = "memory:", capacity = 0 } #!', "drives.R.capacity: it is zero", "leave the key out"),
    ("rate", 'R = { device = "null:", rate = "9MB" } #!', '"9MB" is not a rate', '"9MB/s"?'),
    ("key", 'R = { device = "null:", capcity = 1 } #!', "not a key of a drive", '"capacity"?'),
    ("slash", '"R/1" = "null:" #!', '"R/1" is not a name for a drive: it has a slash', None),
    ("dot", '"R.1" = "null:" #!', '"R.1" is not a name for a drive: it has a dot', None),
]

ORIGINS: list[Case] = [
    (
        "none",
        "D = {} #!",
        "sources.D: the source has no data",
        '"path", "paths", "command", "raw" and "producer = true"',
    ),
    ("not one", "D = { producer = false } #!", "sources.D: the source has no data", '"path"'),
    ("two", 'D = { path = "x", command = "y" } #!', 'the source has "path" and "command"', "make two sources"),
    (
        "three",
        'D = { paths = ["x"], path = "x", producer = true } #!',
        '"path" and "paths" and "producer"',
        "one of them",
    ),
    ("no paths", "D = { paths = [] } #!", "sources.D.paths: this is empty", None),
    ("home", 'D = "~/docs" #!', 'sources.D.path: "~/docs": ~ is not expanded', "whole path"),
    ("home, item", 'D = { paths = [\n"a",\n"~b", #!\n] }', 'sources.D.paths[1]: "~b": ~ is not expanded', "whole path"),
    (
        "exclude",
        'D = { command = "x", exclude = ["y"] } #!',
        '"exclude" has no meaning beside "command"',
        "path or paths",
    ),
    (
        "mounts",
        "D = { producer = true, one_file_system = true } #!",
        '"one_file_system" has no meaning beside "producer"',
        "path",
    ),
    ("pattern", 'D = { path = "x", exclude = ["!"] } #!', '"!" is not a gitignore-style pattern', None),
    ("digest", 'D = { path = "x", digest = "sha265" } #!', 'sources.D.digest: "sha265" is not a choice', '"sha256"?'),
    ("digest type", 'D = { path = "x", digest = 5 } #!', "sources.D.digest: 5 is not a choice", '"none", "sha256"'),
    ("no command", 'D = { command = " " } #!', "sources.D.command: the command is empty", None),
    ("no words", "D = { command = [] } #!", "sources.D.command: the command is empty", None),
    ("command type", "D = { command = 5 } #!", "5 is not a command", "a string for the shell"),
    ("command word", 'D = { command = ["x", 5] } #!', "an array is not a command", "a string for the shell"),
    ("command nul", 'D = { command = ["x", "\\u0000"] } #!', "a command cannot hold the character NUL", None),
    ("bool", 'D = { producer = "yes" } #!', 'sources.D.producer: "yes" is not true or false', None),
    ("type", "D = [] #!", "sources.D: an array is not a table", 'a path, or a table with one of "path"'),
    ("key", 'D = { path = "x", excude = [] } #!', "sources.D.excude: this is not a key of a source", '"exclude"?'),
    ("empty name", '"" = "x" #!', '"" is not a name for a source: it is empty', None),
    ("blank name", '" " = "x" #!', "is not a name for a source: it is empty", None),
    ("spaces", '"D " = "x" #!', "it begins or ends with white space", None),
    ("slash", '"a/b" = "x" #!', "it has a slash", None),
    ("dot", '"." = "x" #!', '"." is not a name for a source: it would be a folder', None),
    ("dots", '".." = "x" #!', '".." is not a name for a source: it would be a folder', None),
    ("control", '"a\\nb" = "x" #!', '"a\\nb" is not a name for a source: it has a control character', None),
    ("long", f'"{"ä" * 129}" = "x" #!', "it is longer than 256 bytes", None),
    ("id", '"01890a5d-ac96-774b-bcce-b302099a8057" = "x" #!', "it could be mistaken for an object's id", None),
]

AGENTS: list[Case] = [
    (
        "drive",
        'drive = "R4" #!\nbuffers = { B = "D1" }',
        'there is no drive "R4" in [drives]',
        'the drives are: "R1", "R2", "R3"',
    ),
    ("no drive", 'buffers = { B = "D1" }', 'backup.g.A: "drive" is missing', None),
    ("drive type", 'drive = ["R1"] #!\nbuffers = { B = "D1" }', "backup.g.A.drive: an array is not a string", None),
    ("drive empty", 'drive = "" #!\nbuffers = { B = "D1" }', "backup.g.A.drive: this is empty", None),
    (
        "source",
        'drive = "R1"\nbuffers = { B = "dosc" } #!',
        'there is no source "dosc" in [sources]',
        'did you mean "docs"?',
    ),
    (
        "sources",
        'drive = "R1"\nbuffers = { B = ["D1", "xyz"] } #!',
        'no source "xyz"',
        'the sources are: "D1", "D2", "docs"',
    ),
    ("case", 'drive = "R1"\nbuffers = { B = "d1" } #!', 'no source "d1"', 'did you mean "D1"?'),
    ("no buffers", 'drive = "R1"', 'backup.g.A: "buffers" is missing', 'buffers = { B1 = "a source" }'),
    ("buffers", 'drive = "R1"\nbuffers = {} #!', "backup.g.A.buffers: this is empty", 'buffers = { B1 = "a source" }'),
    ("no feeds", 'drive = "R1"\nbuffers = { B = [] } #!', "backup.g.A.buffers.B: this is empty", "a source feeds it"),
    ("no feed", 'drive = "R1"\nbuffers = { B = "" } #!', "backup.g.A.buffers.B[0]: this is empty", "a source feeds it"),
    (
        "feed type",
        'drive = "R1"\nbuffers = { B = 1 } #!',
        "backup.g.A.buffers.B: 1 is not an array",
        "a source feeds it",
    ),
    (
        "buffers type",
        'drive = "R1"\nbuffers = "D1" #!',
        'backup.g.A.buffers: "D1" is not a table',
        "at least one buffer",
    ),
    (
        "dot",
        'drive = "R1"\nbuffers = { "B.1" = "D1" } #!',
        "is not a name for a buffer: it has a dot, which parts the names",
        None,
    ),
    ("slash", 'drive = "R1"\nbuffers = { "B/1" = "D1" } #!', "is not a name for a buffer: it has a slash", None),
    (
        "fed twice",
        'drive = "R1"\nbuffers = { B = "D1", C = "D1" } #!',
        'source "D1" is fed twice: A.B takes it',
        'fed by "A.B"',
    ),
    (
        "twice in one",
        'drive = "R1"\nbuffers = { B = ["D1", "D2", "D1"] } #!',
        'source "D1" is fed twice: A.B takes it',
        '"A.B"',
    ),
    (
        "run",
        'drive = "R1"\nbuffers = { B = "D1" }\nrun_blocks = 0 #!',
        "backup.g.A.run_blocks: 0 is too small",
        "at least 1",
    ),
    (
        "runs",
        'drive = "R1"\nbuffers = { B = "D1" }\nrun_blocks = 9999999 #!',
        "9999999 is too large",
        "at most 1000000",
    ),
    ("run type", 'drive = "R1"\nbuffers = { B = "D1" }\nrun_blocks = true #!', "true is not a whole number", None),
    ("lag", 'drive = "R1"\nbuffers = { B = "D1" }\non_lag = "dettach" #!', '"dettach" is not a choice', '"detach"?'),
    (
        "lag max",
        'drive = "R1"\nbuffers = { B = "D1" }\nlag_max = "60" #!',
        '"60" is not a size: it has no unit',
        "a number and a unit",
    ),
    ("lag unit", 'drive = "R1"\nbuffers = { B = "D1" }\nlag_max = "5m" #!', "lag_max.time: ", '"5min"?'),
    ("lag type", 'drive = "R1"\nbuffers = { B = "D1" }\nlag_max = 60 #!', "60 is not a table", '"64GB", "15min" or {'),
    (
        "lag key",
        'drive = "R1"\nbuffers = { B = "D1" }\nlag_max = { secs = 9 } #!',
        "lag_max.secs: this is not a key of a limit",
        '"bytes"',
    ),
    (
        "checkpoint",
        'drive = "R1"\nbuffers = { B = "D1" }\ncheckpoint = "0s" #!',
        "checkpoint.time: a checkpoint after nothing",
        '"64GB"',
    ),
    (
        "none",
        'drive = "R1"\nbuffers = { B = "D1" }\ncheckpoint.bytes = 0 #!',
        "checkpoint.bytes: a checkpoint after nothing",
        '"64GB"',
    ),
    (
        "key",
        'drive = "R1"\nbuffers = { B = "D1" }\nrunblocks = 9 #!',
        "not a key of a backup media agent",
        '"run_blocks"?',
    ),
    (
        "a buffer",
        'drive = "R1"\nbuffers = { B = "D1", C = "A.B" } #!',
        '"A.B" is a buffer, and the buffers of a backup group take',
        "[mirror.1.A]",
    ),
]

GROUPS: list[Case] = [
    ("empty", BASE + "[backup.g] #!", "backup.g: the group has no agent", "[backup.g.AGENT] makes one"),
    (
        "only settings",
        BASE + "[backup.g] #!\nrun_blocks = 3",
        "backup.g: the group has no agent",
        "[backup.g.AGENT] makes one",
    ),
    (
        "setting",
        BACKUP + "[backup.nightly]\nrun_block = 3 #!",
        "backup.nightly.run_block: this is neither",
        '"run_blocks"?',
    ),
    (
        "agent",
        BACKUP + "[backup.nightly]\nX = 3 #!",
        "backup.nightly.X: this is neither",
        "[backup.nightly.X] makes an agent",
    ),
    (
        "agents",
        BACKUP + "[[backup.nightly.X]] #!",
        "backup.nightly.X: this is neither",
        "[backup.nightly.X] makes an agent",
    ),
    ("type", "backup = 3 #!" + BASE, "backup: 3 is not a table", None),
    ("group type", BASE + "[backup]\ng = 3 #!", "backup.g: 3 is not a table", None),
    (
        "name",
        BASE + '[backup."a/b".A] #!\ndrive = "R1"\nbuffers = { B = "D1" }',
        '"a/b" is not a name for a group',
        None,
    ),
    (
        "agent name",
        BASE + '[backup.g."A.B"] #!\ndrive = "R1"\nbuffers = { B = "D1" }',
        '"A.B" is not a name for an agent',
        None,
    ),
    (
        "same agent",
        BACKUP + '[mirror.1.BMA1] #!\ndrive = "R2"\nbuffers = { B1 = "BMA1.B1" }',
        'mirror.1.BMA1: there is an agent "BMA1" already, in backup.nightly',
        "unique over the whole file",
    ),
    (
        "two originals",
        BACKUP + '[backup.nightly.BMA2]\ndrive = "R2"\nbuffers = { B1 = "D1" } #!',
        'backup.nightly.BMA2.buffers.B1: source "D1" is fed twice: BMA1.B1 takes it already',
        'a mirror fed by "BMA1.B1"',
    ),
    (
        "one drive",
        BACKUP + '[backup.nightly.BMA2]\ndrive = "R1" #!\nbuffers = { B1 = "docs" }',
        'drive "R1" is under "BMA1" already, and both agents run in one job, that of backup.nightly',
        "a drive of its own",
    ),
    (
        "one drive, mirror",
        BACKUP + '[mirror.1.BMA2]\ndrive = "R1" #!\nbuffers = { B1 = "BMA1.B1" }',
        'mirror.1.BMA2.drive: drive "R1" is under "BMA1" already',
        "a drive of its own",
    ),
    (
        "one drive, stages",
        BACKUP
        + MIRROR
        + 'buffers = { B1 = "BMA1.B1" }\n[mirror.2.BMA3]\ndrive = "R2" #!\nbuffers = { B1 = "BMA2.B1" }',
        'drive "R2" is under "BMA2" already',
        "a drive of its own",
    ),
    (
        "one drive, copy",
        RESTORE + '[copy.1.BMA3]\ndrive = "R1" #!\nbuffers = { B1 = "RMA1.B1" }',
        'copy.1.BMA3.drive: drive "R1" is under "RMA1" already, and both agents run in one job, that of restore.vault',
        "a drive of its own",
    ),
    (
        "object twice",
        DRIVES + '[restore.vault.RMA1]\ndrive = "R1"\nbuffers = { B1 = "D1", B2 = "D1" } #!',
        'restore.vault.RMA1.buffers.B2: object "D1" is fed twice: RMA1.B1 takes it already',
        None,
    ),
    (
        "restore key",
        RESTORE + 'on_lag = "wait" #!',
        "not a key of a restore media agent",
        'its keys are: "drive", "buffers"',
    ),
    (
        "restore setting",
        RESTORE + "[restore.vault]\nrun_blocks = 1 #!",
        "restore.vault.run_blocks: this is neither",
        "makes an agent",
    ),
]

CHAINS: list[Case] = [
    ("form", 'buffers = { B = "xyz" } #!', '"xyz" is not of the form AGENT.BUFFER', None),
    ("an agent", 'buffers = { B = "BMA1" } #!', '"BMA1" is not of the form AGENT.BUFFER', '"BMA1.B1" or "BMA1.B2"?'),
    ("a source", 'buffers = { B = "D2" } #!', '"D2" is not of the form AGENT.BUFFER', '"BMA1.B2"?'),
    ("dots", 'buffers = { B = "BMA1.B1.x" } #!', '"BMA1.B1.x" is not of the form AGENT.BUFFER', '"BMA1.B1"?'),
    ("half", 'buffers = { B = ".B1" } #!', '".B1" is not of the form AGENT.BUFFER', '"BMA1.B1"?'),
    ("agent", 'buffers = { B = "BAM1.B2" } #!', 'there is no agent "BAM1"', '"BMA1.B2"?'),
    ("buffer", 'buffers = { B = "BMA1.B9" } #!', 'agent "BMA1" has no buffer "B9"', 'its buffers are: "B1", "B2"'),
    ("itself", 'buffers = { B = "BMA2.B" } #!', "the chain is a loop, no source feeds it: BMA2.B <- BMA2.B", None),
    (
        "two",
        'buffers = { B = ["BMA1.B1", "BMA1.B2"] } #!',
        'fed by 2 buffers, "BMA1.B1" and "BMA1.B2"',
        "a buffer for each",
    ),
    ("none", "buffers = { B = [] } #!", "mirror.1.BMA2.buffers.B: this is empty", "AGENT.BUFFER feeds it"),
    ("nothing", "buffers = {} #!", "mirror.1.BMA2.buffers: this is empty", '{ B1 = "AGENT.BUFFER" }'),
    ("type", "buffers = { B = true } #!", "true is not an array", "AGENT.BUFFER feeds it"),
    (
        "twice",
        'buffers = { B = "BMA1.B1", C = "BMA1.B1" } #!',
        'mirror.1.BMA2.buffers.C: agent "BMA2" is fed by BMA1.B1 twice: its buffer "B" takes it already',
        "BMA2.C <- BMA1.B1",
    ),
    (
        "twice by a chain",
        'buffers.B = "BMA1.B1"\nbuffers.C = "BMA4.X" #!\n[mirror.1.BMA4]\ndrive = "R3"\nbuffers.X = "BMA1.B1"',
        'agent "BMA2" is fed by BMA1.B1 twice',
        "here it comes by BMA2.C <- BMA4.X <- BMA1.B1",
    ),
    ("loop in one", 'buffers = { B = "BMA2.C", C = "BMA2.B" } #!', "BMA2.B <- BMA2.C <- BMA2.B", None),
    (
        "loop",
        'buffers.B = "BMA4.B" #!\n[mirror.2.BMA4]\ndrive = "R3"\nbuffers.B = "BMA5.B"\n'
        '[mirror.3.BMA5]\ndrive = "R1"\nbuffers.B = "BMA2.B"',
        "mirror.1.BMA2.buffers.B: the chain is a loop, no source feeds it: BMA2.B <- BMA4.B <- BMA5.B <- BMA2.B",
        None,
    ),
]

COPIES: list[Case] = [
    (
        "backup",
        BACKUP + COPY + 'buffers = { B = "BMA1.B1" } #!',
        '"BMA1" is in a backup group, and a copy is fed by restore and copy groups',
        None,
    ),
    (
        "restore",
        RESTORE + MIRROR + 'buffers = { B = "RMA1.B1" } #!',
        '"RMA1" is in a restore group, and a mirror is fed by backup and mirror',
        None,
    ),
    ("buffer", RESTORE + COPY + 'buffers = { B = "RMA1.B3" } #!', 'agent "RMA1" has no buffer "B3"', '"B1", "B2"'),
    ("loop", RESTORE + COPY + 'buffers = { B = "BMA3.B" } #!', "BMA3.B <- BMA3.B", None),
]


def cases(found: list[Case], before: str = "", after: str = "") -> list[object]:
    return [pytest.param(before + text + after, what, hint, id=name) for name, text, what, hint in found]


@pytest.mark.parametrize(
    ("text", "what", "hint"),
    [
        *cases(SERVER, after=DRIVES),
        *cases(DEVICES, DRIVES),
        *cases(ORIGINS, DRIVES + "[sources]\n"),
        *cases(AGENTS, BASE + "[backup.g.A] #!\n"),
        *cases(GROUPS),
        *cases(CHAINS, BACKUP + MIRROR),
        *cases(COPIES),
    ],
)
def test_one_mistake(mistakes: Mistakes, tmp_path: Path, text: str, what: str, hint: str | None) -> None:
    [problem] = mistakes(text)
    assert problem.file == str(tmp_path / "tapeloom.toml")
    # the last mark counts: in an agent's table its header has one too, for keys that are missing
    assert problem.line == text[: text.rindex("#!")].count("\n") + 1
    assert what in problem.what
    assert (problem.hint is None) == (hint is None)
    assert hint is None or hint in (problem.hint or "")


def test_no_drives(mistakes: Mistakes) -> None:
    for text in ("", "[drives]\n"):
        [problem] = mistakes(text)
        assert "there is no drive" in problem.what
        assert 'R1 = "vtape:tapes/R1"' in (problem.hint or "")


def test_no_drives_is_said_once(mistakes: Mistakes) -> None:
    [problem] = mistakes(BACKUP.replace(DRIVES, ""))
    assert problem.what == "drives: there is no drive"


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("[drives]\nR1 =\n", 2, "this is not TOML: Invalid value"),
        ('[drives]\nR1 = "null:"\nR1 = "null:"\n', 3, "this is not TOML: Cannot overwrite a value"),
        ('[drives]\nR1 = "null:', 2, "this is not TOML: "),
        ("x = " + "[" * 100_000, None, "the file is nested too deeply"),
        ("x = " + "9" * 5000, None, "this is not TOML: a number has thousands of digits"),
    ],
    ids=["value", "twice", "end", "nested", "digits"],
)
def test_syntax(mistakes: Mistakes, text: str, line: int | None, what: str) -> None:
    [problem] = mistakes(text)
    assert problem.line == line
    assert what in problem.what


def test_not_text(tmp_path: Path) -> None:
    from tapeloom.config import load
    from tapeloom.errors import ConfigError

    file = tmp_path / "t.toml"
    file.write_bytes(b"[drives]\nR1 = 'null:'\n# \xff\n")
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert str(caught.value) == f"{file}:3: the file is not UTF-8 text"


def test_all_at_once_in_the_order_of_the_file(mistakes: Mistakes) -> None:
    """Values, names, chains: none of them hides another."""
    problems = mistakes(
        """\
[mirror.1.M]
drive = "R9"
buffers = { B1 = "A.B2", B2 = "A.B1", B3 = "A.B1", B4 = "A.broken" }
[server]
block = "512Kib"
[drives]
R1 = "vtape:a"
R2 = "vtape:a"
[sources]
D1 = { command = 5 }
[backup.n.A]
drive = "R1"
buffers = { B1 = "D1", B3 = "D2", broken = 7 }
run_blocks = -1
"""
    )
    assert [(problem.line, problem.what) for problem in problems] == [
        (2, 'mirror.1.M.drive: there is no drive "R9" in [drives]'),
        (3, 'mirror.1.M.buffers.B1: agent "A" has no buffer "B2"'),
        (3, 'mirror.1.M.buffers.B3: agent "M" is fed by A.B1 twice: its buffer "B2" takes it already'),
        (5, 'server.block: "512Kib" is not a size: there is no unit "Kib"'),
        (8, 'drives.R2: "vtape:a" is the device of drive "R1" already'),
        (10, "sources.D1.command: 5 is not a command"),
        (13, 'backup.n.A.buffers.B3: there is no source "D2" in [sources]'),
        (13, "backup.n.A.buffers.broken: 7 is not an array"),
        (14, "backup.n.A.run_blocks: -1 is too small"),
    ]


def test_two_jobs_name_a_shared_drive_once(mistakes: Mistakes) -> None:
    problems = mistakes(
        BACKUP
        + """
[backup.weekly.W]
drive = "R1"
buffers = { B1 = "D1" }
[mirror.1.M]
drive = "R2"
buffers = { B1 = "BMA1.B1", B2 = "W.B1" }
[mirror.1.N]
drive = "R2"
buffers = { B1 = "BMA1.B1", B2 = "W.B1" }
"""
    )
    assert [problem.what for problem in problems] == [
        'mirror.1.N.drive: drive "R2" is under "M" already, and both agents run in one job, that of backup.nightly'
    ]
