"""Any job that compiles runs to its end, and every object is whole on each drive that should have it and on no
other."""

from __future__ import annotations

import hashlib
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from runtime_world import BLOCK, PAYLOAD, Rig, Seeded, rig
from topologies import Topology, make, topologies

from tapeloom.runtime import Ending, State

quick = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def sized(seed: int, blocks_max: int):
    """Sources of any length from nothing to a few blocks, those at a block's edge more often than chance would have
    it."""

    def source(name: str) -> Seeded:
        chance = Random(f"{seed} {name}")
        edge = chance.randint(0, blocks_max) * PAYLOAD
        return Seeded(name, max(0, chance.choice([edge, edge + 1, edge - 1, chance.randint(0, blocks_max * PAYLOAD)])))

    return source


def assert_all_there(made: Rig, topology: Topology) -> None:
    for drive, names in topology.reaches.items():
        assert made.content(drive) == {name: made.sources[name].sequence for name in names}, drive


def run(topology: Topology, seed: int, *, blocks_max: int, drives=None, **cartridges: int) -> None:
    with rig(topology.text, sized(seed, blocks_max), drives, **cartridges) as made:
        result = made.run()
        assert result.well
        assert all(agent.ending is Ending.COMPLETE for agent in result.agents)
        assert all(item.state is State.COMPLETE for item in result.objects)
        digests = {
            item.source: f"sha256:{hashlib.sha256(made.sources[item.source].sequence).hexdigest()}"
            for item in result.objects
            if item.digest
        }
        assert {item.source: item.digest for item in result.objects if item.digest} == digests
        assert bool(digests) == bool(topology.digests)
        assert all(made.job.arena.stream_statistics(row).held == 0 for row in range(len(made.schedule.streams)))
        assert_all_there(made, topology)


@quick
@given(topologies, st.integers(0, 2**32))
def test_every_object_is_where_it_should_be(topology: Topology, seed: int) -> None:
    run(topology, seed, blocks_max=4)


@quick
@given(topologies, st.integers(0, 2**32), st.integers(4 * BLOCK, 30 * BLOCK), st.sampled_from([4096, 2 * BLOCK]))
def test_over_as_many_cartridges_as_it_takes(topology: Topology, seed: int, capacity: int, early_warning: int) -> None:
    """With an early warning before the end, or mostly without one: then a block is refused, and stands on the next
    one."""
    run(topology, seed, blocks_max=6, capacity=capacity, early_warning=early_warning)


@quick
@given(topologies, st.integers(0, 2**32))
def test_drives_that_fail_cost_nothing_but_their_own_copies(topology: Topology, seed: int) -> None:
    chance = Random(seed)
    kinds = ["fail_write", "late_write", "fail_filemark"]
    troubles = {
        drive: f"memory:?{chance.choice(kinds)}={chance.choice([1, 1, 2, 5, 20])}"
        for drive in topology.reaches
        if chance.random() < 0.4
    }
    with rig(topology.text, sized(seed, 6), troubles) as made:
        result = made.run()
        failed = {drive for drive in made.rows if made.ending(result, drive).ending is Ending.FAILED}
        assert failed <= set(troubles)
        well = set().union(*(names for drive, names in topology.reaches.items() if drive not in failed))
        for item in result.objects:
            if item.source in well:
                assert (item.state, item.troubles) == (State.COMPLETE, [])
        for drive, names in topology.reaches.items():
            if drive not in failed:
                assert made.ending(result, drive).ending is Ending.COMPLETE
                assert made.content(drive) == {name: made.sources[name].sequence for name in names}
        assert all(made.job.arena.stream_statistics(row).held == 0 for row in range(len(made.schedule.streams)))


@settings(quick, max_examples=5)
@given(topologies, st.integers(0, 2**32))
def test_on_virtual_tapes(tmp_path_factory: pytest.TempPathFactory, topology: Topology, seed: int) -> None:
    folder = tmp_path_factory.mktemp("tapes")
    run(topology, seed, blocks_max=3, drives={drive: f"vtape:{folder / drive}" for drive in topology.reaches})


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_hundreds_of_buffers(seed: int) -> None:
    topology = make(Random(seed), agents=12, buffers=20, depth=8, width=10)
    assert topology.buffers > 300
    run(topology, seed, blocks_max=3)


def test_as_few_slots_as_the_compiler_allows(tmp_path: Path) -> None:
    """Two slots a stream, no common ones: the tightest schedule that is not refused, many times over."""
    for seed in range(10):
        topology = make(Random(f"tight {seed}"), agents=4, buffers=6, depth=4, width=3)
        least = 2 * (len(topology.streams) + topology.producers)
        lines = topology.text.splitlines()
        lines[2] = f'memory = "{least * 16}KiB"'
        topology.text = "\n".join(lines)
        run(topology, seed, blocks_max=12)
