"""The Python API: a job with producers of this process, reading objects again, and the lines of its docstring."""

from __future__ import annotations

import signal
import threading

import numpy as np
import pytest

import tapeloom
from tapeloom import api
from tapeloom._kernel import Stop
from tapeloom.errors import FormatError, NoReaders, SourceError, Stopped, UsageError
from tapeloom.ops.backup import Backup

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

ONE_AFTER_ANOTHER = """
[server]
state = "state"
block = "16KiB"
memory = "1MiB"

[drives]
R1 = "vtape:tapes/R1{trouble}"

[sources]
first = {{ producer = true }}
second = {{ producer = true }}

[backup.nightly.BMA1]
drive = "R1"
buffers = {{ B1 = ["first", "second"] }}
"""

WAIT_SECONDS = 30.0


class Program(threading.Thread):
    """Writes one source until it is told to stop, and keeps what it was told. `begun` when something is written."""

    def __init__(self, job, source):
        super().__init__(daemon=True)
        self._producer = job.producer(source)
        self.begun = threading.Event()
        self.told: Stopped | None = None
        self.start()

    def run(self):
        try:
            with self._producer as out:
                while True:
                    out.write(bytes(10_000))
                    self.begun.set()
        except Stopped as stopped:
            self.told = stopped

    def ended(self):
        self.join(WAIT_SECONDS)
        return not self.is_alive()


@pytest.fixture
def one_after_another(tmp_path):
    def write(trouble=""):
        file = tmp_path / "tapeloom.toml"
        file.write_text(ONE_AFTER_ANOTHER.format(trouble=trouble))
        return file

    return write


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


def test_the_drive_fails_before_it_is_the_second_producers_turn(one_after_another):
    file = one_after_another("?fail_write=20")
    with tapeloom.open_job(file) as job:
        programs = [Program(job, "first"), Program(job, "second")]
        assert all(program.ended() for program in programs)
    first, second = (program.told for program in programs)
    assert isinstance(first, NoReaders)
    assert "the job was stopped" in str(second)
    assert job.result.untouched == ["second"]


def test_a_stop_before_it_is_the_second_producers_turn(one_after_another):
    file = one_after_another()
    with tapeloom.open_job(file) as job:
        programs = [Program(job, "first"), Program(job, "second")]
        assert programs[0].begun.wait(WAIT_SECONDS)
        job.stop()
        assert all(program.ended() for program in programs)
    assert "the job was stopped" in str(programs[1].told)
    assert not programs[1].begun.is_set()


def test_a_producer_that_was_stopped_before_its_turn_comes_back_at_once():
    producer = api.Producer("late")
    producer.stop()
    producer.stop()
    with pytest.raises(SourceError, match="the job was stopped"):
        producer.run(None)
    with pytest.raises(Stopped, match="the job was stopped"):
        producer.write(b"x")


def test_a_job_that_breaks_leaves_no_producer_waiting(one_after_another, monkeypatch):
    def broken(backup):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(Backup, "run", broken)
    with pytest.raises(ZeroDivisionError), tapeloom.open_job(one_after_another()) as job:
        program = Program(job, "first")
        assert program.ended()
    assert "the job has ended" in str(program.told)


def test_a_producer_that_is_never_closed_fails_its_object(configuration):
    file = configuration()
    with tapeloom.open_job(file) as job:
        out = job.producer("simulation")
        out.write(b"x")
    (item,) = tapeloom.objects(file, "simulation")
    assert item.status == "failed"
    assert "never closed" in item.troubles[0]
    assert job.result.exit_status == 1
    with pytest.raises(Stopped, match="never closed"):
        out.write(b"too late")


@pytest.mark.parametrize("interrupts", [[Stop.IN_ORDER], [Stop.IN_ORDER, Stop.NOW]])
def test_an_interrupt_while_the_job_is_waited_for_stops_it_and_waits_on(configuration, monkeypatch, interrupts):
    file = configuration()
    file.write_text(file.read_text().replace('files = "data"', 'files = { command = "sleep 1000" }'))
    stops = []
    with pytest.raises(KeyboardInterrupt), tapeloom.open_job(file) as job:
        wait, stop = job._ended.wait, job._backup.job.stop

        def interrupted():
            if len(stops) < len(interrupts):
                signal.raise_signal(signal.SIGINT)
            return wait()

        def noted(how):
            stops.append(how)
            stop(how)

        monkeypatch.setattr(job._ended, "wait", interrupted)
        monkeypatch.setattr(job._backup.job, "stop", noted)
        with job.producer("simulation") as out:
            out.write(b"x")
    assert stops == interrupts
    assert job.result.stopped
    assert [item.status for item in tapeloom.objects(file, "files")] == ["failed"]


@pytest.fixture
def broken_off(configuration):
    """The file, and the id of an object of a few blocks whose program gave up."""
    file = configuration()
    with tapeloom.open_job(file) as job, pytest.raises(ZeroDivisionError), job.producer("simulation") as out:
        out.write(bytes(50_000))
        raise ZeroDivisionError
    assert job.result.exit_status == 1
    return file, str(tapeloom.objects(file, "simulation")[0].id)


def test_a_sequence_that_broke_off_does_not_end_quietly(broken_off):
    file, name = broken_off
    with tapeloom.open_object(file, name) as sequence:
        assert sequence.read(50_000) == bytes(50_000)
        for _ in range(2):
            with pytest.raises(FormatError, match="source broke off"):
                sequence.read(1)
    with tapeloom.open_object(file, name) as sequence, pytest.raises(FormatError, match="source broke off"):
        sequence.read(50_001)
    with pytest.raises(FormatError, match="source broke off"):
        read(file, name)
    assert read(file, name, partial=True) == bytes(50_000)


def test_a_file_that_broke_off_is_restored_as_a_partial_one_alone(broken_off, tmp_path):
    file, name = broken_off
    with pytest.raises(FormatError, match="source broke off"):
        tapeloom.restore(file, name, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    result = tapeloom.restore(file, name, tmp_path / "out", partial=True)
    assert (result.broken_off, result.exit_status) == (True, 1)
    assert (tmp_path / "out" / "simulation").read_bytes() == bytes(50_000)


def test_arrays_over_slots_can_be_touched_when_the_job_is_long_gone(configuration):
    file = configuration()
    with tapeloom.open_job(file) as job, job.producer("simulation") as out:
        room = out.reserve()
        out.write(b"sequence")
    with tapeloom.open_object(file, "simulation") as sequence:
        piece = next(iter(sequence))
        assert piece.readonly
    del job, out, sequence
    room[:] = 7
    assert np.count_nonzero(room == 7) == len(room)
    assert bytes(piece) == b"sequence"
