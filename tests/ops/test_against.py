"""Objects on tape beside the files that they were made of."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ops_world import World

from tapeloom.errors import NotFound, SourceError, UsageError
from tapeloom.ops.against import AgainstResult, verify_against_source
from tapeloom.ops.restore import restore
from tapeloom.volume.header import Level


def told(result: AgainstResult) -> dict[str, list[str]]:
    report = result.report
    found = {"changed": report.changed, "silent": report.silent, "unread": report.unread}
    return {name: [str(one) for one in ones] for name, ones in found.items() if ones}


def rewrite_unseen(path: Path) -> None:
    """Another byte, with the modification time put back."""
    status = path.stat()
    with path.open("r+b") as file:
        first = file.read(1)[0]
        file.seek(0)
        file.write(bytes([first ^ 1]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.fixture
def backed_up(world: World) -> World:
    world.chain(sources=["D1"], given={"D1": '{ path = "data/D1", exclude = ["*.tmp"], digest = "sha256" }'})
    world.data("D1", 300_000)
    assert world.backup().exit_status == 0
    return world


def test_nothing_differs(backed_up: World) -> None:
    (backed_up.folder / "data/D1/x.tmp").touch()
    os.utime(backed_up.folder / "data/D1", ns=(0, 0))  # which alone is no longer as it was
    seen: list[tuple[int, int]] = []
    result = verify_against_source(backed_up.config, "D1", on_progress=lambda done, total: seen.append((done, total)))
    assert told(result) == {"changed": [".: differs in modification time"]}
    assert (result.report.entries, result.report.bytes) == (4, 300_000)
    assert result.paths == (backed_up.folder / "data/D1",)
    assert len(seen) == 4
    assert seen[-1][0] <= seen[-1][1]


def test_the_same(backed_up: World) -> None:
    result = verify_against_source(backed_up.config, "D1")
    assert (told(result), result.exit_status) == ({}, 0)


def test_changed_since(backed_up: World) -> None:
    rewrite_unseen(backed_up.folder / "data/D1/file-1")
    result = verify_against_source(backed_up.config, "D1")
    assert told(result) == {"changed": ["file-1: differs in content, from byte 0 on"]}
    assert result.exit_status == 1


def test_an_older_object_and_one_copy_alone(backed_up: World) -> None:
    with backed_up.catalog() as catalog:
        [first] = catalog.objects("D1")
    (backed_up.folder / "data/D1/file-1").write_text("new")
    assert backed_up.backup().exit_status == 0
    assert verify_against_source(backed_up.config, "D1", copy="M1").exit_status == 0
    older = verify_against_source(backed_up.config, str(first.id), copy="M1")
    assert [one.path for one in older.report.changed] == [b"file-1"]
    with pytest.raises(NotFound, match="no copy by agent X"):
        verify_against_source(backed_up.config, "D1", copy="X")


def test_of_an_increment_what_it_holds(backed_up: World) -> None:
    folder = backed_up.folder / "data/D1"
    (folder / "file-1").write_text("new")
    assert backed_up.backup(level=Level.INCREMENTAL).exit_status == 0
    result = verify_against_source(backed_up.config, "D1")
    assert result.object.level is Level.INCREMENTAL
    assert told(result) == {}
    assert result.report.entries < 4
    (folder / "file-0").write_text("not in it")
    rewrite_unseen(folder / "file-1")
    assert told(verify_against_source(backed_up.config, "D1")) == {
        "changed": ["file-1: differs in content, from byte 0 on"]
    }


def test_a_restored_tree_compares_like_its_source(backed_up: World, tmp_path: Path) -> None:
    """A restore gives files new stamps, so what differs is explained: but nothing does."""
    target = tmp_path / "back"
    assert restore(backed_up.config, "D1", target).exit_status == 0
    backed_up.file.write_text(backed_up.file.read_text().replace('"data/D1"', f'"{target}"'))
    assert told(verify_against_source(backed_up.config, "D1")) == {}


def test_a_raw_file(world: World) -> None:
    image = world.folder / "disk.img"
    with image.open("wb") as file:
        os.pwrite(file.fileno(), b"data" * 10_000, 1 << 20)
        os.ftruncate(file.fileno(), 1 << 30)
    world.chain(sources=["Disk"], given={"Disk": '{ raw = "disk.img" }'})
    assert world.backup().exit_status == 0
    result = verify_against_source(world.config, "Disk")
    assert (told(result), result.report.entries) == ({}, 1)
    with image.open("r+b") as file:
        os.pwrite(file.fileno(), b"!", 1 << 29)
    assert [said.partition("content")[2] for said in told(verify_against_source(world.config, "Disk"))["changed"]] == [
        f", from byte {1 << 29} on"
    ]


def test_what_cannot_be_compared(world: World) -> None:
    world.chain(sources=["D1", "Said"], given={"Said": '{ command = "echo x" }'})
    world.data("D1", 1000)
    assert world.backup().exit_status == 0
    with pytest.raises(UsageError, match="is one sequence of bytes, from a command or a program"):
        verify_against_source(world.config, "Said")
    with pytest.raises(NotFound, match="D7"):
        verify_against_source(world.config, "D7")
    (world.folder / "data/D1").rename(world.folder / "data/away")
    with pytest.raises(SourceError, match=r"data/D1 cannot be compared with: No such file or directory"):
        verify_against_source(world.config, "D1")
    world.chain(sources=["Said"])
    with pytest.raises(UsageError, match=r"source D1 has no files any more, which object .* could be compared with"):
        verify_against_source(world.config, "D1")
