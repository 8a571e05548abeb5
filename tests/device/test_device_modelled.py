"""Drives that take their time: what they do, by a clock that counts, against what `Timing` predicts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from device_facts import Kernel
from hypothesis import given, settings
from hypothesis import strategies as st

from tapeloom._devio import ffi, lib
from tapeloom.device import Device, open_drive
from tapeloom.device.memory import MemoryDrive
from tapeloom.device.model import ModelCounts
from tapeloom.device.null import NullDrive
from tapeloom.errors import EndOfData, UsageError
from tapeloom.softdrive import Model, model_of
from tapeloom.timing import BLOCK_SECONDS, CALL_SECONDS, LTO8, LTO9, MODELS, Timing

BLOCK = 4096
SCALE = 2**17
SMALL = LTO9.scaled(SCALE)
"""Of such a tape a wrap has 120 blocks and the buffer two."""


@contextmanager
def loaded(timing: Timing, **model: object) -> Iterator[Device]:
    with MemoryDrive(name="R", model=Model(timing, simulated=True, **model)) as drive:  # type: ignore[arg-type]
        drive.new_cartridge("A")
        drive.load("A")
        yield drive


def counts(drive: Device) -> ModelCounts:
    found = drive.model_counts()
    assert found is not None
    return found


def took(drive: Device, call: object, *arguments: object) -> float:
    before = drive.simulated_seconds
    assert before is not None
    call(*arguments)  # type: ignore[operator]
    after = drive.simulated_seconds
    assert after is not None
    return after - before


def write(drive: Device, blocks: int) -> None:
    for _ in range(blocks):
        drive.write(bytes(BLOCK))
    drive.write_filemarks()


def read(drive: Device, blocks: int) -> None:
    buffer = bytearray(BLOCK)
    for _ in range(blocks):
        drive.read_into(buffer)


@settings(max_examples=60, deadline=None)
@given(
    timing=st.sampled_from([model.scaled(SCALE) for model in MODELS.values()]),
    written=st.integers(1, 700),
    calls=st.lists(st.tuples(st.integers(0, 699), st.integers(1, 60)), max_size=12),
)
def test_what_is_predicted_is_what_it_takes(timing: Timing, written: int, calls: list[tuple[int, int]]) -> None:
    """Writing, locates and reading, to the cost of a block for the host, which a drive in software does not have."""
    with loaded(timing) as drive:
        assert took(drive, write, drive, written) == pytest.approx(timing.write(written * BLOCK) + timing.filemark)
        here = written + 1
        for wanted, most in calls:
            there = min(wanted, written - 1)
            blocks = min(most, written - there)
            # the filemark is a position, and no byte of the tape: so much is the prediction of the way wrong
            wrong = timing.locate_end * BLOCK / timing.wrap_bytes if here > written else 0.0
            moved = took(drive, drive.locate, there)
            assert moved == pytest.approx(
                timing.seek(here, there, BLOCK) if here != there else 0, abs=wrong + CALL_SECONDS
            )
            spent = took(drive, read, drive, blocks)
            assert timing.read(blocks, BLOCK) - blocks * BLOCK_SECONDS == pytest.approx(spent)
            here = there + blocks


@settings(max_examples=60, deadline=None)
@given(part=st.floats(0.05, 2.0), buffer=st.integers(6, 60), blocks=st.integers(100, 600))
def test_what_is_fed_too_slowly_stops_as_often_as_predicted(part: float, buffer: int, blocks: int) -> None:
    """`part` of the slowest step. While the buffer is more than three quarters full the tape runs faster than that: so
    many more stops may come of it as that quarter is of the whole. Bytes come by the block, and not as they flow: the
    buffer of a stop may have one more, and one more has come since. The last stop is not there where writing ends
    before it."""
    timing = Timing(4e6, 0.0, 0.0, rate_min=1.8e6, backhitch=0.2, buffer_bytes=buffer * BLOCK, steps=(2.4e6, 3.2e6))
    feed = part * timing.rate_min
    size = blocks * BLOCK
    with loaded(timing, feed=feed) as drive:
        seconds = took(drive, write, drive, blocks)
        found = counts(drive)
    predicted = timing.stops(size, feed)
    assert predicted * buffer / (buffer + 2) - 1 <= found.backhitches <= predicted * 4 / 3 + 2
    at_the_end = timing.buffer_bytes / timing.rate + timing.backhitch
    assert seconds >= size / min(feed, timing.rate)
    assert seconds <= size / feed + (timing.write(size, feed) - size / feed) * 4 / 3 + at_the_end + 2 * timing.backhitch


@settings(max_examples=60, deadline=None)
@given(
    feed=st.sampled_from([0.0, 0.6e3, 2e3, 6e3]),
    calls=st.lists(
        st.tuples(st.sampled_from(["write", "mark", "read", "locate", "rewind", "end"]), st.integers(1, 40))
    ),
)
def test_all_of_its_time_is_accounted_for(feed: float, calls: list[tuple[str, int]]) -> None:
    with loaded(SMALL, feed=feed) as drive:
        for call, count in calls:
            try:
                if call == "write":
                    for _ in range(count):
                        drive.write(bytes(BLOCK))
                elif call == "mark":
                    drive.write_filemarks()
                elif call == "read":
                    read(drive, count)
                elif call == "locate":
                    drive.locate(count)
                elif call == "rewind":
                    drive.rewind()
                else:
                    drive.to_end_of_data()
            except EndOfData:
                continue
        if counts(drive).bytes:
            drive.write_filemarks()  # so that nothing is read ahead that nobody asked for
        found = counts(drive)
    parts = (found.streaming, found.hitching, found.starved, found.moving, found.marking, found.changing)
    assert min(parts) >= 0
    if not feed:
        assert sum(parts) == pytest.approx(found.seconds)
        assert (found.backhitches, found.starved) == (0, 0)
    else:  # a tape that is left while it reads ahead, or before its first byte came, does nothing that counts
        assert sum(parts) <= found.seconds * (1 + 1e-9)


def test_a_host_between_two_steps_neither_waits_nor_makes_it_stop() -> None:
    timing = Timing(4e6, 0.0, 0.0, rate_min=1.8e6, backhitch=0.2, buffer_bytes=320 * BLOCK, steps=(2.4e6, 3.2e6))
    feed = 2.8e6
    with loaded(timing, feed=feed) as drive:
        for _ in range(2000):
            drive.write(bytes(BLOCK))
        found = counts(drive)
    # it begins with an empty buffer, which the first blocks do not fill: then it stops, goes back, and has enough
    assert found.backhitches <= 2
    assert found.held == 0
    assert found.seconds == pytest.approx(2000 * BLOCK / feed)


def test_a_slow_reader_makes_it_stop_too() -> None:
    timing = Timing(4e6, 0.0, 0.0, rate_min=1.8e6, backhitch=0.2, buffer_bytes=320 * BLOCK)
    with loaded(timing, feed=0.5e6) as drive:
        write(drive, 3000)
        before = counts(drive)
        drive.rewind()
        read(drive, 3000)
        found = counts(drive)
    assert found.backhitches > before.backhitches
    assert found.held - before.held < 0.1  # what it reads ahead is there when it is asked for


def test_what_was_read_ahead_is_kept_where_it_stays() -> None:
    with loaded(SMALL) as drive:
        write(drive, 50)
        drive.locate(10)
        read(drive, 5)
        assert took(drive, drive.locate, 15) == 0
        assert took(drive, read, drive, 1) == pytest.approx(BLOCK / SMALL.rate)


def test_turning_from_reading_to_writing_stops_it() -> None:
    with loaded(SMALL) as drive:
        write(drive, 20)
        drive.rewind()
        read(drive, 10)
        assert took(drive, write, drive, 10) == pytest.approx(
            SMALL.backhitch + SMALL.write(10 * BLOCK) + SMALL.filemark
        )


def test_leaving_what_was_written_waits_for_it() -> None:
    with loaded(SMALL) as drive:
        for _ in range(100):
            drive.write(bytes(BLOCK))
        drive.rewind()
        found = counts(drive)
        assert found.streaming == pytest.approx(100 * BLOCK / SMALL.rate)
        assert found.moving == pytest.approx(SMALL.seek(100, 0, BLOCK))


def test_changing_a_cartridge_takes_a_mount() -> None:
    with loaded(SMALL) as drive:
        assert drive.simulated_seconds == SMALL.mount - SMALL.unload
        assert took(drive, drive.load, "A") == 0
        drive.new_cartridge("B")
        assert took(drive, drive.load, "B") == SMALL.mount
        drive.unload()
        assert drive.simulated_seconds == 2 * SMALL.mount


def test_a_null_drive_has_its_cartridge_in_it() -> None:
    with NullDrive(name="N", model=Model(LTO9, simulated=True)) as drive:
        drive.load()
        assert drive.simulated_seconds == 0
        drive.unload()
        drive.unload()
        assert drive.simulated_seconds == LTO9.unload
        drive.load()
        assert drive.simulated_seconds == LTO9.mount


def test_its_cartridges_hold_what_its_model_says() -> None:
    with open_drive("memory:?model=lto8&scale=1000000&time=simulated", name="R") as drive:
        drive.new_cartridge("A")
        drive.load("A")
        blocks = 1
        while not drive.write(bytes(BLOCK)):
            blocks += 1
        # an eighth of it, but no less than 4 MiB, is the zone of early warning
        assert blocks * BLOCK == pytest.approx(LTO8.capacity / 1e6 - 4 * 2**20, abs=2 * BLOCK)
    with open_drive("memory:?model=lto8&time=simulated&scale=1000", name="R", capacity=4 * BLOCK) as drive:
        drive.new_cartridge("A")
        drive.load("A")
        assert True in [drive.write(bytes(BLOCK)) for _ in range(4)]


def test_the_kernel_gets_the_table_around() -> None:
    with loaded(SMALL) as drive:
        kernel = Kernel(drive)
        assert took(drive, kernel.write, [bytes(BLOCK)] * 10) > 0
        drive.write_filemarks()
        drive.rewind()
        assert len(kernel.read(8)[1]) == 8
        assert counts(drive).bytes == 18 * BLOCK
        assert lib.tl_control(kernel.ops, kernel.handle, 1, ffi.NULL, 0) == 24  # nothing of its own to control


class ByHand:
    """A clock that goes when it is waited for, or when a test says so."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.waits: list[float] = []
        self._now = ffi.callback("double(void *)", lambda _: self.time)
        self._wait = ffi.callback("void(void *, double)", self._wait_until)
        self.c = ffi.new("struct tl_clock *", (self._now, self._wait, ffi.NULL))

    def _wait_until(self, _: object, until: float) -> None:
        self.waits.append(until)
        self.time = max(self.time, until)


