from __future__ import annotations

import importlib.util
from collections.abc import Callable

import numpy as np
import pytest

from tapeloom import compile as compiler
from tapeloom.compile import compile_job
from tapeloom.config import Config
from tapeloom.limits import HEADER_BYTES, HEADER_PAGE_BYTES, PRODUCER_END_SLOTS
from tapeloom.schedule import NONE, Feed, Kind, OnLag

Load = Callable[[str], Config]


def test_the_passes_have_the_names_that_the_design_gives_them() -> None:
    assert [step.__name__ for step in compiler.PASSES] == [
        *("check", "place", "share", "spool", "size", "runs", "start", "order")
    ]
    assert compiler.freeze.__name__ == "freeze"


def test_one_stream_alone_has_everything(config: Load) -> None:
    schedule = compile_job(config('[backup.b.A]\ndrive = "R1"\nbuffers = { B1 = "D1" }\n'))
    assert schedule.slots == 128
    assert schedule.streams["quota"].tolist() == [64]
    assert schedule.streams["cap"].tolist() == [128]


def test_half_of_an_even_share_is_a_streams_own(config: Load) -> None:
    schedule = compile_job(config('[backup.b.A]\ndrive = "R1"\nbuffers = { B1 = "D1", B2 = "D2" }\n'))
    assert schedule.streams["quota"].tolist() == [32, 32]
    assert schedule.slots_common == 64
    assert schedule.streams["cap"].tolist() == [64, 64]


def test_a_producer_has_slots_of_its_own_and_we_have_some_for_its_end(config: Load) -> None:
    schedule = compile_job(config('[backup.b.A]\ndrive = "R1"\nbuffers = { B1 = "D1", B2 = "P1" }\n'))
    share = (128 - PRODUCER_END_SLOTS) // 2
    reader, producer = schedule.streams
    assert producer["feed"] == Feed.PRODUCER
    assert (producer["quota"], producer["cap"]) == (share, share)
    assert (reader["header_bytes"], producer["header_bytes"]) == (HEADER_BYTES, HEADER_PAGE_BYTES)
    assert producer["thread"] == NONE
    assert reader["quota"] + producer["quota"] + schedule.slots_common + PRODUCER_END_SLOTS == schedule.slots
    items = dict(zip(schedule.memory_names.tolist(), schedule.memory.tolist(), strict=True))
    assert items["slots"][0] + items["slots of producer P1"][0] == schedule.slots


def test_a_digest_is_an_agent_without_a_drive(config: Load) -> None:
    text = """
    D3 = { path = "d", digest = "sha256" }
    [backup.b.A]
    drive = "R1"
    buffers = { B1 = ["D1", "D3"], B2 = "D2" }
    """
    schedule = compile_job(config(text))
    writer, digest = schedule.agents
    assert (digest["kind"], digest["drive"], digest["group"]) == (Kind.DIGEST, NONE, NONE)
    assert schedule.cursors[digest["first_cursor"]]["stream"] == 0
    assert digest["cursors"] == 1
    assert schedule.sources["digest"].tolist() == [0, 1, 0]
    assert schedule.sources["order"].tolist() == [0, 1, 0]
    assert len({*schedule.streams["thread"].tolist(), int(writer["thread"]), int(digest["thread"])}) == 4


def test_a_restore_agent_fills_streams_and_has_no_cursors(config: Load) -> None:
    text = """
    [restore.vault.R]
    drive = "R1"
    buffers = { B1 = "D1", B2 = ["D2", "0190163d-8694-739b-aea5-966c26f8ad91"] }
    [copy.1.C]
    drive = "R2"
    buffers = { X = "R.B2", Y = "R.B1" }
    """
    schedule = compile_job(config(text))
    assert schedule.streams["feed"].tolist() == [Feed.DRIVE, Feed.DRIVE, Feed.POOL]
    assert schedule.streams["agent"].tolist() == [0, 0, 0]
    assert schedule.streams["thread"].tolist() == [schedule.agents["thread"][0]] * 2 + [NONE]
    assert schedule.agents["cursors"].tolist() == [0, 2]
    assert schedule.cursors["stream"].tolist() == [1, 0]  # the order in which the copy agent's buffers stand
    assert schedule.cursors["upstream"].tolist() == [NONE, NONE]
    assert schedule.source_names.tolist() == ["D1", "D2", "0190163d-8694-739b-aea5-966c26f8ad91"]


