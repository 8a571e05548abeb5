"""The memory of a job is on its way early, but who has to wait for another job is told that, and holds none."""

from __future__ import annotations

import errno
import os

import pytest
from ops_world import World

from tapeloom.catalog import Catalog, JobStatus
from tapeloom.cli.main import main
from tapeloom.errors import HeldError, UsageError
from tapeloom.ops.backup import open_backup
from tapeloom.ops.beginning import begin
from tapeloom.runtime import arena


@pytest.fixture
def ready(world: World) -> World:
    world.chain(sources=["D1"])
    world.data("D1", 30_000)
    Catalog.open(world.state).close()
    return world


def test_too_little_memory_is_said_before_anything_begins(ready: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arena, "_available_bytes", lambda: 4096)
    with (
        pytest.raises(UsageError, match="0 MiB of memory to spare"),
        begin(ready.config) as begun,
        open_backup(ready.config, beginning=begun),
    ):
        raise AssertionError("it has begun")
    with ready.catalog() as catalog:
        assert catalog.jobs() == []


def test_a_job_that_has_the_memory_has_the_state_folder_too(
    ready: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """That is what one has to hear, who may wait for it, and not that memory is to be made smaller."""
    monkeypatch.setattr(arena, "_available_bytes", lambda: 4096)
    with Catalog.open(ready.state):
        assert main(["-c", str(ready.file), "backup", "--wait", "0.1"]) != 0
    said = " ".join(capfd.readouterr().err.split())
    assert "is in use by process" in said
    assert "to spare" not in said


def test_who_waits_takes_no_memory(ready: World, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[object] = []
    monkeypatch.setattr(arena, "make", lambda *plan: taken.append(plan))
    with Catalog.open(ready.state), pytest.raises(HeldError), open_backup(ready.config):
        raise AssertionError("it has begun")
    assert taken == []


def test_memory_that_cannot_be_had_after_all_fails_the_job(ready: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    monkeypatch.setattr(os, "posix_fallocate", refused)
    with pytest.raises(UsageError, match=r"cannot give .* of shared memory"), open_backup(ready.config) as backup:
        backup.run()
    with ready.catalog() as catalog:
        (job,) = catalog.jobs()
        assert job.status is JobStatus.FAILED
        assert "shared memory" in job.report["remarks"][0]
