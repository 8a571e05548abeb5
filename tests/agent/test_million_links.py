"""A million names of inodes with several, really there: read and restored in little memory, each to its own again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from array import array
from collections.abc import Iterator
from pathlib import Path

import pytest

import tapeloom

NAMES = 1_000_000
MANY, NAMES_OF_MANY = 8, 62_500
"""So many inodes have so many names each (ext4 allows 65,000), and all others are pairs."""

FOLDERS = 500
MIB_MAX = 110
"""A process that has read or restored a folder of three files takes about 45."""

BYTES_NEEDED = 3 << 30


def in_memory() -> Path | None:
    """Where such trees are made quickly, if there is room."""
    shared = Path("/dev/shm")
    try:
        room = os.statvfs(shared)
    except OSError:
        return None
    fits = room.f_bavail * room.f_frsize > BYTES_NEEDED and room.f_favail > 3 * NAMES
    return shared if fits and os.access(shared, os.W_OK) else None


@pytest.fixture
def place() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="million-links-", dir=in_memory()))
    yield folder
    subprocess.run(["rm", "-rf", folder], check=True)


def name_of(number: int) -> str:
    return f"{number % FOLDERS:03}/{number // FOLDERS}"


def inode_of(number: int) -> int:
    """The first names of the pairs come in another half of every folder than the second ones: far away in the archive,
    so that the table of first names has to remember very many of them."""
    if number < MANY * NAMES_OF_MANY:
        return number % MANY
    pairs = (NAMES - MANY * NAMES_OF_MANY) // 2
    return MANY + (number - MANY * NAMES_OF_MANY) % pairs


def make(root: Path) -> None:
    for folder in range(FOLDERS):
        (root / f"{folder:03}").mkdir(parents=True)
    here = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    first: dict[int, str] = {}
    for number in range(NAMES):
        name, inode = name_of(number), inode_of(number)
        if inode in first:
            os.link(first[inode], name, src_dir_fd=here, dst_dir_fd=here)
        else:
            first[inode] = name
            fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=here)
            os.write(fd, b"%d" % inode)
            os.utime(fd, (1_700_000_000, 1_700_000_000))  # takes no records of its own: half of the archive
            os.close(fd)
    os.close(here)


def link_sets(root: Path) -> array[int]:
    """For every name in turn the number of the first name of its inode."""
    inodes = {}
    for folder in range(FOLDERS):
        with os.scandir(root / f"{folder:03}") as found:
            inodes.update({(folder, int(entry.name)): entry.inode() for entry in found})
    first: dict[int, int] = {}
    return array("i", [first.setdefault(inodes.pop((n % FOLDERS, n // FOLDERS)), n) for n in range(NAMES)])


@pytest.mark.slow
def test_a_million_hard_links(place):
    source, target = place / "source", place / "target"
    make(source)
    environment = os.environ | {"PYTHONPATH": str(Path(tapeloom.__file__).parents[1]), "TMPDIR": str(place)}
    command = [sys.executable, __file__]
    with (
        subprocess.Popen(
            [*command, "read", source, place / "read"], env=environment, stdout=subprocess.PIPE
        ) as reading,
        subprocess.Popen(
            [*command, "restore", target, place / "restore"], env=environment, stdin=reading.stdout
        ) as restoring,
    ):
        reading.stdout.close()
    assert reading.returncode == 0
    assert restoring.returncode == 0
    for of in ("read", "restore"):
        told = json.loads((place / of).read_text())
        assert told["names"] == NAMES
        assert told["mib"] < MIB_MAX, of
    expected, found = link_sets(source), link_sets(target)
    assert found == expected
    assert len(set(expected)) == MANY + (NAMES - MANY * NAMES_OF_MANY) // 2
    some = NAMES - 1
    assert (target / name_of(some)).read_text() == str(inode_of(some))


def read(root: Path) -> int:
    from tapeloom.agent.tree import TreeSource

    class Out:
        def write(self, data) -> None:
            sys.stdout.buffer.write(data)

    report = TreeSource([root]).run(Out())
    sys.stdout.buffer.flush()
    assert not report.troubles, report.troubles
    return report.files + report.others


def restore(target: Path) -> int:
    from tapeloom.agent.extract import TreeRestore

    class In:
        def read(self, bytes: int) -> bytes:
            return sys.stdin.buffer.read(bytes)

        def skip(self, bytes: int) -> int:
            return len(self.read(bytes))

    with TreeRestore(target) as restoring:
        restoring.feed(In())
        report = restoring.finish()
    assert not report.troubles, report.troubles
    return report.files + report.others


if __name__ == "__main__":
    names = {"read": read, "restore": restore}[sys.argv[1]](Path(sys.argv[2]))
    # Not ru_maxrss: that of a child begins with what its parent had when it was made.
    status = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    Path(sys.argv[3]).write_text(json.dumps({"names": names, "mib": peak >> 10}))
