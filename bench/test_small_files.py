"""Many small files, beside GNU tar on the same tree: whole processes, from the shell's point of view."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest
from commands import Floor, Site, cost_of
from pytest_benchmark.fixture import BenchmarkFixture
from sizes import Sizes
from trees import Tree, place_for_trees
from usage import Usage

Note = Callable[[str, float], None]

needs_tar = pytest.mark.skipif(shutil.which("tar") is None, reason="GNU tar is not installed")

ATTRIBUTES = ["--format=posix", "--xattrs", "--acls"]


@dataclass(frozen=True, slots=True)
class Place:
    """A tree, and a scratch folder on the same disk."""

    tree: Tree
    root: Path
    scratch: Path

    @property
    def site(self) -> Site:
        return Site(self.scratch / "site", self.root).write()

    def tar(self, *words: str) -> list[str]:
        return ["tar", f"--directory={self.root}", *words]


def _place(tree: Tree, scratch: Path, name: str) -> Iterator[Place]:
    folder = scratch / name
    folder.mkdir()
    place = Place(tree, tree.made(place_for_trees()), folder)
    Floor(folder).walk(tree.folders_of(place.root), 2)  # its names are in the cache from here on
    yield place
    shutil.rmtree(folder)


@pytest.fixture
def small(scratch: Path, sizes: Sizes) -> Iterator[Place]:
    """Files of 4 KiB, a hundred in each folder; read once, so that the cache has them."""
    tree = Tree(sizes.small_files, sizes.small_files // 100, 4096)
    for place in _place(tree, scratch, "small"):
        cost_of(place.tar("--create", f"--file={place.scratch / 'once.tar'}", "."))
        (place.scratch / "once.tar").unlink()
        yield place


@pytest.fixture
def many(scratch: Path, sizes: Sizes) -> Iterator[Place]:
    """Empty files, which are quickly made: an increment of an unchanged tree looks at their names and stamps alone."""
    yield from _place(Tree(sizes.many_files, sizes.many_files // 100, 0), scratch, "many")


def test_start(benchmark: BenchmarkFixture, note: Note, scratch: Path, sizes: Sizes) -> None:
    folder = scratch / "start"
    (folder / "one").mkdir(parents=True)
    (folder / "one" / "file").write_text("one")
    site = Site(folder, folder / "one").write()
    site.run("backup")
    site.run("backup")

    def run() -> None:
        note("start_up", site.run("backup").usage.seconds)
        note("start_up_memory", site.peak_bytes("backup") / (1 << 20))

    benchmark.pedantic(run, rounds=sizes.rounds)
    shutil.rmtree(folder)


@needs_tar
def test_full(benchmark: BenchmarkFixture, note: Note, small: Place, sizes: Sizes) -> None:
    archive, site = small.scratch / "small.tar", small.site
    site.run("backup")
    tar: list[float] = []

    def setup() -> None:
        site.forget()
        archive.unlink(missing_ok=True)
        tar.append(cost_of(small.tar(*ATTRIBUTES, "--create", f"--file={archive}", ".")).usage.seconds)

    def run() -> None:
        seconds = site.run("backup").usage.seconds
        note("small_full", tar[-1] / seconds)
        note("small_full_seconds", seconds)
        note("small_full_tar", tar[-1])

    benchmark.pedantic(run, setup=setup, rounds=min(5, sizes.rounds))
    site.forget()
    note("small_memory", site.peak_bytes("backup") / (1 << 20))


@dataclass(frozen=True, slots=True)
class Restores:
    """What GNU tar and tapeloom make of the same tree, in turns, below `place`."""

    archive: Path
    site: Site
    place: Path

    def tar(self, number: int) -> Usage:
        """Out of an archive that is not in the cache, as what is on a tape never is."""
        target = self.place / f"tar-{number}"
        target.mkdir()
        _forget(self.archive)
        command = ["tar", f"--directory={target}", *ATTRIBUTES[1:], "--extract", f"--file={self.archive}"]
        return cost_of(command).usage

    def ours(self, number: int) -> Usage:
        os.sync()
        return self.site.run("restore", "S", "--to", str(self.place / f"ours-{number}")).usage

    def pair(self, number: int) -> tuple[Usage, Usage]:
        """tar's and ours. Who goes first changes from pair to pair."""
        if number % 2:
            ours = self.ours(number)
            return self.tar(number), ours
        return self.tar(number), self.ours(number)


