"""The slots that restore media agents read into."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from tapeloom.compile import compile_job, problems
from tapeloom.config import Config
from tapeloom.config.loading import judge
from tapeloom.errors import ConfigError
from tapeloom.schedule import NONE, Feed, Schedule

Load = Callable[[str], Config]

TWO_DRIVES = """
[restore.vault.S]
drive = "R2"
buffers = { B = "D3" }
[restore.vault.R]
drive = "R1"
buffers = { B1 = "D1", B2 = ["D2", "0190163d-8694-739b-aea5-966c26f8ad91"] }
[copy.1.C]
drive = "R3"
buffers = { X = "R.B2", Y = "R.B1", Z = "S.B" }
"""


def with_memory(config: Config, slots: int) -> Config:
    return replace(config, server=replace(config.server, memory=slots * config.server.block))


def quotas(schedule: Schedule) -> dict[str, int]:
    return {
        str(schedule.agent_names[pool["agent"]]): int(pool["quota"])
        for pool in schedule.streams
        if pool["feed"] == Feed.POOL
    }


def test_pools_stand_behind_the_chains_in_the_order_of_their_agents(config: Load) -> None:
    schedule = compile_job(config(TWO_DRIVES))
    assert schedule.streams["feed"].tolist() == [Feed.DRIVE] * 3 + [Feed.POOL] * 2
    assert schedule.chains == 3
    assert schedule.streams["agent"].tolist() == [0, 1, 1, 0, 1]
    assert [schedule.pool(agent) for agent in (0, 1)] == [3, 4]
    for pool in schedule.streams[3:]:
        assert (pool["sources"], pool["thread"]) == (0, NONE)
        assert pool["first_source"] == len(schedule.sources)
    assert not set(schedule.cursors["stream"].tolist()) & {3, 4}


def test_a_pool_has_what_its_chains_would_have(config: Load) -> None:
    schedule = compile_job(config(TWO_DRIVES))
    assert schedule.slots == 128
    assert schedule.streams["quota"].tolist() == [0, 0, 0, 21, 42]
    assert schedule.slots_common == 128 - 63
    caps = [21 + 33, 42 + 33]
    assert schedule.streams["cap"].tolist() == [caps[0], caps[1], caps[1], *caps]


def test_one_drive_alone_reads_into_all_of_the_memory(config: Load) -> None:
    text = '[restore.v.R]\ndrive = "R1"\nbuffers = { A = "D1", B = "D2" }\n'
    text += '[copy.1.C]\ndrive = "R2"\nbuffers = { A = "R.A", B = "R.B" }\n'
    schedule = compile_job(config(text))
    assert schedule.streams["quota"].tolist() == [0, 0, 64]
    assert schedule.streams["cap"].tolist() == [128] * 3


def fan(copies: int, spooled: int = 0, sources: str = "") -> Config:
    """One chain that so many agents write, in one group each; some of them spool."""
    drives = "".join(f'W{i} = "null:"\n' for i in range(copies))
    text = f'[drives]\nR1 = "null:"\nR2 = "null:"\n{drives}{sources}'
    text += '[restore.v.R]\ndrive = "R1"\nbuffers = { B = "D1" }\n'
    for i in range(copies):
        lag = 'on_lag = "spool"\n' if i < spooled else ""
        text += f'[copy.c{i}.C{i}]\n{lag}drive = "W{i}"\nbuffers = {{ B = "R.B" }}\n'
    return judge("tapeloom.toml", text.encode())


@pytest.mark.parametrize(("copies", "spooled", "least"), [(1, 0, 2), (2, 0, 3), (7, 0, 8), (7, 2, 10 + 2 * 16)])
def test_calls_of_all_that_it_feeds_leave_a_slot(copies: int, spooled: int, least: int) -> None:
    loaded = fan(copies, spooled)
    schedule = compile_job(with_memory(loaded, least))
    assert quotas(schedule) == {"R": least - spooled * 16}
    tight = with_memory(loaded, least - 1)
    with pytest.raises(ConfigError, match=f"need at least {least}"):
        compile_job(tight)
    assert [problem.what.rpartition(" ")[2] for problem in problems(tight)] == [str(least)]


def test_what_a_pool_needs_beyond_its_share_comes_from_all() -> None:
    """A backup in the same job, with a program's own slots in it, has to be content with less."""
    backup = '[backup.b.A]\ndrive = "R2"\nbuffers = { B1 = "D1", B2 = "P1" }\n'
    loaded = fan(9, sources='[sources]\nD1 = "d"\nP1 = { producer = true }\n' + backup)
    least = 10 + 2 + 4
    for slots in range(least, 60):
        schedule = compile_job(with_memory(loaded, slots), ["b", "v"])
        assert schedule.slots == slots
        assert int(schedule.streams["quota"].sum()) + schedule.slots_common + 2 == slots
        assert quotas(schedule)["R"] >= 10
        assert (schedule.streams["quota"][schedule.streams["feed"] != Feed.DRIVE] >= 2).all()
    with pytest.raises(ConfigError, match=f"need at least {least}"):
        compile_job(with_memory(loaded, least - 1), ["b", "v"])


def test_the_tables_take_what_the_kernel_asks_for(config: Load) -> None:
    kernel = pytest.importorskip("tapeloom._kernel")
    from tapeloom.runtime.arena import plans

    for text in (TWO_DRIVES, TWO_DRIVES.replace("[copy.1.C]\n", '[copy.1.C]\non_lag = "spool"\n')):
        schedule = compile_job(config(text))
        ours = sum(
            int(item["count"] * item["each_bytes"])
            for name, item in zip(schedule.memory_names, schedule.memory, strict=True)
            if not name.startswith("slots") and name != "spool control"
        )
        assert abs(ours - kernel.control_bytes(*plans(schedule, ()))) <= 4096
