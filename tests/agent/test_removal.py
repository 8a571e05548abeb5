"""What removing leaves alone: mounts, those of the same file system too."""

from __future__ import annotations

import errno
import os

import pytest

from tapeloom.agent import removal
from tapeloom.agent.descent import FOLDER_FLAGS
from tapeloom.agent.listing import Listing
from tapeloom.agent.removal import Removal, is_mounted, mount_of
from tapeloom.agent.report import Notes


@pytest.fixture
def mounts_at(monkeypatch):
    """Lets a folder seem to be a bind mount: on a mount of its own, on the same device."""

    def seem(place):
        identity = place.stat()
        real = mount_of

        def seeming(fd):
            return -1 if os.path.samestat(os.fstat(fd), identity) else real(fd)

        monkeypatch.setattr(removal, "mount_of", seeming)

    return seem


def purge(folder):
    troubles = Notes()
    removing = Removal(lambda path: True, troubles)
    fd = os.open(folder, FOLDER_FLAGS)
    try:
        removing.purge(fd, b"", Listing(b"\0", b"."))
    finally:
        os.close(fd)
    return removing.removed, [str(trouble) for trouble in troubles.named()]


@pytest.mark.parametrize("mounted", ["gone", "gone/deep"])
def test_what_is_mounted_stays(tmp_path, mounts_at, mounted):
    (tmp_path / mounted).mkdir(parents=True)
    (tmp_path / mounted / "precious").write_text("x")
    (tmp_path / "also").mkdir()
    mounts_at(tmp_path / mounted)
    told = "gone: is gone from the source and cannot be removed here: something is mounted there or below it"
    assert purge(tmp_path) == (1, [told])
    assert (tmp_path / mounted / "precious").read_text() == "x"
    assert not (tmp_path / "also").exists()


def test_without_mounts_all_goes(tmp_path):
    (tmp_path / "gone" / "deep").mkdir(parents=True)
    (tmp_path / "gone" / "deep" / "x").write_text("x")
    assert purge(tmp_path) == (3, [])


def test_mounts_are_told_apart(tmp_path):
    (tmp_path / "here").mkdir()
    for parent, name, mounted in (("/", b"proc", True), (tmp_path, b"here", False)):
        fd = os.open(parent, os.O_PATH)
        try:
            assert is_mounted(name, fd, mount_of(fd)) == mounted
        finally:
            os.close(fd)


def test_a_system_that_does_not_tell(tmp_path, monkeypatch):
    """Then nothing is removed that may be on another mount."""
    (tmp_path / "gone").mkdir()

    def silent(fd):
        raise OSError(errno.ENOTSUP, "")

    monkeypatch.setattr(removal, "mount_of", silent)
    assert purge(tmp_path) == (
        0,
        ["gone: is gone from the source and cannot be removed here: " + os.strerror(errno.ENOTSUP)],
    )
    assert (tmp_path / "gone").is_dir()
