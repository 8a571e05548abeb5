"""The virtual library: moves, drives in its bays, several processes, and power cuts between any two steps."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from tapeloom.errors import DeviceError, HeldError, NoMedium, UsageError
from tapeloom.library import Kind, Library, open_library
from tapeloom.library import virtual as module
from tapeloom.library.bay import BayDrive, open_bay
from tapeloom.timing import LTO9


def opened(folder: Path, options: str = "drives=2&slots=6&import_export=2&cartridges=3") -> Library:
    return open_library(f"vlib:{folder / 'lib'}?{options}", name="L1")


def drive(library: Library, folder: Path, bay: int, **options: int | str) -> BayDrive:
    more = "".join(f"&{key}={value}" for key, value in options.items())
    magazine = library.magazine(library.bay(bay).address)
    return open_bay(f"vlib:{folder / 'lib'}?bay={bay}{more}", name=f"R{bay + 1}", magazine=magazine)


def where(library: Library) -> dict[str, str]:
    return {one.barcode or "?": one.shown for one in library.inventory() if one.full}


HOME = {"V00001L9": "slot 1", "V00002L9": "slot 2", "V00003L9": "slot 3"}


def test_it_is_made_with_blank_cartridges(tmp_path: Path) -> None:
    assert where(opened(tmp_path)) == HOME
    assert where(opened(tmp_path)) == HOME  # which is not done twice


def test_a_drive_in_a_bay(tmp_path: Path) -> None:
    library = opened(tmp_path)
    with drive(library, tmp_path, 1) as device:
        assert device.cartridges() == sorted(HOME)
        device.load("V00002L9")
        assert where(library)["V00002L9"] == "bay 1"
        device.write(b"block" * 1000)
        device.write_filemarks()
        device.load("V00001L9")
        assert where(library) == HOME | {"V00001L9": "bay 1"}
        device.load("V00002L9")
        buffer = bytearray(8192)
        assert device.read_into(buffer) == 5000
        assert not device.makes_cartridges
        assert not device.fed_by_hand
        with pytest.raises(UsageError, match="import/export slots"):
            device.new_cartridge("X")
        with pytest.raises(NoMedium, match="there is no cartridge X"):
            device.load("X")
    assert where(library) == HOME


def test_two_drives_never_have_one_cartridge(tmp_path: Path) -> None:
    library = opened(tmp_path)
    with drive(library, tmp_path, 0) as first, drive(library, tmp_path, 1) as second:
        first.load("V00001L9")
        second.load("V00002L9")
        assert first.cartridges() == ["V00001L9", "V00003L9"]
        with pytest.raises(NoMedium, match="V00002L9 is in bay 1"):
            first.load("V00002L9")
        assert where(library) == HOME | {"V00002L9": "bay 1"}  # who wants what he cannot have holds nothing
        second.load("V00001L9")
        first.load("V00002L9")


def test_what_a_dead_process_left_in_a_bay_is_in_the_drive(tmp_path: Path) -> None:
    library = opened(tmp_path)
    library.bring(library.bay(0).address, "V00003L9")
    with drive(library, tmp_path, 0) as device:
        assert device.loaded == "V00003L9"
        device.rewind()
    assert where(library) == HOME


def test_a_drive_is_one_process_s_at_a_time(tmp_path: Path) -> None:
    library = opened(tmp_path)
    with drive(library, tmp_path, 0), pytest.raises(HeldError, match=r"drive R1 \(vlib:.*held by pid"):
        drive(library, tmp_path, 0)


def test_troubles_of_a_drive(tmp_path: Path) -> None:
    library = opened(tmp_path)
    with drive(library, tmp_path, 0, fail_write=2) as device:
        device.load("V00001L9")
        device.write(b"one" * 1000)
        with pytest.raises(DeviceError, match="input or output failed"):
            device.write(b"two" * 1000)
    assert where(library) == HOME
    with pytest.raises(UsageError, match="has no option 'nonsense'; it has bay, model, rate, "):
        drive(library, tmp_path, 0, nonsense=1)


def test_a_model_of_a_drive(tmp_path: Path) -> None:
    """What is in it already takes no time, the rest what it takes in any drive of that model."""
    library = opened(tmp_path)
    library.bring(library.bay(0).address, "V00003L9")
    with drive(library, tmp_path, 0, model="lto9", time="simulated") as device:
        assert (device.loaded, device.simulated_seconds) == ("V00003L9", 0.0)
        device.load("V00001L9")
        assert device.simulated_seconds == pytest.approx(LTO9.mount)
        device.write(bytes(1 << 20))
        device.write_filemarks()
        counts = device.model_counts()
        assert counts is not None
        assert (counts.bytes, counts.filemarks) == (1 << 20, 1)
    assert where(library) == HOME


def test_cartridges_come_and_go(tmp_path: Path) -> None:
    library = opened(tmp_path)
    for part in ("tape", "index"):
        (tmp_path / "lib" / f"V00002L9.{part}").rename(tmp_path / f"V00002L9.{part}")
    gone = next(one for one in library.inventory() if one.barcode == "V00002L9")
    assert gone.exception is not None
    with pytest.raises(NoMedium, match="not in the folder any more"):
        library.bring(library.bay(0).address, "V00002L9")
    library.scan()
    assert "V00002L9" not in where(library)
    for part in ("tape", "index"):
        (tmp_path / f"V00002L9.{part}").rename(tmp_path / "lib" / f"NEW.{part}")
    library.scan()
    assert where(library)["NEW"] == "slot 2"


def test_it_may_grow_and_not_shrink_under_a_cartridge(tmp_path: Path) -> None:
    opened(tmp_path).close()
    assert sum(one.kind is Kind.SLOT for one in opened(tmp_path, "slots=30").inventory()) == 30
    with pytest.raises(UsageError, match="V00003L9 is in an element behind"):
        opened(tmp_path, "slots=2")


@pytest.mark.parametrize("damage", ["{", '{"version": 9}', '{"version": 1, "places": [{"at": "x"}]}', "[]"])
def test_a_damaged_file_is_said(tmp_path: Path, damage: str) -> None:
    opened(tmp_path).close()
    (tmp_path / "lib" / "library.json").write_text(damage)
    with pytest.raises(DeviceError, match=r"library.json is damaged"):
        opened(tmp_path)


def shuffle(folder: Path, seed: int, moves: int) -> None:
    """Brings random cartridges into a drive and back, as a process of its own."""
    chance = Random(seed)
    library = opened(folder)
    bay = library.bay(seed).address
    for _ in range(moves):
        try:
            library.bring(bay, f"V{chance.randint(1, 3):05d}L9")
        except NoMedium:
            continue
        if chance.random() < 0.5:
            library.put_away(bay)


def test_two_processes_that_move_at_once(tmp_path: Path) -> None:
    opened(tmp_path).close()
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=shuffle, args=(tmp_path, seed, 60)) for seed in (0, 1)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    found = Counter(one.barcode for one in opened(tmp_path).inventory() if one.full)
    assert found == Counter(dict.fromkeys(HOME, 1))


def _killed(run: Callable[[], None], step: str, number: int, after: bool) -> bool:
    """Runs it in a child that is killed at the `number`th call of os.`step`. False: it came to its end before."""
    child = os.fork()
    if child == 0:
        real, left = getattr(os, step, None), [number]
        if real is None:
            os._exit(0)

        def call(*arguments, **more):
            left[0] -= 1
            if left[0] == 0 and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            result = real(*arguments, **more)
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        setattr(module.os, step, call)
        status = 70
        try:
            run()
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0
    return False


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", ["open", "fsync", "rename", "listdir"])
def test_a_power_cut_between_any_two_steps(tmp_path: Path, step: str, after: bool) -> None:
    """Making the library, putting a cartridge in, moving it into a drive and out: whenever it ends, nothing is in two
    places or in none, and the next one goes on."""

    def run() -> None:
        library = opened(tmp_path)
        with library.exclusive() as changer:
            if where(library).get("X00001") is None:
                changer.put(["X00001"])  # type: ignore[attr-defined]
        library.bring(library.bay(0).address, "V00001L9")
        library.bring(library.bay(0).address, "V00002L9")
        library.put_away(library.bay(0).address)

    number = 1
    while _killed(run, step, number, after):
        library = opened(tmp_path)
        library.scan()
        found = Counter(one.barcode for one in library.inventory() if one.full)
        assert set(found.values()) == {1}
        assert set(found) >= set(HOME)
        library.close()
        number += 1
    assert number > 1
    assert json.loads((tmp_path / "lib" / "library.json").read_text())["version"] == 1
