from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest

from tapeloom import graph
from tapeloom.config import Config
from tapeloom.errors import UsageError
from tapeloom.graph import Part, agent_node, buffer_node, drive_node, source_node

TWO_GROUPS = """
[backup.nightly.A]
drive = "R1"
buffers = { B1 = "D1" }
[backup.weekly.B]
drive = "R2"
buffers = { B1 = "D2" }
[mirror.1.M]
drive = "R3"
buffers = { B1 = "A.B1", B2 = "B.B1" }
"""

Load = Callable[[str], Config]


def buffers(job: object) -> list[str]:
    return [str(node) for node in graph.parts(job, Part.BUFFER)]


def test_a_job_is_what_the_named_groups_feed(config: Load) -> None:
    job = graph.build(config(TWO_GROUPS), ["nightly"])
    assert buffers(job) == ["A.B1", "M.B1"]
    assert job.graph["groups"] == [("backup", "nightly"), ("mirror", "1")]
    assert drive_node("R2") not in job
    assert source_node("D2") not in job


def test_without_names_all_backup_groups_run(config: Load) -> None:
    job = graph.build(config(TWO_GROUPS))
    assert buffers(job) == ["A.B1", "B.B1", "M.B1", "M.B2"]
    assert list(job.successors(buffer_node("M", "B2"))) == [agent_node("M")]
    assert list(job.successors(agent_node("M"))) == [drive_node("R3")]


def test_a_buffer_may_feed_many_and_to_any_depth(config: Load) -> None:
    text = """
    [backup.b.A]
    drive = "R1"
    buffers = { B = "D1" }
    [mirror.3.M3]
    drive = "R4"
    buffers = { B = "M2.B" }
    [mirror.1.M1]
    drive = "R2"
    buffers = { B = "A.B" }
    [mirror.2.M2]
    drive = "R3"
    buffers = { B = "A.B" }
    """
    job = graph.build(config(text))
    assert buffers(job) == ["A.B", "M3.B", "M1.B", "M2.B"]  # the order of the file
    assert graph.downstream(job, buffer_node("A", "B")) == [buffer_node("M1", "B"), buffer_node("M2", "B")]
    assert graph.upstream(job, buffer_node("M3", "B")) == buffer_node("M2", "B")


def test_a_restore_group_is_fed_by_its_drive(config: Load) -> None:
    text = """
    [restore.vault.R]
    drive = "R1"
    buffers = { B = "D1" }
    [copy.1.C]
    drive = "R2"
    buffers = { B = "R.B" }
    """
    job = graph.build(config(text))
    restored = [drive_node("R1"), agent_node("R"), buffer_node("R", "B")]
    copied = [buffer_node("C", "B"), agent_node("C"), drive_node("R2")]
    assert all(job.has_edge(tail, head) for tail, head in pairwise(restored + copied))
    assert not list(graph.parts(job, Part.SOURCE))


def test_only_a_source_that_wants_a_digest_has_a_reader(config: Load) -> None:
    text = """
    D3 = { path = "d", digest = "sha256" }
    [backup.b.A]
    drive = "R1"
    buffers = { B1 = "D1", B2 = ["D2", "D3"] }
    """
    assert [str(node) for node in graph.parts(graph.build(config(text)), Part.DIGEST)] == ["A.B2"]


def test_an_unknown_group_is_refused_with_the_nearest_name(config: Load) -> None:
    with pytest.raises(UsageError, match='no backup or restore group "nightyl": did you mean "nightly"'):
        graph.build(config(TWO_GROUPS), ["nightyl"])


def test_a_group_that_others_feed_is_not_started_by_itself(config: Load) -> None:
    with pytest.raises(UsageError, match=r"mirror\.1 is fed by other groups"):
        graph.build(config(TWO_GROUPS), ["1"])


def test_a_name_that_two_kinds_share_needs_its_kind(config: Load) -> None:
    text = TWO_GROUPS + '[restore.nightly.R]\ndrive = "R4"\nbuffers = { B = "D1" }\n'
    loaded = config(text)
    with pytest.raises(UsageError, match=r"write backup\.nightly or restore\.nightly"):
        graph.build(loaded, ["nightly"])
    assert buffers(graph.build(loaded, ["restore.nightly"])) == ["R.B"]


def test_a_file_without_groups_has_no_job(config: Load) -> None:
    with pytest.raises(UsageError, match="no backup or restore group to start"):
        graph.build(config(""))
