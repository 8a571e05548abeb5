"""What `restore --delete` removes and leaves alone."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from tapeloom.agent import removal
from tapeloom.agent.rows import FOLDER
from tapeloom.errors import RestoreError
from tapeloom.ops import pruning
from tapeloom.ops.pruning import prune

ROOT = (b"", FOLDER)


@pytest.fixture
def few_files() -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def mount_at(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `place`, with a file in it, seem to be on another mount of the same device."""
    place.mkdir(parents=True)
    (place / "precious").write_text("x")
    identity, real = place.stat(), removal.mount_of

    def seeming(fd: int) -> int:
        return -1 if os.path.samestat(os.fstat(fd), identity) else real(fd)

    monkeypatch.setattr(removal, "mount_of", seeming)
    monkeypatch.setattr(pruning, "mount_of", seeming)


def test_what_is_mounted_below_a_removed_folder_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mount_at(tmp_path / "gone" / "deep" / "mnt", monkeypatch)
    (tmp_path / "stray").mkdir()
    with pytest.raises(RestoreError, match="gone cannot be removed: something is mounted there or below it"):
        prune(tmp_path, [ROOT])
    assert (tmp_path / "gone" / "deep" / "mnt" / "precious").read_text() == "x"
    assert not (tmp_path / "stray").exists()  # the rest went


@pytest.mark.parametrize("state", [[ROOT], [ROOT, (b"mnt", FOLDER)]])
def test_what_is_mounted_on_a_name_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: list[tuple[bytes, int]]
) -> None:
    mount_at(tmp_path / "mnt", monkeypatch)
    assert prune(tmp_path, state) == 0
    assert (tmp_path / "mnt" / "precious").read_text() == "x"


def deep(target: Path, levels: int) -> list[bytes]:
    """Makes folders, each in the one before, the deepest with a file in it. Gives their paths."""
    target.mkdir()
    fd = os.open(target, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("d", dir_fd=fd)
        inner = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(os.open("stray", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    os.close(fd)
    return [b"/".join([b"d"] * depth) for depth in range(1, levels + 1)]


@pytest.mark.usefixtures("few_files")
def test_a_tree_deeper_than_files_may_be_open(tmp_path: Path) -> None:
    paths = deep(tmp_path / "t", 400)
    state = [ROOT, *((path, FOLDER) for path in paths)]
    assert prune(tmp_path / "t", state) == 1  # the stray at the bottom
    assert prune(tmp_path / "t", state) == 0
    assert prune(tmp_path / "t", [ROOT]) == 1
    assert list((tmp_path / "t").iterdir()) == []
