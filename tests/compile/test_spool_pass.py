"""on_lag = "spool": a dormant twin for each agent that asks for it, and room for it before the job begins."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tapeloom import _kernel, plan
from tapeloom.compile import compile_job
from tapeloom.config import Config, load
from tapeloom.errors import ConfigError
from tapeloom.limits import GIB, SPOOL_LAG_SECONDS_MIN, SPOOL_SLOTS
from tapeloom.runtime.arena import plans
from tapeloom.runtime.reading import restore_arena
from tapeloom.schedule import NONE, Kind, OnLag

Load = Callable[[str], Config]

JOB = """
[backup.b.A]
drive = "R1"
buffers = { B1 = "D1", B2 = "D2" }
[mirror.1.M]
drive = "R2"
run_blocks = 9
SETTINGS
buffers = { X = "A.B2", Y = "A.B1" }
[mirror.2.N]
drive = "R3"
buffers = { B = "M.X" }
"""


def job(config: Load, settings: str = 'on_lag = "spool"') -> Config:
    return config(JOB.replace("SETTINGS", settings))


def test_a_twin_has_a_cursor_beside_each_of_its_owner(config: Load) -> None:
    schedule = compile_job(job(config))
    assert schedule.agent_names.tolist() == ["A", "M", "N", "spool of M"]
    twin, owner = schedule.agents[3], schedule.agents[1]
    assert (twin["kind"], twin["drive"], twin["group"]) == (Kind.SPOOL, NONE, NONE)
    assert twin["run_blocks"] == 9
    assert schedule.spool_owner(3) == 1
    beside = schedule.cursors[twin["first_cursor"] :]
    owners = np.arange(owner["first_cursor"], owner["first_cursor"] + owner["cursors"])
    assert beside["upstream"].tolist() == owners.tolist()
    assert beside["stream"].tolist() == schedule.cursors["stream"][owners].tolist()
    assert schedule.buffer_names[twin["first_cursor"] :].tolist() == ["X", "Y"]


def test_a_spool_may_be_late_itself_for_as_long_as_its_owner(config: Load) -> None:
    for time, late in (("1s", SPOOL_LAG_SECONDS_MIN), ("90s", 90.0)):
        twin = compile_job(job(config, f'on_lag = "spool"\nlag_max = "{time}"')).agents[3]
        assert (twin["on_lag"], twin["lag_bytes"], twin["lag_seconds"]) == (OnLag.DETACH, 0, late)


@pytest.mark.parametrize(("spool_max", "segment"), [("64MiB", 8 << 20), ("1TB", GIB)])
def test_segments_are_a_part_of_what_there_is(config: Load, spool_max: str, segment: int) -> None:
    made = job(config)
    text = made.file.read_text(encoding="utf-8").replace("[drives]", f'spool_max = "{spool_max}"\n[drives]', 1)
    made.file.write_text(text, encoding="utf-8")
    assert compile_job(load(made.file)).agents["checkpoint_bytes"][3] == segment


def test_its_slots_and_tables_are_part_of_the_sum(config: Load) -> None:
    """And what it really allocates is what the sum says, to a page."""
    without, schedule = compile_job(job(config, "")), compile_job(job(config))
    assert schedule.slots == without.slots - SPOOL_SLOTS
    items = dict(zip(schedule.memory_names.tolist(), schedule.memory.tolist(), strict=True))
    assert items["slots behind spool of M"] == (SPOOL_SLOTS, schedule.slot_bytes)
    sizes = (schedule.slot_bytes, SPOOL_SLOTS)
    restore_arena(*sizes)
    streams = np.array([(0, SPOOL_SLOTS, 0)] * 2, _kernel.STREAM_PLAN)
    cursors, agents = np.array([(1, 0)], _kernel.CURSOR_PLAN), np.array([(0, 1, 1, 0, 0, 0)], _kernel.AGENT_PLAN)
    assert abs(items["spool control"][1] - _kernel.control_bytes(*sizes, streams, cursors, agents)) <= 4096
    whole = _kernel.arena_bytes(*plans(schedule, ())) + _kernel.arena_bytes(*sizes, streams, cursors, agents)
    assert abs(schedule.memory_bytes - whole) <= 2 * 4096


def test_memory_that_has_no_room_for_a_spool_is_refused(config: Load) -> None:
    made = job(config)
    text = made.file.read_text(encoding="utf-8").replace('memory = "64MiB"', 'memory = "9MiB"')
    made.file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"has 18 slots of 512KiB, but 2 chains and 1 spool of .* need at least 20"):
        compile_job(load(made.file))


def test_only_the_kernel_s_dormant_agents_sleep(config: Load) -> None:
    *_, agents = plans(compile_job(job(config)), ())
    assert agents["dormant"].tolist() == [0, 0, 0, 1]


def test_a_job_without_spools_has_the_tables_it_had(config: Load) -> None:
    detached, waiting = (compile_job(job(config, f'on_lag = "{kind}"')) for kind in ("detach", "wait"))
    assert len(detached.agents) == len(waiting.agents) == 3
    assert detached.memory.tolist() == waiting.memory.tolist()


def test_the_plan_says_where_and_how_much(config: Load) -> None:
    made = job(config)
    found = plan.make(made, compile_job(made))
    text = " ".join(plan.to_text(found).split())
    assert f"spool of M: up to 100 GB in {made.folder}/state/spool, used when it lags, in segments of 1.1 GB" in text
    assert "spool of M is filled, started when it lags" in text
    assert "spool of M is read back, started when it lags" in text
    assert [agent.name for agent in found.agents] == ["A", "M", "N"]
    assert [spool["agent"] for spool in plan.to_json(found)["spools"]] == ["M"]
    numbers = [thread.number for thread in found.threads]
    assert numbers == list(range(len(numbers)))
    made = job(config, "")
    assert "Spools" not in plan.to_text(plan.make(made, compile_job(made)))