def test_in_real_time_it_waits_for_the_clock_as_often_as_it_has_to() -> None:
    clock = ByHand()
    null = ffi.gc(lib.tl_null_new(), lib.tl_null_free)
    drive = ffi.new(
        "struct tl_model_drive *", {"step_count": 1, "steps": [1e6], "buffer_bytes": 10e6, "backhitch": 4.0}
    )
    bytes_before = ffi.addressof(lib, "tl_null_bytes_before")
    made = lib.tl_model_new(lib.tl_null_ops(), null, bytes_before, drive, clock.c)
    model, ops = ffi.gc(made, lib.tl_model_free), lib.tl_model_ops(made)
    room, done = ffi.new("char[]", 5_000_000), ffi.new("uint32_t *")

    def give() -> None:
        vec = ffi.new("struct tl_vec *", (room, 5_000_000, 5_000_000))
        assert lib.tl_write(ops, model, vec, 1, done) == 0

    give()
    give()
    assert clock.waits == []  # the buffer takes both
    give()
    assert clock.waits == [1005.0]  # until there is room
    clock.time = 1007.5  # the host was late: what is due is less by as much
    give()
    assert clock.waits == [1005.0, 1010.0]
    clock.time = 1023.0  # and now too late: empty at 1020, gone back at 1024
    give()
    assert clock.waits == [1005.0, 1010.0]
    assert lib.tl_write_filemarks(ops, model, 1) == 0
    assert clock.waits[2] == 1029.0
    found = ffi.new("struct tl_model_counts *")
    lib.tl_model_counts(model, found)
    assert (found.backhitches, found.hitching, found.starved) == (1, 4.0, 0.0)
    assert (found.streaming, found.held) == (25.0, 5.0 + 2.5 + 6.0)


