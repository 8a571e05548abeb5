"""The patent's Figure 5, run after Figure 2 with both files as they are given to users: two restore media agents, two
stages of copies, chains that cross."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from agent_world import snapshot
from ops_world import World, assert_receipts_hold, reader
from test_backup import WHERE, Figure2

from tapeloom.config import load
from tapeloom.ops.copying import CopyResult, open_copying
from tapeloom.ops.restore import cat, restore

COPIES = {("D4", "BMA158", "R1"), ("D4", "BMA164", "R6"), ("D5", "BMA160", "R3"), ("D5", "BMA166", "R8")}
COPIES |= {("D2", "BMA158", "R1"), ("D1", "BMA166", "R8")}


class Figure5(Figure2):
    """After both."""

    result: CopyResult


@pytest.fixture(scope="module")
def figure5(tmp_path_factory: pytest.TempPathFactory) -> Figure5:
    made = Figure5(tmp_path_factory.mktemp("figure5"))
    assert made.backup().exit_status == 0
    made.file = made.folder / "fig5.toml"
    with open_copying(load(made.file)) as copying:
        made.result = copying.run()
    return made


def test_it_runs_as_drawn(figure5: Figure5) -> None:
    result = figure5.result
    assert (result.exit_status, len(result.rounds), result.unpaid, result.left) == (0, 1, [], [])
    assert {(row.source, row.copy.agent, row.copy.drive) for row in result.table} == COPIES
    for source, drives in WHERE.items():
        added = {drive for one, _, drive in COPIES if one == source}
        on_tape = {drive for drive in ("R1", "R2", "R3", "R5", "R6", "R8") if source in figure5.objects_on(drive)}
        assert on_tape == drives | added
    assert_receipts_hold(figure5)


@pytest.mark.parametrize(("source", "agent", "drive"), sorted(COPIES))
def test_each_copy_gives_the_tree_back(figure5: Figure5, source: str, agent: str, drive: str) -> None:
    target = figure5.folder / "back" / f"{source}-{agent}"
    assert restore(figure5.config, source, target, copy=agent).exit_status == 0
    assert snapshot(target) == snapshot(figure5.folder / "data" / source)
    got = reader("get", figure5.object(source).id, "-", *figure5.tapes(drive))
    assert got.stdout == World.sequence(figure5, source, copy=agent)


@pytest.mark.skipif(shutil.which("tar") is None, reason="there is no tar to judge by")
@pytest.mark.parametrize(("source", "agent"), sorted({(source, agent) for source, agent, _ in COPIES}))
def test_tar_finds_no_difference(figure5: Figure5, source: str, agent: str) -> None:
    tar = ["tar", "--diff", "--file=-", "--directory", str(figure5.folder / "data" / source)]
    with subprocess.Popen(tar, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as judge:
        assert judge.stdin is not None
        cat(figure5.config, source, judge.stdin.fileno(), copy=agent)
        judge.stdin.close()
        judge.stdin = None
        said, _ = judge.communicate()
    assert (judge.returncode, said) == (0, b"")
