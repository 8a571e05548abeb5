"""The Python API: a job with producers of this process, reading objects again, and the lines of its docstring."""

from __future__ import annotations

import threading

import pytest

import tapeloom
from tapeloom import api
from tapeloom.errors import NoReaders, SourceError, Stopped, UsageError

CONFIG = """
[server]
state = "state"
block = "16KiB"
memory = "1MiB"

[drives]
R1 = "vtape:tapes/R1"
R2 = "vtape:tapes/R2{trouble}"

[sources]
simulation = {{ producer = true }}
files = "data"

[backup.nightly.BMA1]
drive = "R1"
buffers = {{ B1 = "simulation", B2 = "files" }}

[mirror.1.BMA2]
drive = "R2"
buffers = {{ B1 = "BMA1.B1" }}
"""


@pytest.fixture
def configuration(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "file").write_bytes(b"content")

    def write(trouble=""):
        file = tmp_path / "tapeloom.toml"
        file.write_text(CONFIG.format(trouble=trouble))
        return file

    return write


def read(configuration, name, **how):
    with tapeloom.open_object(configuration, name, **how) as sequence:
        return b"".join(bytes(piece) for piece in sequence)


def test_the_lines_of_the_docstring(configuration, monkeypatch):
    lines = [line[4:] for line in api.__doc__.splitlines() if line.startswith((">>> ", "... "))]
    source = "\n".join(line.split("# doctest")[0].rstrip() for line in lines)
    monkeypatch.chdir(configuration().parent)
    source = source.replace("job.result.status", "status = job.result.status").replace('b"".join', 'content = b"".join')
    names: dict[str, object] = {}
    exec(source, names)
    assert names["status"] == "complete"
    assert names["content"] == b"step 1step 2"


def test_a_large_object_by_write_and_by_reserve_comes_back_from_both_copies(configuration):
    file = configuration()
    expected = bytearray()
    with tapeloom.open_job(file) as job, job.producer("simulation") as out:
        for number in range(300):
            piece = bytes([number % 251]) * (977 * (number % 7))
            out.write(piece)
            expected += piece
            room = out.reserve()
            take = min(len(room), 333)
            room[:take] = number % 256
            out.commit(take)
            expected += bytes([number % 256]) * take
    assert job.result.exit_status == 0
    assert read(file, "simulation", copy="BMA1") == expected
    assert read(file, "simulation", copy="BMA2") == expected
    assert [item.source for item in tapeloom.objects(file, "files")] == ["files"]
    assert tapeloom.verify(file).exit_status == 0


def test_an_exception_in_the_producers_block_fails_its_object_alone(configuration):
    file = configuration()
    with tapeloom.open_job(file) as job, pytest.raises(ZeroDivisionError), job.producer("simulation") as out:
        out.write(b"as far as it came")
        raise ZeroDivisionError("no more")
    assert job.result.exit_status == 1
    (item,) = tapeloom.objects(file, "simulation")
    assert item.status == "failed"
    assert "no more" in item.troubles[0]
    (other,) = tapeloom.objects(file, "files")
    assert other.status == "complete"


def test_a_producer_that_nobody_opens_fails_its_object(configuration):
    file = configuration()
    with tapeloom.open_job(file) as job:
        pass
    (item,) = tapeloom.objects(file, "simulation")
    assert item.status == "failed"
    assert "never opened" in item.troubles[0]
    assert job.result.exit_status == 1


def test_the_mirror_fails_and_the_producer_does_not_notice(configuration):
    file = configuration("?fail_write=20")
    data = bytes(range(256)) * 4000
    with tapeloom.open_job(file) as job, job.producer("simulation") as out:
        out.write(data)
    assert job.result.exit_status == 1
    assert read(file, "simulation") == data


def test_stopping_reaches_a_producer_that_waits(configuration):
    file = configuration()
    stopped = threading.Event()
    with tapeloom.open_job(file) as job:
        out = job.producer("simulation")
        out.write(b"x")
        job.stop()
        with pytest.raises(Stopped):
            while not stopped.is_set():
                out.write(bytes(10**6))
    assert job.result.stopped
    assert tapeloom.objects(file, "simulation")[0].status == "failed"


def test_an_exception_in_the_jobs_block_stops_it(configuration):
    with pytest.raises(KeyError), tapeloom.open_job(configuration()):
        raise KeyError("mine")


def test_wrong_use_says_what_there_is(configuration):
    file = configuration()
    with tapeloom.open_job(file) as job:
        with pytest.raises(UsageError, match="simulation"):
            job.producer("files")
        with job.producer("simulation") as out:
            out.write(b"")
        with pytest.raises(UsageError, match="before"):
            job.producer("simulation")
        with pytest.raises(UsageError, match="not ended"):
            _ = job.result
        with pytest.raises(Stopped):
            out.write(b"too late")
    assert job.result.exit_status == 0


def test_errors_of_a_source_are_ordered():
    assert issubclass(NoReaders, Stopped)
    assert issubclass(Stopped, SourceError)


def test_restore(configuration, tmp_path):
    file = configuration()
    with tapeloom.open_job(file) as job, job.producer("simulation") as out:
        out.write(b"sequence")
    assert job.result.exit_status == 0
    tapeloom.restore(file, "simulation", tmp_path / "out")
    assert (tmp_path / "out" / "simulation").read_bytes() == b"sequence"
    tapeloom.restore(file, "files", tmp_path / "tree")
    assert (tmp_path / "tree" / "file").read_bytes() == b"content"
