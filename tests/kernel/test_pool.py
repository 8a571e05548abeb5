"""What a drive reads into: slots that all of its chains share, with the least memory that the compiler admits."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernel_world import LONG_NS, FakeDrive, Threads, make_arena, object_id, split, turn, until
from msgspec.structs import replace

from tapeloom import _kernel
from tapeloom._kernel import SplitReason, TurnReason
from tapeloom.compile import compile_job
from tapeloom.compile.draft import Draft
from tapeloom.compile.size import slots_min
from tapeloom.config import load
from tapeloom.device.contract import Status
from tapeloom.errors import ConfigError
from tapeloom.graph import build
from tapeloom.runtime.arena import allocate, plans
from tapeloom.schedule import Kind, Schedule
from tapeloom.volume import header
from tapeloom.volume.header import Flag, Header

MakeDrive = Callable[..., FakeDrive]
FIG5 = Path(__file__).parent.parent / "golden" / "schedules" / "fig5.toml"
PATIENT_NS = 10 * LONG_NS
"""Nobody writes a shorter run because time has passed: it is written because somebody needs its slots, or never."""


def block(number: int, seq: int, last: bool) -> bytes:
    told = Header(
        object=UUID(bytes=object_id(number)), seq=seq, offset=seq, as_of=0, name="D", flags=Flag.END if last else 0
    )
    return header.pack(told, b"x", crc32c=lambda data, crc: int(_kernel.crc32c(data, crc)))


def put_woven(drive: FakeDrive, numbers: list[int], blocks: int, chance: random.Random) -> None:
    """So many blocks of each object, however they come."""
    order = [number for number in numbers for _ in range(blocks)]
    chance.shuffle(order)
    seqs: dict[int, int] = defaultdict(int)
    for number in order:
        drive.put(block(number, seqs[number], seqs[number] == blocks - 1))
        seqs[number] += 1


def tight(extra_slots: int = 0) -> Schedule:
    """Figure 5 with the least memory that it takes."""
    config = load(FIG5)
    slots = slots_min(Draft(config, build(config))) + extra_slots
    return compile_job(replace(config, server=replace(config.server, memory=slots * config.server.block)))


def arena_of(schedule: Schedule) -> _kernel.Arena:
    slot_bytes, common, streams, cursors, agents = plans(schedule, ())
    agents["patience_ns"] = PATIENT_NS
    return allocate(slot_bytes, common, streams, cursors, agents)


class Copying:
    """Figure 5's agents on drives made for tests; object n is the one of stream n."""

    def __init__(self, schedule: Schedule, make: MakeDrive, chance: random.Random, blocks: int):
        self.schedule, self.arena, self.blocks = schedule, arena_of(schedule), blocks
        self.streams = {
            row: [i for i in range(schedule.chains) if schedule.streams["agent"][i] == row]
            for row, agent in enumerate(schedule.agents)
            if agent["kind"] == Kind.RESTORE
        }
        self.drives = [make(chance.randint(1, 40)) for _ in schedule.agents]
        for row, streams in self.streams.items():
            put_woven(self.drives[row], streams, blocks, chance)
        self.threads = Threads()
        self.reasons: dict[int, TurnReason] = {}
        self.splits: dict[int, tuple[SplitReason, int]] = {}

    def read(self, row: int) -> None:
        wants = np.array([(object_id(i), i, i) for i in self.streams[row]], _kernel.WANT)
        done = split(_kernel.Splitter(self.arena, self.schedule.pool(row), wants), self.drives[row])
        self.splits[row] = done.reason, done.blocks_wanted
        for stream in self.streams[row]:
            self.arena.end_stream(stream)

    def write(self, row: int) -> None:
        interleaver = _kernel.Interleaver(self.arena, row)
        self.reasons[row] = turn(interleaver, self.drives[row]).reason
        interleaver.let_go()

    def start(self) -> None:
        for row in range(len(self.schedule.agents)):
            self.threads.start(self.read if row in self.streams else self.write, row)

    def written(self, row: int) -> dict[int, list[int]]:
        """The seqs of each object on a writer's drive, in the order they came."""
        found: dict[int, list[int]] = {}
        for one in self.drives[row].written:
            number, seq = one.name
            found.setdefault(number, []).append(seq)
        return found

    def expected(self, row: int) -> dict[int, list[int]]:
        mine = self.schedule.cursors["stream"][self.schedule.cursors["agent"] == row]
        return {int(stream): list(range(self.blocks)) for stream in mine}


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), blocks=st.integers(1, 40), extra_slots=st.integers(0, 30))
def test_nobody_waits_for_ever_with_the_least_memory(
    fake_drive: MakeDrive, seed: int, blocks: int, extra_slots: int
) -> None:
    """Runs of 16 blocks are longer than any chain's part of the pool, and patience ends after the test."""
    copying = Copying(tight(extra_slots), fake_drive, random.Random(seed), blocks)
    copying.start()
    copying.threads.join()
    for row, streams in copying.streams.items():
        assert copying.splits[row] == (SplitReason.END_OF_DATA, blocks * len(streams))
    for row in copying.reasons:
        assert copying.written(row) == copying.expected(row)
    assert set(copying.reasons.values()) == {TurnReason.ENDED}
    for row in range(len(copying.schedule.streams)):
        assert copying.arena.stream_statistics(row).held == 0


