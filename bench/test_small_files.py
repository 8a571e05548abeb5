"""Many small files, beside GNU tar on the same tree: whole processes, from the shell's point of view."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from commands import Floor, Site, cost_of
from pytest_benchmark.fixture import BenchmarkFixture
from sizes import Sizes
from trees import Tree, place_for_trees

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


@needs_tar
def test_restore_small(benchmark: BenchmarkFixture, note: Note, small: Place, sizes: Sizes) -> None:
    archive, site, target = small.scratch / "small.tar", small.site, small.scratch / "target"
    cost_of(small.tar(*ATTRIBUTES, "--create", f"--file={archive}", "."))
    site.run("backup")
    tar: list[float] = []

    def setup() -> None:
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        command = ["tar", f"--directory={target}", *ATTRIBUTES[1:], "--extract", f"--file={archive}"]
        tar.append(cost_of(command).usage.seconds)
        shutil.rmtree(target)

    def run() -> None:
        seconds = site.run("restore", "S", "--to", str(target)).usage.seconds
        note("small_restore", tar[-1] / seconds)
        note("small_restore_seconds", seconds)
        note("small_restore_tar", tar[-1])

    benchmark.pedantic(run, setup=setup, rounds=min(5, sizes.rounds))


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
