from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from tapeloom.compile import compile_job, problems
from tapeloom.config import Config
from tapeloom.errors import ConfigError, Problem

Load = Callable[[str], Config]

TWO_GROUPS_ONE_DRIVE = """
[backup.nightly.A]
drive = "R1"
buffers = { B1 = "D1" }
[backup.weekly.B]
drive = "R1"
buffers = { B1 = "D1" }
"""


def refused(loaded: Config, groups: list[str] | None = None) -> list[Problem]:
    with pytest.raises(ConfigError) as caught:
        compile_job(loaded, groups)
    assert caught.value.exit_status == 2
    return caught.value.problems


def test_groups_that_share_a_drive_run_one_after_the_other(config: Load) -> None:
    loaded = config(TWO_GROUPS_ONE_DRIVE)
    (problem,) = refused(loaded)
    assert problem.what == 'drive "R1" is under "A" and under "B" in one job'
    assert problem.hint == "run these groups one after the other"
    assert problem.line == loaded.where("backup", "weekly", "B", "drive")
    assert compile_job(loaded, ["nightly"]).drive_names.tolist() == ["R1"]
    assert problems(loaded) == []


def test_one_object_is_written_once_on_a_drive(config: Load) -> None:
    text = """
    [backup.nightly.A]
    drive = "R1"
    buffers = { B1 = "D1" }
    [backup.weekly.B]
    drive = "R2"
    buffers = { B1 = "D1" }
    [mirror.1.M]
    drive = "R3"
    buffers = { X = "A.B1", Y = "B.B1" }
    """
    loaded = config(text)
    (problem,) = refused(loaded)
    assert problem.what == '"M" would write "D1" twice, from X and from Y'
    assert problem.line == loaded.where("mirror", "1", "M", "buffers", "Y")
    assert len(compile_job(loaded, ["weekly"]).cursors) == 2


def test_a_buffer_is_filled_by_a_program_or_by_tapeloom(config: Load) -> None:
    (problem,) = refused(config('[backup.b.A]\ndrive = "R1"\nbuffers = { B1 = ["P1", "D1"] }\n'))
    assert problem.what == 'buffer "A.B1" mixes "P1", which a program fills, with "D1", which tapeloom reads'
    assert problem.line == 17


def test_a_program_writes_once(config: Load) -> None:
    text = """
    [backup.x.A]
    drive = "R1"
    buffers = { B1 = "P1" }
    [backup.y.B]
    drive = "R2"
    buffers = { B1 = "P1" }
    """
    (problem,) = refused(config(text))
    assert problem.what == 'a program fills source "P1" once, but it feeds both A.B1 and B.B1'
    assert problem.hint == 'chain a mirror\'s buffer to "A.B1"'


def test_what_a_restore_agent_splits_must_go_somewhere(config: Load) -> None:
    loaded = config('[restore.vault.R]\ndrive = "R1"\nbuffers = { B1 = "D1" }\n')
    (problem,) = refused(loaded)
    assert problem.what == 'buffer "R.B1" of a restore media agent feeds no copy group'
    assert problems(loaded) == [problem]


def test_a_circle_of_waiting_agents_is_named(config: Load) -> None:
    text = """
    [backup.b.A]
    drive = "R1"
    buffers = { B1 = "D1", B2 = "D2" }
    [mirror.1.M]
    drive = "R2"
    buffers = { X = "A.B1", Y = "N.Y" }
    [mirror.2.N]
    drive = "R3"
    buffers = { X = "M.X", Y = "A.B2" }
    """
    loaded = config(text)
    (problem,) = refused(loaded)
    assert problem.what == "media agents would wait for one another in a circle: M -> N -> M"
    assert problem.line == loaded.where("mirror", "2", "N", "buffers", "X")


def test_a_chain_that_loops_is_named_even_if_no_file_said_it(config: Load) -> None:
    text = """
    [backup.b.A]
    drive = "R1"
    buffers = { B = "D1" }
    [mirror.1.M]
    drive = "R2"
    buffers = { B = "A.B" }
    [mirror.2.N]
    drive = "R3"
    buffers = { B = "M.B" }
    [mirror.3.O]
    drive = "R4"
    buffers = { B = "N.B" }
    """
    loaded = config(text)
    looped = {**loaded.agents, "M": replace(loaded.agents["M"], buffers={"B": ("N.B",)})}
    found = refused(replace(loaded, agents=looped))
    assert [problem.what for problem in found] == [
        "the chain loops, and no source feeds it: M.B -> N.B -> M.B",
        'buffer "O.B" is fed by "N.B", which no source reaches',
    ]


def test_memory_that_cannot_hold_the_schedule(config: Load) -> None:
    text = '[backup.b.A]\ndrive = "R1"\nbuffers = { B1 = "D1", B2 = "D2", B3 = "P1" }\n'
    loaded = config(text)
    tight = replace(loaded, server=replace(loaded.server, memory=8 * loaded.server.block - 1))
    (problem,) = refused(tight)
    assert problem.line == 4
    assert problem.what.endswith("has 7 slots of 512KiB, but 3 chains of backup.b need at least 8")
    assert problem.hint is not None
    assert problem.hint.startswith('set memory = "4MiB" or more')
    assert problems(tight) == [problem]
    enough = replace(loaded, server=replace(loaded.server, memory=8 * loaded.server.block))
    assert compile_job(enough).streams["quota"].tolist() == [2, 2, 2]


def test_all_mistakes_come_together_in_the_order_of_the_file(config: Load) -> None:
    mixed = '[backup.x.A]\ndrive = "R1"\nbuffers = { B1 = ["P1", "D1"] }\n'
    twice = '[backup.y.B]\ndrive = "R1"\nbuffers = { B1 = ["P2", "D2"] }\n'
    found = refused(config(mixed + twice))
    assert [problem.line for problem in found] == [17, 19, 20]