def test_less_memory_than_that_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"has 8 slots of 512KiB, but 4 chains of restore\.vault need at least 9"):
        tight(-1)


@pytest.mark.parametrize("hung", ["BMA158", "BMA160", "BMA164", "BMA166"])
def test_a_hung_drive_leaves_the_others_slots_to_read_into(fake_drive: MakeDrive, hung: str) -> None:
    copying = Copying(tight(), fake_drive, random.Random(hung), 30)
    row = copying.schedule.agent_names.tolist().index(hung)
    copying.drives[row].hang(0)
    copying.start()
    copying.drives[row].wait_hung()
    copying.arena.detach(row)
    others = [other for other in range(len(copying.schedule.agents)) if other not in (row, *copying.streams)]
    until(lambda: all(other in copying.reasons for other in others))
    for other in others:
        assert copying.written(other) == copying.expected(other)
    copying.drives[row].release()
    copying.threads.join()
    assert copying.reasons[row] is TurnReason.DETACHED


def test_all_drives_may_hang_at_once_and_one_slot_is_left(fake_drive: MakeDrive) -> None:
    """What calls keep of a pool is less than the pool: with all copies given up a reader comes to its end."""
    copying = Copying(tight(), fake_drive, random.Random(5), 30)
    writers = [row for row in range(len(copying.schedule.agents)) if row not in copying.streams]
    for row in writers:
        copying.drives[row].hang(0)
    copying.start()
    for row in writers:
        copying.drives[row].wait_hung()
    for row in writers:
        copying.arena.detach(row)
    until(lambda: len(copying.splits) == len(copying.streams))
    assert {reason for reason, _ in copying.splits.values()} == {SplitReason.NO_READERS}
    for row in writers:
        copying.drives[row].release()
    copying.threads.join()


def test_common_slots_are_the_pools_up_to_its_cap(fake_drive: MakeDrive) -> None:
    """What has been handed on to a chain still counts: two pools share the common slots fairly."""
    pools, quota, cap, common = 2, 2, 5, 9
    arena = make_arena([(quota, cap)] * pools + [(0, 0)] * pools, [[2], [3]], common=common, patience_ns=PATIENT_NS)
    drives = [fake_drive(8) for _ in range(pools)]
    threads = Threads()

    def read(pool: int) -> None:
        wants = np.array([(object_id(pool), pools + pool, pool)], _kernel.WANT)
        assert split(_kernel.Splitter(arena, pool, wants), drives[pool]).reason is SplitReason.END_OF_DATA
        arena.end_stream(pools + pool)

    for pool in range(pools):
        put_woven(drives[pool], [pool], 20, random.Random(pool))
        threads.start(read, pool)
    until(lambda: all(arena.stream_statistics(pool).waiting_since_ns for pool in range(pools)))
    assert [arena.stream_statistics(pools + pool).held for pool in range(pools)] == [cap] * pools
    written = [fake_drive(3) for _ in range(pools)]
    for pool in range(pools):
        threads.start(lambda pool: turn(_kernel.Interleaver(arena, pool), written[pool]), pool)
    threads.join()
    assert [[one.name for one in drive.written] for drive in written] == [
        [(pool, seq) for seq in range(20)] for pool in range(pools)
    ]


def test_a_refused_block_is_tried_again_while_the_pool_is_dry(fake_drive: MakeDrive) -> None:
    """Whoever sleeps has asked for short runs once, and does not ask again."""
    arena = make_arena([(2, 2), (0, 0)], [[1]], run_blocks=16, patience_ns=PATIENT_NS)
    drive, target = fake_drive(4), fake_drive(4)
    put_woven(drive, [0], 5, random.Random(0))
    target.trouble(0, Status.END_OF_MEDIUM)
    threads = Threads()

    def read() -> None:
        split(_kernel.Splitter(arena, 0, np.array([(object_id(0), 1, 0)], _kernel.WANT)), drive)
        arena.end_stream(1)

    threads.start(read)
    until(lambda: arena.stream_statistics(0).waiting_since_ns)
    interleaver = _kernel.Interleaver(arena, 0)
    refused = turn(interleaver, target)
    assert (refused.reason, refused.blocks) == (TurnReason.END_OF_MEDIUM, 0)
    done = turn(interleaver, target)
    assert (done.reason, done.blocks) == (TurnReason.ENDED, 5)
    threads.join()
