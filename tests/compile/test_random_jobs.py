"""Any job that compiles: the tables agree with one another, and with what the file says."""

from __future__ import annotations

import json
import tempfile
from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

from hypothesis import HealthCheck, given, settings
from topologies import Topology, topologies

from tapeloom import picture, plan
from tapeloom.compile import compile_job
from tapeloom.config import Config, load
from tapeloom.limits import PRODUCER_END_SLOTS, SLOTS_PER_BUFFER_MIN
from tapeloom.picture.geometry import Box
from tapeloom.picture.layout import lay_out
from tapeloom.schedule import NONE, Feed, Kind, Schedule

quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def compiled(topology: Topology) -> tuple[Config, Schedule]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "tapeloom.toml")
        file.write_text(topology.text, encoding="utf-8")
        config = load(file)
    return config, compile_job(config)


@quick
@given(topologies)
def test_each_object_reaches_the_drives_that_the_file_says(topology: Topology) -> None:
    _, schedule = compiled(topology)
    fed = defaultdict(list)
    for row, source in enumerate(schedule.sources):
        fed[int(source["stream"])].append(str(schedule.source_names[row]))
    assert [tuple(fed[row]) for row in range(len(schedule.streams))] == topology.streams
    reaches: dict[str, Counter[str]] = defaultdict(Counter)
    for cursor in schedule.cursors:
        drive = schedule.agents["drive"][cursor["agent"]]
        if drive != NONE:
            reaches[str(schedule.drive_names[drive])].update(fed[int(cursor["stream"])])
    assert {drive: set(sources) for drive, sources in reaches.items()} == topology.reaches
    assert all(times == 1 for sources in reaches.values() for times in sources.values())


@quick
@given(topologies)
def test_the_tables_agree_with_one_another(topology: Topology) -> None:
    _, schedule = compiled(topology)
    assert len(schedule.cursors) == topology.buffers + topology.digests
    next_cursor = 0
    for row, agent in enumerate(schedule.agents):
        mine = schedule.cursors[next_cursor : next_cursor + agent["cursors"]]
        assert agent["first_cursor"] == next_cursor
        assert (mine["agent"] == row).all()
        assert agent["cursors"] == 1 or agent["kind"] != Kind.DIGEST
        next_cursor += int(agent["cursors"])
    assert next_cursor == len(schedule.cursors)
    for row, cursor in enumerate(schedule.cursors):
        if cursor["upstream"] == NONE:
            assert cursor["depth"] == 0
        else:
            above = schedule.cursors[cursor["upstream"]]
            assert cursor["upstream"] < row
            assert above["stream"] == cursor["stream"]
            assert above["depth"] == cursor["depth"] - 1
    threads = [*schedule.streams["thread"].tolist(), *schedule.agents["thread"].tolist()]
    own = [thread for thread in threads if thread != NONE]
    assert sorted(own) == list(range(len(own)))
    assert threads.count(NONE) == topology.producers
    used = schedule.agents["drive"][schedule.agents["drive"] != NONE]
    assert sorted(used) == list(range(len(schedule.drive_names)))


@quick
@given(topologies)
def test_slots_and_memory_add_up(topology: Topology) -> None:
    config, schedule = compiled(topology)
    streams = schedule.streams
    ends = PRODUCER_END_SLOTS * topology.producers
    assert int(streams["quota"].sum()) + schedule.slots_common + ends == schedule.slots
    assert schedule.slots == config.server.memory // schedule.slot_bytes
    assert (streams["quota"] >= SLOTS_PER_BUFFER_MIN).all()
    assert (streams["cap"] >= streams["quota"]).all()
    assert (streams["cap"] <= streams["quota"] + schedule.slots_common).all()
    assert (streams["cap"] == streams["quota"])[streams["feed"] == Feed.PRODUCER].all()
    slots = sum(
        int(item["count"])
        for name, item in zip(schedule.memory_names, schedule.memory, strict=True)
        if item["each_bytes"] == schedule.slot_bytes and str(name).startswith("slots")
    )
    assert slots == schedule.slots


@quick
@given(topologies)
def test_the_same_file_gives_the_same_bytes(topology: Topology) -> None:
    config, schedule = compiled(topology)
    again, repeated = compiled(topology)
    assert repeated.to_bytes() == schedule.to_bytes()
    assert picture.svg(again, repeated) == picture.svg(config, schedule)


@quick
@given(topologies)
def test_no_drive_is_predicted_to_go_faster_than_it_can(topology: Topology) -> None:
    config, schedule = compiled(topology)
    made = plan.make(config, schedule)
    agents = {agent.name: agent for agent in made.agents}
    for agent in made.agents:
        assert agent.drive_rate is None or agent.rate is not None
        assert agent.drive_rate is None or agent.rate <= agent.drive_rate * (1 + 1e-9)
        assert 0 < agent.data_share <= 1 + 1e-9
    for chain in made.chains:
        rated = [agents[stage.agent] for stage in chain.stages if agents[stage.agent].drive_rate is not None]
        assert (chain.rate is None) == (not rated)
        if chain.limited_by is not None:  # its drive is full, and no chain over it gets less for this one's sake
            limit = agents[chain.limited_by]
            assert abs(limit.rate - limit.drive_rate) <= 1e-6 * limit.drive_rate
            others = [c for c in made.chains if any(stage.agent == limit.name for stage in c.stages)]
            assert all(other.rate <= chain.rate * (1 + 1e-9) for other in others)
    assert json.loads(json.dumps(plan.to_json(made)))["fingerprint"] == schedule.fingerprint
    assert all(len(line) <= plan.COLUMNS for line in plan.to_text(made).splitlines() if "tapeloom.toml" not in line)


@quick
@given(topologies)
def test_in_the_picture_nothing_touches_a_box(topology: Topology) -> None:
    config, schedule = compiled(topology)
    ElementTree.fromstring(picture.svg(config, schedule))
    made = lay_out(config, schedule)
    assert len(made.boxes) == sum(agent["kind"] != Kind.DIGEST for agent in schedule.agents)
    for column in made.columns:
        assert column.left <= column.box
        assert column.box + column.box_width <= column.right
        for above, below in pairwise(column.items):
            assert above.top + above.height <= below.top + 1e-6
    for left, right in pairwise(made.columns):
        assert left.right < right.left
    for panel in made.panels:
        inside = [item for item in made.columns[panel.column].items if isinstance(item, Box)]
        inside = [box for box in inside if (box.kind, box.group) == (panel.kind, panel.name)]
        assert all(panel.top < box.top and box.top + box.height < panel.bottom for box in inside)
    assert all(link.head.column == link.tail.column + 1 for link in made.links)
