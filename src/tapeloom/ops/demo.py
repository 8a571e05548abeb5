"""A demonstration: Figure 2 of the patent on virtual tapes, one mirror of which fails half-way, on purpose.

It makes its own data, and says what was not as it should have been.
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from msgspec import Struct, field

from tapeloom.catalog import Catalog, CopyStatus
from tapeloom.compile import compile_job
from tapeloom.config import Config, load
from tapeloom.errors import TapeloomError, UsageError
from tapeloom.limits import MIB
from tapeloom.ops.backup import open_backup
from tapeloom.ops.outcome import BackupResult
from tapeloom.ops.restore import restore
from tapeloom.ops.verify import VerifyResult, verify
from tapeloom.picture import svg
from tapeloom.runtime import Ending

FILE_NAME: Final = "fig2.toml"
PICTURE_NAME: Final = "fig2.svg"

FAILING_AGENT, FAILING_DRIVE = "BMA138", "R5"
FAILING_BLOCK: Final = 70
"""Of the about 140 that would go onto that drive."""

SOURCE_BYTES: Final = {"D1": 8 * MIB, "D2": 6 * MIB, "D3": 4 * MIB, "D4": 5 * MIB, "D5": 6 * MIB}

WHOLE: Final = {
    "D1": ("BMA124",),
    "D2": ("BMA124", "BMA144"),
    "D3": ("BMA124",),
    "D4": ("BMA126",),
    "D5": ("BMA126", "BMA140", "BMA146"),
}
"""Who is to have a complete copy of what, although BMA138 fails. BMA144 is the stage below it."""

BROKEN: Final = {"D1": ("BMA138",), "D2": ("BMA138",)}

CONFIGURATION: Final = f"""\
# Figure 2 of the patent: two backup media agents, two mirror stages, six drives. For the demonstration the blocks are
# small, and drive {FAILING_DRIVE} is made to fail at its block {FAILING_BLOCK}.

[server]
state = "state"
block = "128KiB"
memory = "32MiB"

[drives]
R1 = "vtape:tapes/R1"
R2 = "vtape:tapes/R2"
R3 = "vtape:tapes/R3"
{FAILING_DRIVE} = "vtape:tapes/{FAILING_DRIVE}?fail_write={FAILING_BLOCK}"
R6 = "vtape:tapes/R6"
R8 = "vtape:tapes/R8"

[sources]
D1 = "data/D1"
D2 = "data/D2"
D3 = "data/D3"
D4 = "data/D4"
D5 = "data/D5"

[backup.nightly.BMA124]
drive = "R1"
buffers = {{ B1 = "D3", B2 = "D2", B3 = "D1" }}

[backup.nightly.BMA126]
drive = "R2"
buffers = {{ B1 = "D4", B3 = "D5" }}

[mirror.1]
checkpoint = "2MB"               # what came before the failure has receipts, and stays known

[mirror.1.BMA138]
drive = "{FAILING_DRIVE}"
buffers = {{ B2 = "BMA124.B2", B3 = "BMA124.B3" }}

[mirror.1.BMA140]
drive = "R8"
buffers = {{ B1 = "BMA126.B3" }}

[mirror.2.BMA144]
drive = "R3"
buffers = {{ B2 = "BMA138.B2" }}

