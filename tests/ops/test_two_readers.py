"""Two drives of one library that read: neither waits for ever for what the other one has."""

from __future__ import annotations

import threading

import pytest
from ops_world import World

from tapeloom.catalog import Catalog
from tapeloom.device import Device
from tapeloom.ops.copying import CopyResult, open_copying
from tapeloom.ops.mounts import Mounts, open_configured
from tapeloom.volume import waiting
from tapeloom.volume.waiting import Waiting

BODY = """
[backup.n.A1]
drive = "R1"
buffers = { B1 = "D1", B2 = "D3" }
[backup.n.A2]
drive = "R2"
buffers = { B1 = "D2", B2 = "D4" }
[restore.v.V1]
drive = "R1"
buffers = { B1 = "D1", B2 = "D2" }
[restore.v.V2]
drive = "R2"
buffers = { B1 = "D3", B2 = "D4" }
[copy.1.C1]
drive = "R3"
buffers = { B1 = "V1.B1", B2 = "V1.B2" }
[copy.1.C2]
drive = "R4"
buffers = { B1 = "V2.B1", B2 = "V2.B2" }
[libraries]
L1 = "vlib:lib?drives=2&slots=8&cartridges=5"
"""
SOURCES = ("D1", "D2", "D3", "D4")


@pytest.fixture
def library(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """D1 and D3 on one volume of a library with two drives, D2 and D4 on another one."""
    monkeypatch.setitem(waiting.Waiting.__init__.__kwdefaults__, "look_seconds", 0.01)
    drives = {"R1": '"vlib:lib?bay=0"', "R2": '"vlib:lib?bay=1"', "R3": '"vtape:tapes/R3"', "R4": '"vtape:tapes/R4"'}
    world.configure(BODY, drives=drives, sources={name: f'"data/{name}"' for name in SOURCES})
    for name in SOURCES:
        world.data(name, 200_000)
    assert world.backup().exit_status == 0
    return world


def copied(world: World, *, patient: bool) -> CopyResult:
    with open_copying(world.config) as copying:
        return copying.run(patient=patient)


@pytest.mark.parametrize("patient", [True, False], ids=["patient", "impatient"])
def test_what_two_agents_want_goes_from_one_to_the_other(library: World, patient: bool) -> None:
    """Also where nobody is waited for: nobody has to put anything in."""
    result = copied(library, patient=patient)
    assert result.exit_status == 0
    assert (len(result.rounds), result.left, result.unpaid) == (1, [], [])
    for name, agent in zip(SOURCES, ("C1", "C1", "C2", "C2"), strict=True):
        assert library.status(name)[agent] == "complete"


def test_each_wants_what_the_other_one_has(library: World) -> None:
    config = library.config
    both = threading.Barrier(2, timeout=20)
    failed: list[BaseException] = []
    with Catalog.open(library.state, readonly=True) as catalog:
        first, second = catalog.volumes("L1")
        known = {one.id: one for one in (first, second)}

        def reads(name: str, device: Device, wanted: list[object]) -> None:
            try:
                mounts = Mounts(config, known.__getitem__, {name: device}, waiting=Waiting())
                mounts.place(wanted[0], threading.Event())  # type: ignore[arg-type]
                both.wait()
                mounts.place(wanted[1], threading.Event())  # type: ignore[arg-type]
                mounts.let_go()
            except BaseException as error:
                failed.append(error)

        with open_configured(config, "R1") as one, open_configured(config, "R2") as other:
            threads = [
                threading.Thread(target=reads, args=("R1", one, [first.id, second.id]), daemon=True),
                threading.Thread(target=reads, args=("R2", other, [second.id, first.id]), daemon=True),
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(30)
            assert not any(thread.is_alive() for thread in threads)
    assert failed == []
