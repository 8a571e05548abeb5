"""Trees on file systems of many kinds, mounted for it: read, restored, and mounted one inside the other."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from agent_world import DEFAULT_ACL, FOLDER_ACL, MemorySequence, make_everything
from backup_world import World, members
from nasty_trees import same_tree

from tapeloom.agent.extract import TreeRestore
from tapeloom.agent.tree import TreeSource

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")

MIB = 1 << 20
SYSTEM = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
IMAGE_MIB = {"ext2": 64, "ext4": 64, "xfs": 512, "btrfs": 256}

Mount = Callable[..., Path]


def ran(*command: str | Path) -> None:
    """Skips the test where this machine lets nobody do it."""
    try:
        run = subprocess.run(command, env=SYSTEM, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip(f"{command[0]} is not installed")
    if run.returncode:
        pytest.skip(f"this machine lets nobody do it: {command[0]}: {run.stderr.strip() or run.returncode}")


def known_to_the_kernel(kind: str) -> bool:
    return kind in Path("/proc/filesystems").read_text().split()


@pytest.fixture
def mount(tmp_path) -> Iterator[Mount]:
    """Mounts a file system of a kind, empty, and says where; *at* an existing folder or one of its own."""
    with ExitStack() as mounted:

        def make(kind: str, at: Path | None = None) -> Path:
            beside = tmp_path / f"mount-of-{kind}-{len(os.listdir(tmp_path))}"
            beside.mkdir()
            at = at or beside / "at"
            at.mkdir(exist_ok=True)
            if kind == "bind":
                (beside / "bound").mkdir()
                ran("mount", "--bind", beside / "bound", at)
            elif kind in ("tmpfs", "ramfs"):
                ran("mount", "-t", kind, "tapeloom-test", at)
            elif kind == "overlay":
                layers = {name: beside / name for name in ("lowerdir", "upperdir", "workdir")}
                for folder in layers.values():
                    folder.mkdir()
                told = ",".join(f"{name}={folder}" for name, folder in layers.items())
                ran("mount", "-t", "overlay", "overlay", "-o", told, at)
            else:
                if not known_to_the_kernel(kind):
                    pytest.skip(f"this kernel does not know {kind}")
                image = beside / "image"
                with open(image, "wb") as file:
                    file.truncate(IMAGE_MIB[kind] * MIB)
                ran(f"mkfs.{kind}", image)
                ran("mount", "-t", kind, "-o", "loop", image, at)
            mounted.callback(subprocess.run, ["umount", "-l", at], check=True)
            return at

        yield make


def restored(target: Path, *archives: bytes) -> list[str]:
    """What the report of it has to say."""
    with TreeRestore(target, again=True) as restore:
        for archive in archives:
            restore.feed(MemorySequence(archive), deletions=True)
        report = restore.finish()
    return [str(trouble) for trouble in report.troubles] + [str(unset) for unset in report.unset]


def world_in(place: Path) -> World:
    folder = place / "world"
    folder.mkdir()
    return World(folder)


@pytest.mark.parametrize("kind", ["tmpfs", "overlay", "bind", "ext2", "ext4", "xfs", "btrfs"])
def test_full_and_increment_of_a_tree(tmp_path, mount, kind):
    world = world_in(mount(kind))
    make_everything(world.tree)
    full, troubles = world.backup(0)
    assert not troubles
    (world.tree / "small").unlink()
    os.rename(world.tree / "sorted", world.tree / "moved")
    os.link(world.tree / "exact", world.tree / "exactly")
    (world.tree / "empty").write_bytes(b"not any more")
    increment, troubles = world.backup(1, since=0)
    assert not troubles
    found = set(members(increment))
    assert {"./moved", "./exact", "./exactly", "./empty", "./zz-hard"} <= found
    out = tmp_path / "out"
    assert restored(out, full, increment) == []
    assert same_tree(world.tree, out, holes=False) == []
    while members(increment):  # until all stamps are old enough to be trusted: whole seconds on ext2
        increment, troubles = world.backup(2, since=1)
        os.rename(world.folder / "snapshot2", world.folder / "snapshot1")
        assert not troubles


@pytest.mark.parametrize("kind", ["tmpfs", "overlay", "bind", "ext4", "xfs", "btrfs"])
def test_a_restore_to_it(tmp_path, mount, kind):
    world = world_in(tmp_path)
    make_everything(world.tree)
    archive, _ = world.backup(0)
    target = mount(kind) / "target"
    assert restored(target, archive) == []
    assert same_tree(world.tree, target, holes=False) == []


def test_lists_that_xfs_shows_twice_are_taken_once(tmp_path, mount):
    world = world_in(mount("xfs"))
    os.setxattr(world.tree, "system.posix_acl_access", FOLDER_ACL)
    os.setxattr(world.tree, "system.posix_acl_default", DEFAULT_ACL)
    assert "trusted.SGI_ACL_FILE" in os.listxattr(world.tree)
    archive, _ = world.backup(0)
    assert b"SCHILY.acl.default" in archive
    assert b"SGI_ACL" not in archive


def many_dressed(world: World) -> bytes:
    """An archive of files with owners, modes and attributes."""
    for number in range(20):
        file = world.tree / f"{number:02}"
        file.write_bytes(b"%d" % number)
        file.chmod(0o640)
        os.chown(file, 1234, 2345)
        os.setxattr(file, "user.key", b"value")
    os.link(world.tree / "00", world.tree / "link")
    os.symlink("00", world.tree / "symlink")
    return world.backup(0)[0]


def test_a_target_that_has_no_attributes_says_so_once(tmp_path, mount):
    archive = many_dressed(world_in(tmp_path))
    target = mount("ramfs") / "target"
    (said,) = restored(target, archive)
    assert "user." in said
    assert "20" in said
    assert (target / "19").stat().st_uid == 1234
    assert (target / "link").samefile(target / "00")


@pytest.mark.parametrize("one_file_system", [False, True])
def test_a_file_system_mounted_in_the_tree(tmp_path, mount, one_file_system):
    world = world_in(tmp_path)
    inner = world.tree / "folder" / "inner"
    inner.mkdir(parents=True)
    (world.tree / "folder" / "file").write_bytes(b"outer")
    mount("tmpfs", at=inner)
    (inner / "below").mkdir()
    (inner / "below" / "file").write_bytes(b"inner")
    source = TreeSource([world.tree], one_file_system=one_file_system)
    below = [] if one_file_system else ["./folder/inner/below", "./folder/inner/below/file"]
    archive, troubles = world.backup(0, source=source)
    assert not troubles
    assert members(archive) == [".", "./folder", "./folder/file", "./folder/inner", *below]
    assert members(world.backup(1, since=0, source=source)[0]) == []
    (inner / "below" / "new").touch()
    changed = [] if one_file_system else ["./folder/inner/below", "./folder/inner/below/new"]
    assert members(world.backup(2, since=1, source=source)[0]) == changed
    shutil.rmtree(inner / "below")
    subprocess.run(["umount", "-l", inner], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "tapeloom-test", inner], check=True)  # the fixture takes it away
    archive, troubles = world.backup(3, since=2, source=source)
    assert not troubles
    assert members(archive) == ["./folder/inner"]


def test_names_of_one_number_on_two_file_systems_are_two_files(tmp_path, mount):
    """Inode numbers of a fresh tmpfs begin anew in each."""
    world = world_in(tmp_path)
    inos = set()
    for name in "ab":
        at = world.tree / name
        at.mkdir()
        mount("tmpfs", at=at)
        (at / "file").write_bytes(name.encode())
        os.link(at / "file", at / "link")
        inos.add((at / "file").stat().st_ino)
    assert len(inos) == 1
    full = world.backup(0)[0]
    os.rename(world.tree / "a" / "link", world.tree / "a" / "renamed")
    increment = world.backup(1, since=0)[0]
    assert restored(tmp_path / "out", full, increment) == []
    assert same_tree(world.tree, tmp_path / "out") == []
