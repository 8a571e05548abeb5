"""on_lag = "spool" through configuration, catalog and volumes with labels: a late mirror is as good as any other."""

from __future__ import annotations

import json
import threading
from random import Random

import pytest
from ops_world import World, assert_receipts_hold

from tapeloom import _kernel
from tapeloom.ops.backup import BackupResult, open_backup
from tapeloom.ops.verify import verify
from tapeloom.runtime import Ending
from tapeloom.runtime.spool import OURS

SEQUENCE = Random("spool").randbytes(3_000_000)


class Gated:
    """A sequence that goes on beyond its first part when somebody opens the gate."""

    name = "D1"
    content = 0
    files = 0
    troubles = ()
    troubles_beyond = 0

    def __init__(self) -> None:
        self.gate = threading.Event()

    def run(self, sink: _kernel.Feeder) -> Gated:
        sink.write(SEQUENCE[:200_000])
        assert self.gate.wait(30)
        sink.write(SEQUENCE[200_000:])
        return self


def late(world: World, agents: list[str]) -> BackupResult:
    """A backup in which these agents lag from the beginning on."""
    source = Gated()
    with open_backup(world.config, producers={"D1": source}) as backup:
        rows = {str(name): row for row, name in enumerate(backup.schedule.agent_names)}

        def hand_over() -> None:
            if not source.gate.is_set():
                for agent in agents:
                    backup.job.lags(rows[agent], "a test says so")
                source.gate.set()

        return backup.run(hand_over)


@pytest.fixture
def spooling(world: World) -> World:
    world.chain(
        sources=["D1", "D2"],
        given={"D1": "{ producer = true }"},
        mirror='on_lag = "spool"\ncheckpoint = "256KiB"',
        slots=64,
        R2='{ device = "vtape:tapes/R2", capacity = "12MiB" }',
    )
    world.data("D2", 500_000)
    return world


def test_a_copy_that_came_by_the_spool_is_as_good_as_any(spooling: World) -> None:
    world = spooling
    result = late(world, ["M1"])
    assert result.exit_status == 0
    assert all(agent.ending is Ending.COMPLETE for agent in result.agents)
    assert set(world.status("D1").values()) == set(world.status("D2").values()) == {"complete"}
    for copy in ("A", "M1", "M2"):
        assert world.sequence("D1", copy=copy) == SEQUENCE
    assert assert_receipts_hold(world) > 3 * len(SEQUENCE) // world.config.server.block
    assert verify(world.config).exit_status == 0
    with world.catalog() as catalog:
        told = {row["agent"]: row for row in catalog.job(result.job).report["agents"]}
    assert told["M1"]["spooled_bytes"] > 2_000_000
    assert told["M1"]["blocks"] == told["A"]["blocks"]
    assert "spooled_bytes" not in told["A"]
    assert json.dumps(told)
    assert list((world.state / "spool" / OURS).iterdir()) == []


def test_a_job_that_need_not_spool_says_so(spooling: World) -> None:
    result = late(spooling, [])
    assert result.exit_status == 0
    with spooling.catalog() as catalog:
        told = {row["agent"]: row for row in catalog.job(result.job).report["agents"]}
    assert told["M1"]["spooled_bytes"] == 0
    assert list((spooling.state / "spool" / OURS).iterdir()) == []


def test_what_a_full_spool_cost_is_in_the_catalog(spooling: World) -> None:
    world = spooling
    text = world.file.read_text().replace("[drives]", 'spool_max = "1MiB"\n[drives]')
    world.file.write_text(text.replace('device = "vtape:tapes/R2"', 'device = "vtape:tapes/R2?hang_write=30"'))

    source = Gated()
    with open_backup(world.config, producers={"D1": source}) as backup:
        rows = {str(name): row for row, name in enumerate(backup.schedule.agent_names)}
        tape = backup.job._agents[rows["M1"]]._tape

        def look() -> None:
            if not source.gate.is_set():
                backup.job.lags(rows["M1"], "a test says so")
                source.gate.set()
            if backup.job.agent_statistics(rows["M1"]).detached:
                tape._device.release_hang()

        result = backup.run(look)
    assert result.exit_status == 1
    (end,) = [agent for agent in result.agents if agent.agent == "M1"]
    assert end.ending is Ending.DETACHED
    assert "a test says so" in end.why
    assert "is full" in end.why
    assert world.status("D1") == {"A": "complete", "M1": "partial", "M2": "complete"}
    assert_receipts_hold(world)
    assert list((world.state / "spool" / OURS).iterdir()) == []
