"""Drives against a tape that is a plain Python list: any sequence of calls must come to the same."""

from __future__ import annotations

import tempfile
from pathlib import Path

from device_facts import block, open_memory, open_vtape, read_one
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tapeloom.device import Device, Position, Status
from tapeloom.errors import DeviceError

PAGE = 4096
CAPACITY = 24 * PAGE
WARNING = 9 * PAGE


class ListTape:
    """A tape. Every call returns its status, and for reads the block."""

    def __init__(self) -> None:
        self.items: list[bytes | None] = []  # None: a filemark
        self.at = 0
        self.writing = self.near_end = False

    def leave(self, mark: bool) -> None:
        if self.writing and mark:
            self.mark(1)
        self.writing = self.near_end = False

    def mark(self, count: int) -> Status:
        self.items[self.at :] = [None] * count
        self.at += count
        self.writing = False
        return Status.OK

    def write(self, data: bytes) -> Status:
        self.writing = True
        used = sum(-(-len(item) // PAGE) * PAGE for item in [*self.items[: self.at], data] if item)
        if used > CAPACITY:
            return Status.END_OF_MEDIUM
        self.items[self.at :] = [data]
        self.at += 1
        warned, self.near_end = self.near_end, self.near_end or used > CAPACITY - WARNING
        return Status.EARLY_WARNING if warned else Status.OK

    def read(self) -> tuple[Status, bytes | None]:
        self.leave(mark=False)
        if self.at == len(self.items):
            return Status.END_OF_DATA, None
        self.at += 1
        item = self.items[self.at - 1]
        return (Status.FILEMARK if item is None else Status.OK), item

    def locate(self, position: int) -> Status:
        self.leave(mark=True)
        self.at = min(position, len(self.items))
        return Status.OK if position <= len(self.items) else Status.END_OF_DATA

    def space(self, count: int, *, marks: bool) -> Status:
        """One item after another, until enough of the wanted kind have been passed."""
        marked = self.writing and marks and count < 0  # with a filemark that does not count
        self.leave(mark=marks and count < 0)
        step, left = (1, count) if count > 0 else (-1, -count + marked)
        while left:
            if self.at == (len(self.items) if step > 0 else 0):
                return Status.END_OF_DATA if step > 0 else Status.BEGIN_OF_TAPE
            met_mark = self.items[self.at if step > 0 else self.at - 1] is None
            self.at += step
            left -= met_mark == marks
            if met_mark and not marks:
                return Status.FILEMARK
        return Status.OK


class Machine(RuleBasedStateMachine):
    def open(self) -> Device:
        raise NotImplementedError

    @initialize()
    def start(self) -> None:
        self.model = ListTape()
        self.drive = self.open()
        self.drive.new_cartridge("A")
        self.drive.load("A")

    def teardown(self) -> None:
        if hasattr(self, "drive"):
            self.drive.close()

    @staticmethod
    def status(call: object, *arguments: object) -> Status:
        try:
            result = call(*arguments)  # type: ignore[operator]
        except DeviceError as error:
            return Status(error.status)
        return result if isinstance(result, Status) else Status.EARLY_WARNING if result is True else Status.OK

    @rule(number=st.integers(0, 99), size=st.sampled_from([1, 512, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE + 7]))
    def write(self, number: int, size: int) -> None:
        data = block(number, size)
        assert self.status(self.drive.write, data) == self.model.write(data)

    @rule(count=st.integers(1, 3))
    def write_filemarks(self, count: int) -> None:
        assert self.status(self.drive.write_filemarks, count) == self.model.mark(count)

    @rule()
    def read(self) -> None:
        wanted, data = self.model.read()
        if wanted is Status.END_OF_DATA:
            assert self.status(read_one, self.drive) is wanted
        else:
            assert read_one(self.drive) == data

    @rule(position=st.integers(0, 30))
    def locate(self, position: int) -> None:
        assert self.status(self.drive.locate, position) == self.model.locate(position)

    @rule()
    def rewind(self) -> None:
        assert self.status(self.drive.rewind) == self.model.locate(0)

    @rule()
    def to_end_of_data(self) -> None:
        self.drive.to_end_of_data()
        self.model.leave(mark=False)
        self.model.at = len(self.model.items)

    @rule(count=st.integers(-4, 4))
    def space_filemarks(self, count: int) -> None:
        assert self.status(self.drive.space_filemarks, count) == self.model.space(count, marks=True)

    @rule(count=st.integers(-6, 6))
    def space_blocks(self, count: int) -> None:
        assert self.status(self.drive.space_blocks, count) == self.model.space(count, marks=False)

    @rule()
    def reload(self) -> None:
        self.drive.unload()
        self.drive.load("A")
        self.model.locate(0)

    @invariant()
    def stands_where_the_model_stands(self) -> None:
        if hasattr(self, "drive"):
            model = self.model
            file = sum(item is None for item in model.items[: model.at])
            assert self.drive.position() == Position(model.at, file, len(model.items))


class MemoryMachine(Machine):
    def open(self) -> Device:
        return open_memory(Path(), capacity=CAPACITY, early_warning=WARNING)


class VirtualMachine(Machine):
    def open(self) -> Device:
        self.folder = tempfile.TemporaryDirectory()
        return open_vtape(Path(self.folder.name), capacity=CAPACITY, early_warning=WARNING)

    def teardown(self) -> None:
        super().teardown()
        if hasattr(self, "folder"):
            self.folder.cleanup()


TestMemory = MemoryMachine.TestCase
TestMemory.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestVirtual = VirtualMachine.TestCase
TestVirtual.settings = settings(
    max_examples=10, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
