"""What is read and not there is waited for: it is said what is wanted, and a wrong cartridge goes out again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any

import pytest
from agent_world import snapshot
from hand_fed import HandFed
from ops_world import World

from tapeloom.errors import VolumeWanted
from tapeloom.ops import mounts
from tapeloom.ops.mounts import open_configured
from tapeloom.ops.restore import restore
from tapeloom.ops.verify import verify
from tapeloom.volume import waiting as waits
from tapeloom.volume.waiting import Waiting

SMALL = '{ device = "vtape:tapes/R1", capacity = "500KiB" }'


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(waits.Waiting.__init__.__kwdefaults__, "look_seconds", 0.01)


class Operator:
    """Stands at drive R1, which is fed by hand, and hears what is waited for."""

    def __init__(self) -> None:
        self.heard: SimpleQueue[str | None] = SimpleQueue()
        self.waiting = Waiting(told=self.heard.put)
        self.drive: HandFed | None = None

    def open(self, config: Any, name: str) -> Any:
        device = open_configured(config, name)
        if name != "R1":
            return device
        self.drive = HandFed(device)
        return self.drive

    def put_in(self, cartridge: str) -> None:
        assert self.drive is not None
        self.drive.insert(cartridge)


@pytest.fixture
def operator(monkeypatch: pytest.MonkeyPatch) -> Operator:
    found = Operator()
    monkeypatch.setattr(mounts, "open_configured", found.open)
    return found


@pytest.fixture
def spanning(world: World) -> World:
    """D1 on three cartridges of R1, and on one of R2."""
    world.chain(sources=["D1"], R1=SMALL)
    world.data("D1", 550_000)
    assert world.backup().exit_status == 0
    (copy,) = [one for one in world.object("D1").copies if one.agent == "A"]
    assert copy.volumes == ("R1-0001", "R1-0002", "R1-0003")
    return world


def beside(work: Callable[[], object]) -> Callable[[], object]:
    """Runs it in a thread; gives who waits for what it gave, or raises what it raised."""
    given: list[object] = []
    raised: list[BaseException] = []

    def body() -> None:
        try:
            given.append(work())
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=body, daemon=True)
    thread.start()

    def result() -> object:
        thread.join(30)
        assert not thread.is_alive()
        if raised:
            raise raised[0]
        return given[0]

    return result


def answers(operator: Operator, cartridges: Iterator[str]) -> list[str]:
    """Puts in one for each sentence; gives the sentences."""
    told = []
    for cartridge in cartridges:
        sentence = operator.heard.get(timeout=20)
        while sentence is None:
            sentence = operator.heard.get(timeout=20)
        told.append(sentence)
        operator.put_in(cartridge)
    return told


def test_a_restore_asks_for_one_volume_after_the_other(spanning: World, operator: Operator) -> None:
    out = spanning.folder / "out"
    result = beside(lambda: restore(spanning.config, "D1", out, copy="A", waiting=operator.waiting))
    told = answers(operator, iter(["R1-0001", "R1-0002", "R1-0003"]))
    assert getattr(result(), "exit_status") == 0  # noqa: B009
    assert [one.split(" is wanted")[0] for one in told] == ["volume R1-0001", "volume R1-0002", "volume R1-0003"]
    assert snapshot(out) == snapshot(spanning.folder / "data" / "D1")


def test_a_wrong_cartridge_is_named_and_put_out(spanning: World, operator: Operator) -> None:
    out = spanning.folder / "out"
    result = beside(lambda: restore(spanning.config, "D1", out, copy="A", waiting=operator.waiting))
    told = answers(operator, iter(["R1-0003", "EMPTY", "R1-0001", "R1-0002", "R1-0003"]))
    assert getattr(result(), "exit_status") == 0  # noqa: B009
    assert told[1].startswith("volume R1-0001 is wanted in drive R1: the cartridge in drive R1 is volume R1-0003 (")
    assert told[2] == "volume R1-0001 is wanted in drive R1: the cartridge in drive R1 is blank"
    assert operator.drive is not None
    assert operator.drive.taken_out[:2] == ["R1-0003", "EMPTY"]


def test_another_copy_that_is_there_is_taken_without_waiting(spanning: World, operator: Operator) -> None:
    (spanning.folder / "tapes" / "R2" / "R2-0001.index").rename(spanning.folder / "away")
    result = restore(spanning.config, "D1", spanning.folder / "out", waiting=operator.waiting)
    assert result.exit_status == 0
    assert operator.heard.empty()
    assert result.volumes == ["R3-0001"]
    assert "there is no cartridge R2-0001" in result.faults[0].what


def test_what_no_copy_gives_now_is_waited_for(spanning: World, operator: Operator) -> None:
    tapes, away = spanning.folder / "tapes", spanning.folder / "away"
    (tapes / "R2" / "R2-0001.index").rename(away)
    (tapes / "R3" / "R3-0001.index").rename(spanning.folder / "far away")
    out = spanning.folder / "out"
    result = beside(lambda: restore(spanning.config, "D1", out, waiting=operator.waiting))
    assert "there is no cartridge R2-0001" in str(operator.heard.get(timeout=20))
    away.rename(tapes / "R2" / "R2-0001.index")
    assert operator.heard.get(timeout=20) is None
    assert getattr(result(), "faults") == []  # noqa: B009
    assert snapshot(out) == snapshot(spanning.folder / "data" / "D1")


def test_who_does_not_wait_is_told_what_is_wanted(spanning: World, operator: Operator) -> None:
    with pytest.raises(VolumeWanted, match="volume R1-0001 is not there: drive R1: there is no cartridge") as caught:
        restore(spanning.config, "D1", spanning.folder / "out", copy="A")
    assert caught.value.exit_status == 3


def test_waiting_ends_when_it_is_told_to(spanning: World, operator: Operator) -> None:
    out = spanning.folder / "out"
    result = beside(lambda: restore(spanning.config, "D1", out, copy="A", waiting=operator.waiting))
    answers(operator, iter(["R1-0001"]))
    while (sentence := operator.heard.get(timeout=20)) is None:
        pass
    assert sentence.startswith("volume R1-0002")
    operator.waiting.stop()
    with pytest.raises(VolumeWanted, match="R1-0002"):
        result()


def test_a_cartridge_that_was_taken_away_comes_back(spanning: World, operator: Operator) -> None:
    """A virtual tape: nothing is fed by hand, a file is not there."""
    tape = spanning.folder / "tapes" / "R2" / "R2-0001.index"
    tape.rename(spanning.folder / "away")
    result = beside(lambda: verify(spanning.config, "D1", copy="M1", waiting=operator.waiting))
    assert "there is no cartridge R2-0001" in str(operator.heard.get(timeout=20))
    (spanning.folder / "away").rename(tape)
    assert operator.heard.get(timeout=20) is None
    assert getattr(result(), "exit_status") == 0  # noqa: B009


def test_a_verification_that_does_not_wait_names_what_is_wanted(spanning: World, operator: Operator) -> None:
    result = verify(spanning.config, "D1")
    assert result.exit_status == 1
    assert [one.split(" is not there")[0] for one in result.wanted] == [f"volume R1-000{n}" for n in (1, 2, 3)]
