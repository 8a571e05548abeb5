"""The cartridges that drives can give, one after another: those of a stack; those of a library, by several of its
drives at once; those that a person puts into a drive that stands alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from msgspec import Struct

from tapeloom.errors import CatalogError, DeviceError, HeldError, NoMedium, TapeloomError
from tapeloom.ops.mounts import open_configured

if TYPE_CHECKING:
    from tapeloom.config import Config, Drive
    from tapeloom.device import Device


class Asked(Struct, frozen=True):
    """What a person in front of a drive is asked for: another cartridge. `said` is a sentence on what was in, `wanted`
    are labels of volumes that are known of and were not in yet; `is_there`: whether one has been put in since."""

    drive: str
    said: str
    wanted: Sequence[str]
    is_there: Callable[[], bool]


Operator = Callable[[Asked], bool]
"""Comes back with True once another cartridge is in, with False where that was all."""

Visit = Callable[["Device", "Drive"], str]
"""Called with a cartridge in the drive; of several drives, by a thread each. Gives a sentence on what it was."""

Failed = Callable[["Drive", "str | None", TapeloomError], None]
"""Told of a cartridge that could not be visited, or of a drive (None) that gave none."""


class Stopped(Exception):
    """Somebody wants no more cartridges: what a visit that goes on in another thread ends with."""


class Round:
    """One way round. `enough`: nobody wants any further cartridge; `lacking`: labels that a person is told.

    `stopping` is set when it is broken off: a visit that takes long looks at it, and raises Stopped.
    """

    def __init__(
        self,
        config: Config,
        visit: Visit,
        failed: Failed,
        *,
        enough: Callable[[], bool],
        lacking: Callable[[str], Sequence[str]],
        operator: Operator | None,
    ):
        self._config = config
        self._visit = visit
        self._failed = failed
        self._enough = enough
        self._lacking = lacking
        self._operator = operator
        self.stopping = threading.Event()

    def go(self, drives: Sequence[Drive], names: Callable[[str], bool], *, may_ask: bool) -> None:
        """The cartridges of one home that `names` says yes to. Without `may_ask` no cartridge is put in that somebody
        would have to see to.

        Raises
        ------
        HeldError
            All these drives are in another process's hands.
        """
        with ExitStack() as stack:
            devices = list(self._opened(drives, stack))
            if not devices:
                return
            drive, device = devices[0]
            if device.fed_by_hand:
                if may_ask:
                    self._fed(drive, device)
            elif len(devices) == 1:
                _Worker(self, drive, device, _Stack([device], names)).run()
            else:
                self._at_once(devices, names)

    def _opened(self, drives: Sequence[Drive], stack: ExitStack) -> Iterator[tuple[Drive, Device]]:
        held: HeldError | None = None
        none = True
        for drive in drives:
            try:
                device = stack.enter_context(open_configured(self._config, drive.name))
            except HeldError as error:
                held = held or error
                continue
            except DeviceError as error:
                self._failed(drive, None, error)
                continue
            none = False
            if device.keeps:
                yield drive, device
        if held is not None and none:
            raise held

    def _fed(self, drive: Drive, device: Device) -> None:
        """What is in a drive that stands alone, and what a person puts into it then."""
        while True:
            try:
                device.load()
                said = self._visit(device, drive)
            except CatalogError:
                raise
            except TapeloomError as error:
                said = str(error)
                if self._operator is None or not isinstance(error, NoMedium):
                    self._failed(drive, device.loaded, error)
            if self._operator is None or self._enough():
                return
            with suppress(DeviceError):  # it is out, or can be taken out, all the same
                device.unload()
            if not self._operator(Asked(drive.name, said, self._lacking(drive.home), _changed(device))):
                return

    def _at_once(self, devices: Sequence[tuple[Drive, Device]], names: Callable[[str], bool]) -> None:
        stack = _Stack([device for _, device in devices], names)
        workers = [_Worker(self, drive, device, stack) for drive, device in devices]
        threads = [threading.Thread(target=one.run_aside, name=f"round-{one.drive.name}") for one in workers]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        except BaseException:
            self.stopping.set()
            for thread in threads:
                if thread.ident is not None:
                    thread.join()
            raise
        for worker in workers:
            if worker.bug is not None:
                raise worker.bug

    def put_in(self, drive: Drive, device: Device, name: str) -> bool:
        """Visits a cartridge. False: the drive could not take it, and may be the one to blame."""
        try:
            if device.loaded != name:
                device.load(name)
        except TapeloomError as error:
            self._failed(drive, name, error)
            return isinstance(error, NoMedium) or not isinstance(error, DeviceError)
        try:
            self._visit(device, drive)
        except CatalogError:
            raise
        except TapeloomError as error:
            self._failed(drive, name, error)
        return True

    @property
    def is_over(self) -> bool:
        return self.stopping.is_set() or self._enough()


def _changed(device: Device) -> Callable[[], bool]:
    """Whether something was put in since now. A drive that does not answer has nothing new."""
    before = device.changes()

    def changed() -> bool:
        try:
            return device.changes() != before
        except DeviceError:
            return False

    return changed


class _Stack:
    """What is still to be put in, by any of several drives."""

    def __init__(self, devices: Sequence[Device], names: Callable[[str], bool]):
        self._changed = threading.Condition()
        self._devices = list(devices)
        self._busy: list[Device] = []
        self._left = {name for device in devices for name in device.cartridges() if names(name)}

    def next(self, device: Device) -> str | None:
        """First what no other drive could have: it is in this one. None: nothing is left, nor will any other drive give
        up what it has."""
        with self._changed:
            self._let_go(device)
            while True:
                mine = [name for name in device.cartridges() if name in self._left]
                others = self._others(device)
                name = next((name for name in mine if name not in others), next(iter(mine), None))
                if name is not None:
                    self._left.remove(name)
                    self._busy.append(device)
                    return name
                if not self._busy:
                    return None
                self._changed.wait()

    def give_up(self, device: Device, name: str) -> bool:
        """This drive cannot take a cartridge: another one may. False: there is no other."""
        with self._changed:
            if len(self._devices) == 1:
                return False
            self._devices.remove(device)
            self._left.add(name)
            return True

    def leave(self, device: Device) -> None:
        with self._changed:
            self._let_go(device)

    def _let_go(self, device: Device) -> None:
        if device in self._busy:
            self._busy.remove(device)
        self._changed.notify_all()

    def _others(self, device: Device) -> set[str]:
        return {name for other in self._devices if other is not device for name in other.cartridges()}


class _Worker:
    """One drive, and the stack that it takes from."""

    def __init__(self, round_: Round, drive: Drive, device: Device, stack: _Stack):
        self.drive = drive
        self.bug: BaseException | None = None
        self._round = round_
        self._device = device
        self._stack = stack

    def run(self) -> None:
        try:
            while not self._round.is_over and (name := self._stack.next(self._device)) is not None:
                if not self._round.put_in(self.drive, self._device, name) and self._stack.give_up(self._device, name):
                    return
        finally:
            self._stack.leave(self._device)

    def run_aside(self) -> None:
        """In a thread of its own: what it raises is the round's."""
        try:
            self.run()
        except Stopped:
            pass
        except BaseException as bug:
            self.bug = bug
            self._round.stopping.set()
