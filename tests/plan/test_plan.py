from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tapeloom import plan
from tapeloom.config import Config
from tapeloom.schedule import Schedule

Golden = Callable[[str], tuple[Config, Schedule]]

RATED = """
[server]
memory = "64MiB"
[drives]
R1 = {{ device = "null:", rate = "{one}MB/s" }}
R2 = {{ device = "null:", rate = "{two}MB/s" }}
[sources]
D1 = "d1"
D2 = "d2"
D3 = "d3"
[backup.b.A]
drive = "R1"
buffers = {{ B1 = "D1", B2 = "D2", B3 = "D3" }}
[mirror.1.M]
drive = "R2"
buffers = {{ B2 = "A.B2", B3 = "A.B3" }}
"""


def test_the_chains_of_figure_2(golden: Golden) -> None:
    made = plan.make(*golden("fig2"))
    ways = {
        chain.sources: [(stage.agent, stage.buffer, stage.drive, stage.group) for stage in chain.stages]
        for chain in made.chains
    }
    assert ways == {
        ("D3",): [("BMA124", "B1", "R1", "nightly")],
        ("D2",): [("BMA124", "B2", "R1", "nightly"), ("BMA138", "B2", "R5", "1"), ("BMA144", "B2", "R3", "2")],
        ("D1",): [("BMA124", "B3", "R1", "nightly"), ("BMA138", "B3", "R5", "1")],
        ("D4",): [("BMA126", "B1", "R2", "nightly")],
        ("D5",): [("BMA126", "B3", "R2", "nightly"), ("BMA140", "B1", "R8", "1"), ("BMA146", "B1", "R6", "2")],
    }
    assert made.groups == ("backup nightly", "mirror 1", "mirror 2")
    assert made.prediction.agent is None
    assert all(chain.rate is None for chain in made.chains)


def test_the_chains_of_figure_5_begin_with_the_restore_agents_buffers(golden: Golden) -> None:
    made = plan.make(*golden("fig5"))
    first = {chain.sources: (chain.stages[0].agent, chain.stages[0].buffer) for chain in made.chains}
    assert first == {
        ("D4",): ("RMA150", "B1"),
        ("D5",): ("RMA150", "B2"),
        ("D2",): ("RMA152", "B1"),
        ("D1",): ("RMA152", "B2"),
    }
    last = made.chains[1].stages[-1]
    assert (last.agent, last.buffer, last.depth, last.upstream) == ("BMA166", "B3", 2, 1)


def test_chains_that_a_drive_feeds_share_its_pool(golden: Golden) -> None:
    made = plan.make(*golden("fig5"))
    assert [(chain.pool, chain.slots_own, chain.slots_max) for chain in made.chains] == [
        ("RMA150", 0, 256),
        ("RMA150", 0, 256),
        ("RMA152", 0, 256),
        ("RMA152", 0, 256),
    ]
    assert made.pools == (plan.PoolPlan("RMA150", 2, 128, 256), plan.PoolPlan("RMA152", 2, 128, 256))
    assert "  pool of RMA152: 128..256 slots to read into, shared by the 2 chains" in plan.to_text(made)
    backup = plan.make(*golden("fig2"))
    assert backup.pools == ()
    assert {chain.pool for chain in backup.chains} == {None}


def test_the_rates_of_a_copy_are_those_of_its_chains(compiled: Golden) -> None:
    text = """
    [drives]
    R1 = { device = "null:", rate = "300MB/s" }
    R2 = { device = "null:", rate = "100MB/s" }
    [restore.v.R]
    drive = "R1"
    buffers = { A = "D1", B = "D2" }
    [copy.1.C]
    drive = "R2"
    buffers = { A = "R.A", B = "R.B" }
    """
    made = plan.make(*compiled(text))
    assert [chain.rate for chain in made.chains] == [50e6, 50e6]
    assert [agent.data_share for agent in made.agents] == [1.0, 1.0]
    assert made.prediction.job_rate == 100e6


def test_stages_stand_below_what_feeds_them(golden: Golden) -> None:
    made = plan.make(*golden("fan"))
    stages = made.chains[0].stages
    assert [stage.agent for stage in stages] == ["A", "M1", "M2", "M3"]
    assert [stage.upstream for stage in stages] == [None, 0, 0, 0]
    assert made.chains[0].sources == ("files", "more")
    assert [stage.depth for stage in made.chains[2].stages] == [0, 1, 2, 3]


def test_the_drive_of_the_original_may_be_the_limit(compiled: Golden) -> None:
    made = plan.make(*compiled(RATED.format(one=300, two=400)))
    assert [chain.rate for chain in made.chains] == [100e6] * 3
    assert (made.prediction.agent, made.prediction.drive, made.prediction.job_rate) == ("A", "R1", 300e6)
    assert [agent.data_share for agent in made.agents] == pytest.approx([1.0, 2 / 3])


def test_what_a_slow_mirror_leaves_goes_to_the_other_buffers(compiled: Golden) -> None:
    made = plan.make(*compiled(RATED.format(one=300, two=100)))
    assert [chain.rate for chain in made.chains] == [200e6, 50e6, 50e6]
    assert [chain.limited_by for chain in made.chains] == ["A", "M", "M"]
    assert made.prediction.text == "drive R2 of M, at 100 MB/s: 50 MB/s for each of D2, D3"
    assert any("on_lag" in remark and remark.startswith("M ") for remark in made.remarks)