def test_the_real_clock_is_the_systems() -> None:
    import time

    clock = lib.tl_clock_real()
    before = time.monotonic()
    now = clock.now(ffi.NULL)
    assert before <= now <= time.monotonic()
    clock.wait(ffi.NULL, now)  # is over
    with NullDrive(name="N", model=Model(Timing(1e9, 0.0, 0.0, buffer_bytes=1e6))) as drive:
        assert drive.simulated_seconds is None
        assert counts(drive).seconds < 60


def test_without_a_model_there_is_nothing_to_tell() -> None:
    with open_drive("memory:", name="R") as drive:
        assert drive.simulated_seconds is None
        assert drive.model_counts() is None


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("null:?model=lto3", "drive R: model: 'lto3' is no model of a drive; there are lto7, lto8, lto9"),
        ("null:?model=lto9&time=soon", "drive R: time: 'soon' is none; it is real or simulated"),
        ("null:?time=simulated", "drive R: time: of which drive"),
        ("null:?feed=1MB", "drive R: feed: of which drive"),
        ("null:?rate=1MB&feed=quick", "drive R: feed: 'quick' is not a size"),
        ("memory:?backhitch=2", "drive R: backhitch: of which drive"),
        ("memory:?model=lto9&time=simulated&aside=1", "drive R: time that another process counts"),
    ],
)
def test_a_wrong_option_is_named(spec: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        open_drive(spec, name="R")


def test_options_make_a_model() -> None:
    assert model_of({"fail_write": "3"}) is None
    assert model_of({"model": "lto9", "feed": "100MB"}) == Model(LTO9, simulated=False, feed=100e6)
    assert model_of({"model": "lto8", "time": "simulated"}) == Model(LTO8, simulated=True)