[mirror.2.BMA146]
drive = "R6"
buffers = {{ B1 = "BMA140.B1" }}
"""


class Restored(Struct, frozen=True):
    """One object, restored from one copy; `differences` from the source, by path, are empty when all is well."""

    source: str
    agent: str
    files: int
    bytes: int
    differences: list[str]


class DemoResult(Struct, frozen=True):
    """`surprises` are what was not as it should have been."""

    folder: Path
    file: Path
    picture: Path
    backup: BackupResult
    restored: list[Restored]
    verified: VerifyResult
    surprises: list[str] = field(default_factory=list)

    @property
    def exit_status(self) -> int:
        return 1 if self.surprises else 0


def run(folder: Path | None, tell: Callable[[str], None]) -> DemoResult:
    """Runs the demonstration in `folder`, which stays; None: in a new one among the temporary files.

    `tell` gets a sentence before each step.

    Raises
    ------
    UsageError
        The folder is not empty, or cannot be used.
    """
    folder = _prepare(folder)
    file, picture = folder / FILE_NAME, folder / PICTURE_NAME
    tell(f"Making five folders to back up, {sum(SOURCE_BYTES.values()) / MIB:.0f} MiB, in {folder / 'data'}.")
    for name, bytes_wanted in SOURCE_BYTES.items():
        make_tree(folder / "data" / name, bytes_wanted, seed=name)
    file.write_text(CONFIGURATION, encoding="utf-8")
    config = load(file)
    picture.write_text(svg(config, compile_job(config)), encoding="utf-8")

    tell(
        f"Backing up onto six virtual drives. Drive {FAILING_DRIVE} of mirror {FAILING_AGENT} fails half-way: "
        "on purpose, to show that the others go on."
    )
    with open_backup(config) as backup:
        outcome = backup.run()
    surprises = list(_surprises(config, outcome))

    tell("Restoring every object from each of its complete copies, and comparing it with its source.")
    restored = []
    for source, agents in WHOLE.items():
        for agent in agents:
            try:
                one = _restore(config, folder, source, agent)
            except TapeloomError as error:
                surprises.append(str(error))
                continue
            restored.append(one)
            if one.differences:
                surprises.append(f"{source} from {agent} is not as its source: {one.differences[0]}")

    tell("Reading all complete copies once more, and checking every checksum.")
    verified = verify(config)
    surprises += [str(fault) for fault in verified.faults]
    return DemoResult(folder, file, picture, outcome, restored, verified, surprises)


def _prepare(folder: Path | None) -> Path:
    try:
        if folder is None:
            return Path(tempfile.mkdtemp(prefix="tapeloom-demo-"))
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise UsageError(f"{folder} is not empty: the demonstration needs a folder of its own")
        return folder.absolute()
    except OSError as error:
        raise UsageError(f"{folder} cannot be used: {error.strerror}") from None


def _surprises(config: Config, outcome: BackupResult) -> Iterator[str]:
    for end in outcome.agents:
        wanted = Ending.FAILED if end.agent == FAILING_AGENT else Ending.COMPLETE
        if end.ending is not wanted:
            yield f"{end.agent} ended as {end.ending}, not as {wanted}" + (f": {end.why}" if end.why else "")
    with Catalog.open(config.server.state, readonly=True) as catalog:
        for source in SOURCE_BYTES:
            found = {copy.agent: copy.status for copy in catalog.newest(source, whole=False).copies}
            for agent in WHOLE[source]:
                if found.pop(agent, None) is not CopyStatus.COMPLETE:
                    yield f"{source} has no complete copy by {agent}"
            for agent in BROKEN.get(source, ()):
                if found.pop(agent, None) in (CopyStatus.COMPLETE, None):
                    yield f"{source} was to be incomplete on {agent}'s drive"
            for agent in found:
                yield f"{source} has a copy by {agent}, which should have none"


def _restore(config: Config, folder: Path, source: str, agent: str) -> Restored:
    target = folder / "restored" / f"{source}-{agent}"
    result = restore(config, source, target, copy=agent)
    troubles = [*result.report.troubles, *result.report.unset, *result.faults]
    found = [str(trouble) for trouble in troubles] + differences(folder / "data" / source, target)
    if not found:
        shutil.rmtree(target)
    return Restored(source, agent, result.report.files, result.report.bytes, found)


def make_tree(root: Path, bytes_wanted: int, *, seed: str) -> None:
    """A folder with a bit of everything that a file system has: always the same for the same seed.

    Many small files and a few large ones, `bytes_wanted` in all or so; links of both kinds, a sparse file, a FIFO,
    modes, times to the nanosecond, extended attributes, and a name that is not UTF-8.
    """
    chance = random.Random(seed)
    root.mkdir(parents=True)
    left = bytes_wanted
    for number in range(60):
        folder = root / f"notes-{number % 7}" / chance.choice(["spring", "sommer", "été", "冬"])
        folder.mkdir(parents=True, exist_ok=True)
        left -= _file(folder / f"note-{number:03}.txt", chance, chance.randrange(6000))
    number = 0
    while left > 0:
        left -= _file(root / f"large-{number}.bin", chance, min(left, chance.randrange(MIB // 4, 2 * MIB)))
        number += 1
    (root / "link").symlink_to("large-0.bin")
    (root / "another-name.bin").hardlink_to(root / "large-0.bin")
    (root / "large-0.bin").chmod(0o640)
    os.mkfifo(root / "fifo")
    _file(Path(os.fsdecode(os.fsencode(root) + b"/caf\xe9.txt")), chance, 100)
    with open(root / "sparse.img", "wb") as sparse:
        sparse.truncate(64 * MIB)
        sparse.seek(32 * MIB)
        sparse.write(chance.randbytes(5000))
    with suppress(OSError):  # not every file system keeps them
        os.setxattr(root / "sparse.img", "user.origin", b"tapeloom demo")
    for path, folders, files in os.walk(root, topdown=False):
        for name in (*folders, *files):
            made_ns = 1_500_000_000_000_000_000 + chance.randrange(10**17)
            os.utime(os.path.join(path, name), ns=(made_ns, made_ns), follow_symlinks=False)


def _file(path: Path, chance: random.Random, length: int) -> int:
    path.write_bytes(chance.randbytes(length))
    return length


def differences(left: Path, right: Path) -> list[str]:
    """In what two trees differ: names, kinds, content, owners, modes, times, links, extended attributes."""
    ours, theirs = _entries(left), _entries(right)
    found = [f"{_shown(path)} is missing" for path in sorted(ours.keys() - theirs.keys())]
    found += [f"{_shown(path)} should not be there" for path in sorted(theirs.keys() - ours.keys())]
    for path in sorted(ours.keys() & theirs.keys()):
        here, there = ours[path], theirs[path]
        for what in here.keys() | there.keys():
            if here.get(what) != there.get(what):
                found.append(f"{_shown(path)}: {what} differs")
        if "bytes" in here and "bytes" in there and not _same_content(left, right, path):
            found.append(f"{_shown(path)}: content differs")
    return found


def _shown(path: bytes) -> str:
    return path.decode(errors="backslashreplace") or "."


def _entries(root: Path) -> dict[bytes, dict[str, object]]:
    """What there is to compare, by path; hard links by the first name that their file has."""
    top = os.fsencode(root)
    first_names: dict[int, bytes] = {}
    found: dict[bytes, dict[str, object]] = {}
    paths = [top]
    for folder, folders, files in os.walk(top):
        folders.sort()
        paths += [os.path.join(folder, name) for name in sorted(folders + files)]
    for path in paths:
        name = path[len(top) + 1 :]
        here = os.lstat(path)
        entry: dict[str, object] = {
            "mode": here.st_mode,
            "owner": (here.st_uid, here.st_gid),
            "time": here.st_mtime_ns,
            "extended attributes": _attributes(path),
        }
        if os.path.islink(path):
            entry["target of the link"] = os.readlink(path)
        elif os.path.isfile(path):
            entry["bytes"] = here.st_size
            entry["hard link"] = first_names.setdefault(here.st_ino, name)
        found[name] = entry
    return found


def _attributes(path: bytes) -> dict[str, bytes]:
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError:
        return {}
    return {name: os.getxattr(path, name, follow_symlinks=False) for name in names}


def _same_content(left: Path, right: Path, path: bytes) -> bool:
    with (
        open(os.path.join(os.fsencode(left), path), "rb") as ours,
        open(os.path.join(os.fsencode(right), path), "rb") as theirs,
    ):
        while True:
            here, there = ours.read(MIB), theirs.read(MIB)
            if here != there:
                return False
            if not here:
                return True