def _forget(file: Path) -> None:
    """Let nothing be under way to the disk, and nothing of the file in the cache."""
    os.sync()
    with file.open("rb") as opened:
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@needs_tar
def test_restore_small(benchmark: BenchmarkFixture, note: Note, small: Place, sizes: Sizes) -> None:
    """Each into a new folder, and none is removed before the end: a file system may hand out an inode that was just let
    go only after minutes, and look at all of these again for each new file, whoever makes it.
    """
    archive, site = small.scratch / "small.tar", small.site
    cost_of(small.tar(*ATTRIBUTES, "--create", f"--file={archive}", "."))
    site.run("backup")
    restores, numbers = Restores(archive, site, small.scratch), count()

    def run() -> None:
        tar, ours = restores.pair(next(numbers))
        note("small_restore", tar.seconds / ours.seconds)
        note("small_restore_cpu", ours.cpu_seconds / tar.cpu_seconds)
        note("small_restore_seconds", ours.seconds)
        note("small_restore_tar", tar.seconds)

    benchmark.pedantic(run, rounds=min(3, sizes.rounds))


@needs_tar
def test_restore_small_in_memory(benchmark: BenchmarkFixture, note: Note, small: Place, sizes: Sizes) -> None:
    """The same with archive, tape and tree in a file system in memory: what neither disk nor journal decides."""
    folder = _folder_in_memory(4 * sizes.small_files * 4096)
    try:
        archive, site = folder / "small.tar", Site(folder / "site", small.root).write()
        cost_of(small.tar(*ATTRIBUTES, "--create", f"--file={archive}", "."))
        site.run("backup")
        restores, numbers = Restores(archive, site, folder), count()

        def run() -> None:
            number = next(numbers)
            tar, ours = restores.pair(number)
            note("small_restore_in_memory", tar.seconds / ours.seconds)
            note("small_restore_in_memory_cpu", ours.cpu_seconds / tar.cpu_seconds)
            for whose in ("tar", "ours"):
                shutil.rmtree(folder / f"{whose}-{number}")

        benchmark.pedantic(run, rounds=min(5, sizes.rounds))
    finally:
        shutil.rmtree(folder)


def _folder_in_memory(bytes: int) -> Path:
    """A new folder in /dev/shm, or the test is skipped where that has no room for so much."""
    shared = Path("/dev/shm")
    if not shared.is_dir():
        pytest.skip("/dev/shm is not there")
    available = next(
        line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemAvailable:")
    )
    room = min(shutil.disk_usage(shared).free, int(available.split()[1]) * 1024 // 2)
    if room < bytes:
        pytest.skip(f"/dev/shm has no room for {bytes >> 20} MiB, or memory has not")
    return Path(tempfile.mkdtemp(prefix="tapeloom-bench-", dir=shared))


@needs_tar
def test_increment(benchmark: BenchmarkFixture, note: Note, many: Place, sizes: Sizes) -> None:
    site, floor = many.site, Floor(many.scratch)
    first, now = many.scratch / "first.snar", many.scratch / "now.snar"
    archive = f"--file={many.scratch / 'many.tar'}"
    cost_of(many.tar("--create", f"--listed-incremental={first}", archive, "."))
    site.run("backup")
    folders = many.tree.folders_of(many.root)
    seconds: list[tuple[float, float]] = []

    def setup() -> None:
        shutil.copy(first, now)
        tar = cost_of(many.tar("--create", f"--listed-incremental={now}", archive, "."))
        seconds.append((tar.usage.seconds, floor.walk(folders, 2).usage.seconds))

    def run() -> None:
        ours, (tar, bare) = site.run("backup", "--level", "incremental").usage.seconds, seconds[-1]
        note("increment", ours / tar)
        note("increment_floor", ours / bare)
        note("increment_seconds", ours)
        note("increment_tar", tar)
        note("increment_bare", bare)

    benchmark.pedantic(run, setup=setup, rounds=sizes.rounds)
    note("increment_memory", site.peak_bytes("backup", "--level", "incremental") / (1 << 20))
    note("many_memory", site.peak_bytes("backup", "--level", "full") / (1 << 20))


@needs_tar
def test_increment_of_changes(benchmark: BenchmarkFixture, note: Note, small: Place, sizes: Sizes) -> None:
    site, first, now = small.site, small.scratch / "first.snar", small.scratch / "now.snar"
    archive = f"--file={small.scratch / 'small.tar'}"
    cost_of(small.tar("--create", f"--listed-incremental={first}", archive, "."))
    site.run("backup")
    tar: list[float] = []

    def setup() -> None:
        small.tree.mutate(small.root, 0.01, seed=len(tar))
        shutil.copy(first, now)
        words = [*ATTRIBUTES, "--create", f"--listed-incremental={now}", archive, "."]
        tar.append(cost_of(small.tar(*words)).usage.seconds)
        first.write_bytes(now.read_bytes())

    def run() -> None:
        note("increment_1", site.run("backup", "--level", "incremental").usage.seconds / tar[-1])

    benchmark.pedantic(run, setup=setup, rounds=min(5, sizes.rounds))
