"""`load`, `unload` and `relabel` at a drive that is fed by hand: the label says which volume is in it."""

from __future__ import annotations

import pytest
from hand_fed import HandFed
from ops_world import World

from tapeloom.errors import DeviceError, NotFound
from tapeloom.ops import loading, mounts
from tapeloom.ops.labelling import open_labelling
from tapeloom.ops.mounts import open_configured
from tapeloom.ops.shelves import NAMELESS


class Standing:
    """Drive R1 with a cartridge in it since before it was opened. `barcode`: what its memory says."""

    def __init__(self, cartridge: str | None, barcode: str | None = None):
        self.cartridge, self.barcode = cartridge, barcode
        self.taken_out: list[str] = []

    def open(self, config: object, name: str) -> HandFed:
        device = HandFed(open_configured(config, name))  # type: ignore[arg-type]
        device.taken_out = self.taken_out
        if self.cartridge is not None:
            device.insert(self.cartridge, self.barcode)
        return device


@pytest.fixture
def two(world: World) -> World:
    """Volumes R1-0001 and R1-0002."""
    world.chain(sources=["D1"], R1='{ device = "vtape:tapes/R1", capacity = "500KiB" }')
    world.data("D1", 300_000)
    assert world.backup().exit_status == 0
    world.data("D1", 400_000)
    assert world.backup().exit_status == 0
    return world


@pytest.mark.parametrize("barcode", [None, "A00001L9"])
def test_the_label_says_which_volume_it_is(two: World, monkeypatch: pytest.MonkeyPatch, barcode: str | None) -> None:
    """Also where its memory could not be read when it was labelled, and can be now."""
    monkeypatch.setattr(loading, "open_configured", Standing("R1-0001", barcode).open)
    assert " in drive R1 is volume R1-0001 (" in loading.load(two.config, "R1-0001")
    assert " in drive R1 is volume R1-0001 (" in loading.load(two.config, None, "R1")
    with pytest.raises(NotFound, match=r"is volume R1-0001 \(.*\), and not volume R1-0002 \("):
        loading.load(two.config, "R1-0002")


@pytest.mark.parametrize(("barcode", "called"), [(None, NAMELESS), ("A00001L9", "A00001L9")])
def test_what_nobody_has_looked_at_is_taken_out_too(
    two: World, monkeypatch: pytest.MonkeyPatch, barcode: str | None, called: str
) -> None:
    standing = Standing("R1-0001", barcode)
    monkeypatch.setattr(loading, "open_configured", standing.open)
    assert loading.unload(two.config, "R1") == ("R1", called)
    assert standing.taken_out == ["R1-0001"]


def test_an_empty_drive(two: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "open_configured", Standing(None).open)
    assert loading.unload(two.config, "R1") == ("R1", None)


def relabelled(world: World, label: str, new: str) -> str:
    """The cartridge that the volume is on afterwards."""
    with world.catalog() as catalog:
        old = catalog.volume(label)
    with open_labelling(world.config, ["R1"], "default") as at:
        return at.anew(old, new, None).cartridge


@pytest.mark.parametrize("barcode", [None, "A00001L9"])
def test_a_new_label_goes_over_the_volume_that_the_label_names(
    world: World, monkeypatch: pytest.MonkeyPatch, barcode: str | None
) -> None:
    world.chain(sources=["D1"])
    with open_labelling(world.config, ["R1"], "default") as at:
        for label in ("V1", "V2"):
            at.named(label)
    monkeypatch.setattr(mounts, "open_configured", Standing("V1", barcode).open)
    with pytest.raises(DeviceError, match=r"is volume V1 \(.*\), where the catalog has volume V2 \(.*: nothing was"):
        relabelled(world, "V2", "W2")
    assert relabelled(world, "V1", "W1") == "V1"
    with world.catalog() as catalog:
        assert [one.label for one in catalog.volumes(current=True)] == ["V2", "W1"]
    if barcode is not None:
        monkeypatch.setattr(mounts, "open_configured", Standing("BLANK", barcode).open)
        with pytest.raises(
            DeviceError, match="cartridge A00001L9 in drive R1 is blank, where the catalog has volume W1"
        ):
            relabelled(world, "W1", "X1")
