"""The virtual library: "vlib:DIR", a folder with cartridges, and one file that says where each of them is.

::

    DIR/library.json          what is where; changed in one step, under the lock
    DIR/.library.lock
    DIR/NAME.tape .index      the cartridges, as virtual tapes have them
    DIR/.bay0.held ...        who has the drive in that bay

A cartridge that no place is known for (put into the folder by hand, or just made when the power went) goes to the first
free slot at the next scan.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from tapeloom import news
from tapeloom.device.tape import CARTRIDGE_NAME, check_cartridge_name
from tapeloom.device.virtual import make_cartridge
from tapeloom.errors import DeviceError, UsageError
from tapeloom.library.contract import Element, Kind
from tapeloom.vlib import Shape

STATE_FILE: Final = "library.json"
LOCK_FILE: Final = ".library.lock"
VERSION: Final = 1
FIRST: Final = {Kind.TRANSPORT: 1, Kind.BAY: 256, Kind.SLOT: 1024, Kind.IMPORT_EXPORT: 32768}
"""Addresses, as real changers have them: far enough apart that a library can grow."""


class _Place(Struct, frozen=True):
    """What is in an element: a cartridge, and the slot that it came from."""

    cartridge: str
    source: int | None = None


class VirtualChanger:
    """See `tapeloom.library.contract.Changer`. A folder that holds no library becomes one, and that is told; where it
    has no cartridge either, `making` is asked before, and raises where it should not be."""

    def __init__(self, shape: Shape, shown: str, making: Callable[[], None] = lambda: None):
        self.shown = shown
        self.folder = shape.folder
        self._shape = shape
        self._closed = False
        self._depth = 0
        if not _holds_anything(shape.folder):
            making()
        try:
            shape.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._folder = os.open(shape.folder, os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise self._unusable(error) from error
        try:
            self._lock = os.open(LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600, dir_fd=self._folder)
        except OSError as error:
            os.close(self._folder)
            raise self._unusable(error) from error
        try:
            with self.exclusive():
                self._prepare()
        except BaseException:
            self.close()
            raise

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        if not self._depth:
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if not self._depth:
                fcntl.flock(self._lock, fcntl.LOCK_UN)

    def inventory(self) -> Sequence[Element]:
        places = self._read()
        here = self._cartridges()
        return [self._element(one, places, here) for one in self._elements()]

    def move(self, origin: Element, target: Element) -> None:
        what = f"{self.shown}: moving {origin.barcode or 'a cartridge'} from {origin.shown} to {target.shown}"
        with self.exclusive():
            places = self._read()
            if origin.address not in places:
                raise DeviceError(f"{what}: there is no cartridge at the place to take it from")
            if target.address in places:
                raise DeviceError(f"{what}: the place to put it is full")
            if self._shape.seconds:
                time.sleep(self._shape.seconds)
            moved = places.pop(origin.address)
            source = origin.address if origin.kind is not Kind.BAY else moved.source
            places[target.address] = replace(moved, source=source if target.kind is Kind.BAY else None)
            self._write(places)

    def scan(self) -> None:
        """What is in the folder and in no element goes to a free slot; what is gone from it leaves its element, unless
        that is a bay, whose drive may know better."""
        with self.exclusive():
            places = self._read()
            here = self._cartridges()
            bays = {one.address for one in self._elements() if one.kind is Kind.BAY}
            kept = {at: one for at, one in places.items() if one.cartridge in here or at in bays}
            self._settle(kept, sorted(here - {one.cartridge for one in kept.values()}))
            self._write(kept)

    def put(self, names: Iterable[str]) -> None:
        """Makes blank cartridges and puts them into the import/export slots, as somebody in front of a library would.
        Raises UsageError."""
        with self.exclusive():
            places = self._read()
            here = self._cartridges()
            free = [one for one in self._elements() if one.kind is Kind.IMPORT_EXPORT and one.address not in places]
            wanted = [check_cartridge_name(name) for name in dict.fromkeys(names)]
            for name in wanted:
                if name in here:
                    raise UsageError(f"{self.shown}: there is a cartridge {name} already")
            if len(wanted) > len(free):
                raise UsageError(
                    f"{self.shown}: {len(wanted)} cartridges do not go into {len(free)} free import/export slots; "
                    "`import-export --in` empties them"
                )
            for name, slot in zip(wanted, free, strict=False):
                self._make(name)
                places[slot.address] = _Place(name)
                self._write(places)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            os.close(self._lock)
            os.close(self._folder)

    # ----- what is where -----

    def _elements(self) -> Iterator[Element]:
        counts = {
            Kind.BAY: self._shape.drives,
            Kind.SLOT: self._shape.slots,
            Kind.IMPORT_EXPORT: self._shape.import_export,
        }
        for kind, count in (*counts.items(), (Kind.TRANSPORT, 1)):
            for n in range(count):
                yield Element(FIRST[kind] + n, kind, n + (kind is not Kind.BAY))

    def _element(self, one: Element, places: Mapping[int, _Place], here: set[str]) -> Element:
        serial = f"{self.folder.name}-{one.number}" if one.kind is Kind.BAY else None
        place = places.get(one.address)
        if place is None:
            return replace(one, serial=serial)
        gone = None if place.cartridge in here else "its files are not in the folder any more"
        return replace(one, full=True, barcode=place.cartridge, source=place.source, exception=gone, serial=serial)

    def _prepare(self) -> None:
        """A folder that is no library yet becomes one; one that has become smaller is refused, larger is welcome."""
        new = not self._exists(STATE_FILE)
        if new:
            here = sorted(self._cartridges())
            for n in range(self._shape.cartridges):
                name = f"V{n + 1:05d}L9"
                if name not in here:
                    self._make(name)
                    here.append(name)
            places: dict[int, _Place] = {}
            self._settle(places, here)
            self._write(places)
            news.tell(
                f"Made {self.shown} in {self.folder}: {_counted(self._shape.drives, 'drive')}, "
                f"{_counted(self._shape.slots, 'slot')}, {_counted(len(here), 'cartridge')}."
            )
            return
        known = {one.address for one in self._elements()}
        for at, place in self._read().items():
            if at not in known:
                raise UsageError(
                    f"{self.shown}: it is configured with {self._shape.drives} drives, {self._shape.slots} slots and "
                    f"{self._shape.import_export} import/export slots, but cartridge {place.cartridge} is in an "
                    f"element behind them ({at}): give it as many as it had"
                )

    def _settle(self, places: dict[int, _Place], names: Iterable[str]) -> None:
        free = (one for one in self._elements() if one.kind is Kind.SLOT and one.address not in places)
        for name in names:
            slot = next(free, None)
            if slot is None:
                raise UsageError(f"{self.shown}: there is no free slot for cartridge {name}: give it more slots")
            places[slot.address] = _Place(name)

    def _cartridges(self) -> set[str]:
        files = set(os.listdir(self._folder))
        names = {file.removesuffix(".index") for file in files if file.endswith(".index")}
        return {name for name in names if f"{name}.tape" in files and CARTRIDGE_NAME.fullmatch(name)}

    def _make(self, name: str) -> None:
        make_cartridge(self._folder, name, f"{self.shown}: new cartridge {name}")

    # ----- the file -----

    def _exists(self, name: str) -> bool:
        try:
            os.stat(name, dir_fd=self._folder)
        except FileNotFoundError:
            return False
        return True

    def _read(self) -> dict[int, _Place]:
        try:
            with open(os.open(STATE_FILE, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._folder), "rb") as file:
                return _places(json.load(file))
        except (ValueError, TypeError, KeyError, AttributeError):
            raise DeviceError(
                f"{self.shown}: {self.folder / STATE_FILE} is damaged, or from a newer version: move it away, and all "
                "cartridges are in slots again"
            ) from None
        except OSError as error:
            raise self._unusable(error) from error

    def _write(self, places: Mapping[int, _Place]) -> None:
        rows = [{"at": at, "cartridge": one.cartridge, "source": one.source} for at, one in sorted(places.items())]
        content = json.dumps({"version": VERSION, "places": rows}, indent=1).encode() + b"\n"
        beside = f".{STATE_FILE}.part"
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
            with open(os.open(beside, flags, 0o600, dir_fd=self._folder), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.rename(beside, STATE_FILE, src_dir_fd=self._folder, dst_dir_fd=self._folder)
            os.fsync(self._folder)
        except OSError as error:
            raise self._unusable(error) from error

    def _unusable(self, error: OSError) -> DeviceError:
        hint = ": free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        return DeviceError(
            f"{self.shown}: its folder {self.folder} cannot be used ({error.strerror}){hint}", errno=error.errno or 0
        )


def _holds_anything(folder: Path) -> bool:
    """Whether a library is in the folder, or a cartridge that one could be made of."""
    return os.path.lexists(folder / STATE_FILE) or any(folder.glob("*.tape"))


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _places(found: Any) -> dict[int, _Place]:
    if found["version"] != VERSION:
        raise ValueError("another version")
    places = {}
    for row in found["places"]:
        at, name, source = row["at"], row["cartridge"], row["source"]
        if not (isinstance(at, int) and isinstance(name, str) and CARTRIDGE_NAME.fullmatch(name)):
            raise ValueError("no place")
        if not (source is None or isinstance(source, int)):
            raise ValueError("no source")
        places[at] = _Place(name, source)
    return places
