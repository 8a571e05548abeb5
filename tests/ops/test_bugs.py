"""What was never meant to happen in a job: what is buffered gets its receipts, the catalog says how it ended, and the
error comes to the caller."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from collections.abc import Callable
from uuid import UUID

import pytest
from ops_world import World, assert_receipts_hold

from tapeloom.catalog import Catalog, Job, JobStatus, Outcome
from tapeloom.errors import CatalogError
from tapeloom.ops.backup import open_backup


class Written:
    """Some bytes, and what happens behind them."""

    content = 0
    files = 0
    troubles = ()
    troubles_beyond = 0

    def __init__(self, name: str, then: Callable[[], None] = lambda: None):
        self.name = name
        self.written = threading.Event()
        self._then = then

    def run(self, sink: object) -> Written:
        try:
            sink.write(self.name.encode() * 100_000)  # type: ignore[attr-defined]
        finally:
            self.written.set()
        self._then()
        return self


@pytest.fixture
def two(world: World) -> World:
    """Two producers of this process, each in a buffer of its own."""
    world.chain(given=dict.fromkeys(("D1", "D2"), "{ producer = true }"))
    return world


def break_in(two: World, bug: Callable[[], None]) -> BaseException:
    """A backup in which D1 meets the bug when D2 is written."""
    other = Written("D2")

    def meet() -> None:
        assert other.written.wait(30)
        bug()

    sources = {"D1": Written("D1", meet), "D2": other}
    with pytest.raises(Exception) as met, open_backup(two.config, producers=sources) as backup:
        backup.run()
    return met.value


def last_job(world: World) -> Job:
    with world.catalog() as catalog:
        return catalog.jobs()[0]


def test_a_bug_in_a_source_lets_the_others_have_their_receipts(two: World) -> None:
    def bug() -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    met = break_in(two, bug)
    assert isinstance(met, OSError)
    job = last_job(two)
    assert job.status is JobStatus.PARTIAL
    said = "a bug in tapeloom: OSError: [Errno 24] Too many open files"
    assert job.report["bug"] == said
    assert job.report["troubles"]["D1"] == [said]
    assert {agent["ending"] for agent in job.report["agents"]} == {"complete"}
    assert two.object("D1").outcome is Outcome.FAILED
    assert two.object("D1").blocks > 10
    for source in ("D1", "D2"):
        assert set(two.status(source).values()) == {"complete"}, "all that was buffered is on tape"
        assert two.sequence(source, partial=True).startswith(source.encode() * 100_000)
    assert_receipts_hold(two)


def test_a_catalog_that_refuses_an_object_is_said_as_it_is(two: World, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = CatalogError("the catalog cannot be written: for a test")
    ended = Catalog.object_ended

    def refuse(catalog: Catalog, id: UUID, **told: object) -> None:
        if catalog.object(str(id)).source == "D1":
            raise refused
        ended(catalog, id, **told)  # type: ignore[arg-type]

    monkeypatch.setattr(Catalog, "object_ended", refuse)
    assert break_in(two, lambda: None) is refused
    job = last_job(two)
    assert job.status is JobStatus.PARTIAL
    assert job.report["bug"] == str(refused)
    assert job.report["troubles"]["D1"] == [str(refused)]
    assert {agent["ending"] for agent in job.report["agents"]} == {"complete"}
    assert two.object("D1").outcome is Outcome.INTERRUPTED
    assert set(two.status("D2").values()) == {"complete"}
    assert two.sequence("D2", partial=True).startswith(b"D2" * 100_000)


def test_a_bug_in_a_digest_is_told_of_its_object(two: World, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def update(self, payload: object) -> None:
            raise ZeroDivisionError("for a test")

    two.file.write_text(two.file.read_text().replace("{ producer = true }", '{ producer = true, digest = "sha256" }'))
    made = []

    def new_hash(kind: str) -> object:
        made.append(Broken() if not made else hashlib.new(kind))
        return made[-1]

    monkeypatch.setattr("tapeloom.runtime.digest.new_hash", new_hash)
    assert isinstance(break_in(two, lambda: None), ZeroDivisionError)
    job = last_job(two)
    assert job.status is JobStatus.PARTIAL
    told = [trouble for troubles in job.report["troubles"].values() for trouble in troubles]
    assert "its digest: a bug in tapeloom: ZeroDivisionError: for a test" in told
    assert {agent["ending"] for agent in job.report["agents"]} == {"complete"}


def test_a_catalog_that_can_say_nothing_more_does_not_hide_the_bug(two: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def bug() -> None:
        raise ZeroDivisionError("for a test")

    def refuse(*_: object, **__: object) -> None:
        raise CatalogError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(Catalog, "finish_job", refuse)
        assert isinstance(break_in(two, bug), ZeroDivisionError)
    with Catalog.open(two.state):
        pass
    assert last_job(two).status is JobStatus.INTERRUPTED


def test_a_bug_at_a_drive_ends_the_job_and_the_catalog_knows(two: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody knows what such an agent left undone: the job ends at once."""

    def bug(*_: object) -> None:
        raise ZeroDivisionError("for a test")

    monkeypatch.setattr("tapeloom.volume.writer.VolumeWriter.wrote", bug)
    assert isinstance(break_in(two, lambda: None), ZeroDivisionError)
    job = last_job(two)
    assert job.status is JobStatus.FAILED
    assert "failed" in {agent["ending"] for agent in job.report["agents"]}