def test_a_drives_model_says_how_fast_it_is(compiled: Golden) -> None:
    text = RATED.replace('device = "null:", rate = "{one}MB/s"', 'device = "null:?model=lto9"')
    made = plan.make(*compiled(text.format(two=900)))
    assert made.prediction.text == "drive R1 of A, at 400 MB/s: 133 MB/s for each of D1, D2, D3"
    slow = plan.make(*compiled(text.replace("lto9", "lto9&rate=30MB").format(two=900)))
    assert slow.agents[0].drive_rate == 30e6


def test_memory_is_an_itemised_sum(golden: Golden) -> None:
    made = plan.make(*golden("fan"))
    assert made.memory_bytes == sum(item.count * item.each_bytes for item in made.memory)
    assert sum(item.bytes for item in made.memory) == made.memory_bytes
    assert {"slots", "slots of producer stream", "producer control"} <= {item.name for item in made.memory}


def test_threads_are_numbered_without_gaps(golden: Golden) -> None:
    made = plan.make(*golden("fan"))
    assert [thread.number for thread in made.threads] == list(range(len(made.threads)))
    assert [thread.task for thread in made.threads] == [
        "read files, then more for A.B1",
        "read dump for A.B2",
        "A writes R0",
        "M1 writes R1",
        "M2 writes R2",
        "M3 writes R3",
        "M4 writes R4",
        "digest of A.B1",
    ]


def test_remarks(golden: Golden) -> None:
    config, schedule = golden("fan")
    made = plan.make(config, schedule, ["source files: gone"])
    slots = min(chain.slots_max for chain in made.chains)
    assert made.remarks[0] == "source files: gone"
    assert f"A: run_blocks 64 cannot be reached with {slots} slots a buffer" in made.remarks
    assert not any(remark.startswith("M2 limits") for remark in made.remarks)  # it waits


def test_a_buffer_that_no_group_of_the_job_feeds_is_told(golden: Golden) -> None:
    from tapeloom.compile import compile_job

    config, _ = golden("two_groups")
    made = plan.make(config, compile_job(config, ["weekly"]))
    assert made.remarks == ("M: no group of this job feeds first, which will stay empty",)
    assert plan.make(config, compile_job(config)).remarks == ()


@pytest.mark.parametrize("name", ["fig2", "fig5", "fan", "two_groups"])
def test_text_and_data(golden: Golden, name: str) -> None:
    made = plan.make(*golden(name))
    text = plan.to_text(made)
    assert text.endswith("\n")
    for agent in made.agents:
        assert f"  {agent.name} " in text
    lines = text.splitlines()
    assert all(len(line) <= plan.COLUMNS for line in lines if line != made.file)
    assert all(line == line.rstrip() for line in lines)
    data = plan.to_json(made)
    assert (
        json.loads(json.dumps(data, allow_nan=False))["chains"][0]["stages"][0]["agent"]
        == made.chains[0].stages[0].agent
    )


def test_long_names_get_lines_of_their_own(compiled: Golden) -> None:
    name = "an agent with quite a name, and more of it than any table has room for, to the end"
    text = f'[sources]\nD = "d"\n[drives]\nR = "null:"\n[backup.b."{name}"]\ndrive = "R"\nbuffers = {{ B = "D" }}\n'
    printed = plan.to_text(plan.make(*compiled(text)))
    (line,) = [row for row in printed.splitlines() if f"D -> {name}.B" in row]
    after = printed.splitlines()[printed.splitlines().index(line) + 1]
    assert after.split()[:3] == ["R", "backup", "b"]


WOVEN = """
[server]
memory = "64MiB"
[drives]
T = {{ device = "{device}", rate = "400MB/s" }}
[sources]
D1 = "d1"
D2 = "d2"
D3 = "d3"
[backup.b]
{settings}
[backup.b.A]
drive = "T"
buffers = {{ B1 = "D1", B2 = "D2", B3 = "D3" }}
"""


def test_what_restoring_one_object_will_cost(compiled: Callable[[str], tuple[Config, Schedule]]) -> None:
    """A real tape is read through at such runs; a virtual one is not, as soon as two blocks lie between."""
    real = plan.make(*compiled(WOVEN.format(device="/dev/nst0", settings="")))
    assert (real.agents[0].restore_bytes, real.agents[0].restore_seconds) == (3, pytest.approx(3))
    assert (
        "one of the 3 that A writes at once: 3 x its bytes, 3 x the time of one in one piece, in runs of 16"
        in " ".join(plan.to_text(real).split())
    )
    virtual = plan.make(*compiled(WOVEN.format(device="vtape:t", settings="")))
    assert virtual.agents[0].restore_bytes == 1
    assert virtual.agents[0].restore_seconds is not None
    assert 1 < virtual.agents[0].restore_seconds < 1.05
    chosen = plan.make(*compiled(WOVEN.format(device="vtape:t", settings="max_restore_cost = 1.2")))
    assert chosen.agents[0].run_blocks == 2
    assert json.loads(json.dumps(plan.to_json(chosen)))["agents"][0]["restore_seconds"] <= 1.2


def test_a_restore_agent_and_one_object_alone_have_no_such_cost(golden: Golden) -> None:
    made = plan.make(*golden("fig5"))
    assert [agent.restore_bytes is None for agent in made.agents] == [agent.kind == "restore" for agent in made.agents]
    assert all(agent.restore_seconds == 1 for agent in made.agents if len(agent.buffers) == 1)