def test_an_agents_settings_reach_the_schedule(config: Load) -> None:
    text = """
    [backup.b.A]
    drive = "R2"
    run_blocks = 7
    on_lag = "spool"
    lag_max = { bytes = "3MiB", time = "5s" }
    checkpoint = { bytes = "1GB", time = "2min" }
    buffers = { B1 = "D1" }
    """
    agent, _ = compile_job(config(text)).agents
    assert (agent["run_blocks"], agent["on_lag"], agent["lag_bytes"]) == (7, OnLag.SPOOL, 3 << 20)
    assert (agent["lag_seconds"], agent["checkpoint_bytes"], agent["checkpoint_seconds"]) == (5.0, 10**9, 120.0)


def test_a_mirror_that_stands_above_its_feeder_in_the_file_comes_after_it(config: Load) -> None:
    text = """
    [mirror.1.M]
    drive = "R2"
    buffers = { B = "A.B" }
    [backup.b.A]
    drive = "R1"
    buffers = { B = "D1" }
    """
    schedule = compile_job(config(text))
    assert schedule.agent_names.tolist() == ["A", "M"]
    assert schedule.group_names.tolist() == ["1", "b"]
    assert schedule.cursors["upstream"].tolist() == [NONE, 0]
    assert schedule.cursors["depth"].tolist() == [0, 1]


def test_a_schedule_cannot_be_changed(config: Load) -> None:
    schedule = compile_job(config('[backup.b.A]\ndrive = "R1"\nbuffers = { B1 = "D1" }\n'))
    with pytest.raises(ValueError, match="read-only"):
        schedule.streams["quota"][0] = 1


@pytest.mark.skipif(importlib.util.find_spec("tapeloom._kernel") is None, reason="the kernel is not built")
@pytest.mark.parametrize("spooled", ["", 'on_lag = "spool"\n'], ids=["", "spooled"])
@pytest.mark.parametrize("produced", [False, True])
def test_control_structures_are_what_the_kernel_asks_for(config: Load, produced: bool, spooled: str) -> None:
    from tapeloom import _kernel

    buffers = 'B1 = "D1", B2 = "P1"' if produced else 'B1 = "D1", B2 = "D2"'
    mirror = f'[mirror.1.M]\n{spooled}drive = "R2"\nbuffers = {{ B = "A.B1" }}\n'
    text = f'[backup.b.A]\ndrive = "R1"\nbuffers = {{ {buffers} }}\n{mirror}'
    schedule = compile_job(config(text))
    ours = sum(
        int(item["count"] * item["each_bytes"])
        for name, item in zip(schedule.memory_names, schedule.memory, strict=True)
        if not name.startswith("slots") and name not in ("producer control", "spool control")
    )
    streams = np.zeros(len(schedule.streams), _kernel.STREAM_PLAN)
    end_slots = np.where(schedule.streams["feed"] == Feed.PRODUCER, PRODUCER_END_SLOTS, 0)
    streams["quota"] = schedule.streams["quota"] + end_slots
    streams["cap"] = schedule.streams["cap"] + end_slots
    cursors = np.zeros(len(schedule.cursors), _kernel.CURSOR_PLAN)
    agents = np.zeros(len(schedule.agents), _kernel.AGENT_PLAN)
    for name in ("stream", "agent"):
        cursors[name] = schedule.cursors[name]
    for name in ("first_cursor", "cursors", "run_blocks"):
        agents[name] = schedule.agents[name]
    kernel = _kernel.control_bytes(schedule.slot_bytes, schedule.slots_common, streams, cursors, agents)
    assert abs(ours - kernel) <= 4096
