"""Pools and retention: what is protected is never freed, what is freed is written anew and nothing else is."""

from __future__ import annotations

import time
from pathlib import Path
from random import Random

import pytest
from agent_world import snapshot
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ops_world import World
from power_cut import dies

from tapeloom.catalog import VolumeState
from tapeloom.errors import RetentionError, TapeloomError, UsageError
from tapeloom.ops.freeing import open_expired, open_freeing
from tapeloom.ops.verify import verify
from tapeloom.volume.header import Level

DAY = 86_400 * 10**9


def pooled(world: World, *, pools: str = 'daily = "30d"', capacity: str = "320KiB", mirror: str = "") -> None:
    world.configure(
        f'[pools]\n{pools}\n[backup.n]\npool = "daily"\n[backup.n.A]\ndrive = "R1"\n'
        f'buffers = {{ B1 = "D1" }}\n{mirror}',
        drives={
            "R1": f'{{ device = "vtape:tapes/R1", capacity = "{capacity}" }}',
            "R2": '{ device = "vtape:tapes/R2", capacity = "270KiB" }',
        },
        sources={"D1": '"data/D1"'},
    )


def expire(world: World, days: int) -> list[str]:
    with open_expired(world.config, now_ns=time.time_ns() + days * DAY) as freeing:
        return [one.label for one in freeing.run("expired")]


def states(world: World) -> dict[str, str]:
    with world.catalog() as catalog:
        return {one.label: one.state.value for one in catalog.volumes()}


def test_nothing_expires_before_its_time_and_the_last_full_never(world: World) -> None:
    pooled(world)
    for seed in range(3):
        world.data("D1", 400_000, seed=seed)
        assert world.backup().exit_status == 0
    assert expire(world, 29) == []
    freed = expire(world, 31)
    last = set(world.object("D1").copies[0].volumes)
    assert freed
    assert last.isdisjoint(freed)
    with world.catalog() as catalog:
        others = [one for one in catalog.objects("D1")[:-1] if not set(one.copies[0].volumes) & last]
        assert {one.status for one in others} == {"retired"}
    assert snapshot(world.restored("D1")) == snapshot(world.folder / "data" / "D1")


def test_a_freed_volume_is_written_anew_and_its_history_is_not_offered(world: World) -> None:
    pooled(world)
    for seed in range(2):
        world.data("D1", 700_000, seed=seed)
        assert world.backup().exit_status == 0
    freed = expire(world, 31)
    before = set(states(world))
    world.data("D1", 500_000, seed=9)
    assert world.backup().exit_status == 0
    assert states(world)[freed[0]] != "scratch"
    assert states(world)[f"{freed[0]}#1"] == "retired"
    assert set(states(world)) - before == {f"{label}#1" for label in freed if f"{label}#1" in states(world)}
    assert verify(world.config).exit_status == 0
    assert snapshot(world.restored("D1")) == snapshot(world.folder / "data" / "D1")


def test_chains_keep_what_they_build_on(world: World) -> None:
    pooled(world)
    world.data("D1", 300_000)
    world.backup()
    full = world.object("D1")
    (world.folder / "data" / "D1" / "new").write_bytes(b"more" * 40_000)
    world.backup(level=Level.INCREMENTAL)
    with open_expired(world.config, now_ns=time.time_ns() + 40 * DAY) as freeing:
        told = {one.volume.label: [str(each) for each in one.protected] for one in freeing.verdicts}
        assert freeing.run("expired") == []
    assert all(told.values())
    assert any("is the last good full of its source" in one for label in full.copies[0].volumes for one in told[label])
    assert any("is the newest good state" in one for each in told.values() for one in each)


def test_a_pool_without_retention_keeps_everything_until_somebody_asks(world: World) -> None:
    pooled(world, pools="daily = {}")
    for seed in range(2):
        world.data("D1", 700_000, seed=seed)
        world.backup()
    assert expire(world, 100_000) == []
    with world.catalog() as catalog:
        first, last = (one.copies[0].volumes for one in catalog.objects("D1"))
    with (
        pytest.raises(RetentionError, match="the last good full of its source"),
        open_freeing(world.config, [last[-1]]),
    ):
        pass
    only = [label for label in first if label not in last]
    with open_freeing(world.config, only) as freeing:
        assert [one.label for one in freeing.run("old")] == only
    with pytest.raises(UsageError, match="is scratch already"), open_freeing(world.config, only):
        pass
    with world.catalog() as catalog:
        assert catalog.volume(only[0]).reason == "old"
    assert snapshot(world.restored("D1")) == snapshot(world.folder / "data" / "D1")


def test_a_longer_pool_does_not_keep_a_shorter_one(world: World) -> None:
    """The mirror is kept for a year, so that the original may go after a month."""
    pooled(
        world,
        pools='daily = "30d"\nyearly = "365d"',
        mirror='[mirror.1.M]\ndrive = "R2"\npool = "yearly"\nbuffers = { B1 = "A.B1" }',
    )
    for seed in range(2):
        world.data("D1", 700_000, seed=seed)
        assert world.backup().exit_status == 0
    with world.catalog() as catalog:
        first = catalog.objects("D1")[0]
    freed = expire(world, 31)
    assert freed
    assert all(label.startswith("R1") for label in freed)
    assert world.sequence(str(first.id), copy="M")


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.sampled_from(["full", "increment", "expire", "scratch", "crash", "later"]), min_size=4, max_size=7))
def test_no_sequence_of_verbs_and_crashes_frees_what_is_protected(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str]
) -> None:
    """After each step the newest state comes back, and so does every state that its pool keeps still."""
    world = World(tmp_path_factory.mktemp("life"))
    pooled(world, capacity="400KiB")
    chance = Random(repr(steps))
    days = 0
    folder = world.data("D1", 60_000, files=2)
    assert world.backup().exit_status == 0
    for step in steps:
        (folder / "changes").write_bytes(chance.randbytes(chance.randint(1, 200_000)))
        match step:
            case "full" | "increment":
                level = Level.FULL if step == "full" else Level.INCREMENTAL
                assert world.backup(level=level).exit_status == 0
            case "later":
                days += 31
            case "expire":
                expire(world, days)
            case "scratch":
                with world.catalog() as catalog:
                    label = chance.choice([one.label for one in catalog.volumes(current=True)])
                try:
                    with open_freeing(world.config, [label], now_ns=time.time_ns() + days * DAY) as freeing:
                        freeing.run("by hand")
                except TapeloomError:
                    pass
            case "crash":
                expire(world, days)
                moment = chance.choice(["a volume is entered", "a record is written", "a receipt is entered"])
                dies(lambda: world.backup().exit_status, moment, chance.randint(1, 3), chance.random() < 0.5)
        assert_kept(world, days)


def assert_kept(world: World, days: int) -> None:
    now = time.time_ns() + days * DAY
    with world.catalog() as catalog:
        whole = [one for one in catalog.objects("D1") if one.outcome == "whole"]
        gone = {one.id for one in catalog.volumes() if one.state is VolumeState.SCRATCH or one.successor}
        live = [one for one in whole if one.status != "retired"]
        for one in live:
            for copy in one.copies:
                assert (
                    gone.isdisjoint(volume.id for volume in catalog.runs(copy.id).volumes) or copy.status == "retired"
                )
    assert all(one in live for one in whole if one.as_of + 30 * DAY > now), "its pool keeps it still"
    newest = [one for one in live if one.status == "complete"][-1]
    assert world.sequence(str(newest.id))


@pytest.mark.parametrize("seed", range(3))
def test_every_block_is_written_once_across_the_seam_whenever_the_power_goes(tmp_path: Path, seed: int) -> None:
    """Original and mirror end their cartridges at places of their own; the next job goes on behind the receipts."""
    chance = Random(seed)
    world = World(tmp_path)
    capacities = {
        name: f'{{ device = "vtape:tapes/{name}", capacity = "{chance.randint(260, 520)}KiB" }}'
        for name in ("R1", "R2", "R3")
    }
    world.chain(sources=["D1"], settings='checkpoint = "96KiB"', **capacities)
    world.data("D1", chance.randint(700_000, 1_100_000), seed=seed)
    moment = chance.choice(["a volume is full", "a volume is entered", "a filemark is written", "a record is written"])
    dies(lambda: world.backup().exit_status, moment, chance.randint(1, 9), chance.random() < 0.5)
    assert world.backup().exit_status == 0
    item = world.object("D1")
    for copy in item.copies:
        runs = world.runs(item, copy.agent)
        seqs = [seq for run in runs for seq in range(run.seq, run.seq + run.blocks)]
        assert seqs == list(range(item.blocks or 0)), copy.agent
        assert len(copy.volumes) >= 2
        assert snapshot(world.restored("D1", copy=copy.agent)) == snapshot(world.folder / "data" / "D1")
