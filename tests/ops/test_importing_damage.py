"""Damage here and there on all volumes of a set, and the state folder gone: what is made again is true."""

from __future__ import annotations

import shutil
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest
from import_world import DRIVES, ImportWorld, canonical, differences
from ops_world import flip, place_in_file

from tapeloom import _kernel
from tapeloom.catalog import VolumeState
from tapeloom.errors import FormatError
from tapeloom.ops.importing import Imported
from tapeloom.ops.mounts import open_configured
from tapeloom.ops.verify import verify
from tapeloom.volume.header import Header, Kind, parse, parse_header

SEEDS = range(4)
WAYS = ("payload", "header", "record", "label", "cut", "nothing")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> ImportWorld:
    world = ImportWorld(tmp_path_factory.mktemp("made"))
    world.make()
    return world


@pytest.fixture
def world(made: ImportWorld, tmp_path: Path) -> ImportWorld:
    shutil.copytree(made.folder, tmp_path, dirs_exist_ok=True, symlinks=True)
    return ImportWorld(tmp_path)


@dataclass
class Tape:
    """What stands on a cartridge now: by position a sound header, or None; a filemark has no row. `harmed` are
    positions whose payload is damaged."""

    headers: dict[int, Header | None] = field(default_factory=dict)
    harmed: set[int] = field(default_factory=set)


def looked_at(world: ImportWorld) -> dict[tuple[str, str], Tape]:
    """All cartridges, block by block."""
    found: dict[tuple[str, str], Tape] = defaultdict(Tape)
    for drive in DRIVES:
        with open_configured(world.config, drive) as device:
            for cartridge in device.cartridges():
                tape = found[drive, cartridge]
                device.load(cartridge)
                device.to_end_of_data()
                end = device.position().position
                device.rewind()
                buffer = memoryview(bytearray(device.block_bytes_max))
                for position in range(end):
                    raw = buffer[: device.read_into(buffer)]
                    try:
                        tape.headers[position] = parse(raw, crc32c=_kernel.crc32c)[0] if len(raw) else None
                    except FormatError:
                        tape.harmed.add(position)
                        try:
                            tape.headers[position] = parse_header(raw, crc32c=_kernel.crc32c)
                        except FormatError:
                            tape.headers[position] = None
    return found


def harm(world: ImportWorld, whole: dict[tuple[str, str], Tape], chance: Random) -> list[str]:
    """One to four places on each of most volumes. What was done, for whoever reads a failure."""
    done = []
    for (drive, cartridge), tape in whole.items():
        path = world.folder / "tapes" / drive / f"{cartridge}.tape"
        for _ in range(chance.randint(0, 4)):
            way = chance.choice(WAYS)
            rows = [(at, one) for at, one in tape.headers.items() if one is not None]
            objects = [at for at, one in rows if one.kind is Kind.OBJECT]
            records = [at for at, one in rows if one.kind is Kind.RECORD]
            position = chance.choice(records if way == "record" or not objects else objects)
            position = 0 if way == "label" else position
            if way == "cut":
                with ExitStack() as stack:
                    device = stack.enter_context(open_configured(world.config, drive))
                    device.load(cartridge)
                    device.locate(chance.choice(objects or records))
                    device.write_filemarks()  # what stood behind it is gone
                done.append(f"{cartridge} {way}")
                break  # positions further back are no more
            if way != "nothing":
                at, length = place_in_file(path, position)
                head = chance.randrange(256)
                flip(
                    path, at + (head if way in ("header", "label") else chance.randrange(min(256, length - 1), length))
                )
                done.append(f"{cartridge} {way} at {position}")
    return done


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_the_damage(world: ImportWorld, seed: int) -> None:
    chance = Random(seed)
    whole = looked_at(world)
    done = harm(world, whole, chance)
    tapes = looked_at(world)
    world.lose_state()
    labels = world.labels()
    chance.shuffle(labels)
    ways: dict[bool, list[str]] = defaultdict(list)
    rows: list[Imported] = []
    for label in labels:  # by cartridge, in any order
        scan = chance.random() < 0.2
        ways[scan].append(label)
        rows += world.import_(label, appendable=False, scan=scan).volumes
    after = canonical(world.state)
    assert {row.cartridge for row in rows if row.id or row.why} == set(labels), done
    receipts_hold(tapes, after, whole)
    # Each in the way it came: of a block without a sound header a table may speak, and a scan never does.
    again = [row for scan, some in ways.items() for row in world.import_(*some, appendable=False, scan=scan).volumes]
    assert differences(after, canonical(world.state)) == [], done
    assert {(row.objects, row.receipts) for row in again if row.id} == {(0, 0)}, done
    names_damage(world, tapes, after)
    nothing_is_written_to(world)


def receipts_hold(tapes: dict[tuple[str, str], Tape], after: dict, whole: dict[tuple[str, str], Tape]) -> None:
    """Each block with a receipt stands there; where its header cannot be read any more, a table that did speak of it
    is what was believed, and it did stand there while the tapes were whole. (The catalog that is gone need not have
    known: it may have missed a receipt.)"""
    for ((object, _, _), volume, _), row in after["receipts"].items():
        on = after["volumes"][volume]
        place = on["drive"], on["cartridge"]
        for _, seq, blocks, position in row["runs"]:
            for ahead in range(blocks):
                at = position + ahead
                assert at in tapes[place].headers, (on["label"], at, "is behind the end")
                header = tapes[place].headers[at]
                if header is None:
                    assert at in tapes[place].harmed
                    header = whole[place].headers[at]
                assert header is not None
                assert (str(header.object), header.seq) == (object, seq + ahead), (on["label"], at)


def names_damage(world: ImportWorld, tapes: dict[tuple[str, str], Tape], after: dict) -> None:
    """What verify finds are the places that are damaged; of a volume without a sound label it says that it cannot be
    read. A block that a copy has twice, since the catalog missed a receipt, is read in one of its places."""
    result = verify(world.config)
    found = {(copy, volume, first) for copy, volume, first in canonical(world.state)["damages"]}
    expected = set()
    places: dict[tuple[tuple, int], list[tuple[str, bool]]] = defaultdict(list)
    for (copy, volume, _), row in after["receipts"].items():
        on = after["volumes"][volume]
        harmed = tapes[on["drive"], on["cartridge"]].harmed
        for _, seq, blocks, position in row["runs"]:
            expected |= {(copy, volume, seq + ahead) for ahead in range(blocks) if position + ahead in harmed}
            for ahead in range(blocks):
                places[copy, seq + ahead].append((volume, position + ahead in harmed))
    assert found <= expected
    legible = {id for id, row in after["volumes"].items() if row["state"] != "damaged"}
    checked = {(str(one.object.id), one.copy.agent, str(one.copy.job)) for one in result.checked}
    named = {one[:2] for one in found}
    for (copy, _), stands in places.items():
        if copy in checked and all(harmed for _, harmed in stands):
            assert result.exit_status
            assert any((copy, volume) in named for volume, _ in stands) or not legible.issuperset(v for v, _ in stands)


def nothing_is_written_to(world: ImportWorld) -> None:
    """The next backup leaves all of these volumes alone: nobody knows their state."""
    with world.catalog() as catalog:
        states = {one.cartridge: one.state for one in catalog.volumes()}
        offered = [one for drive in DRIVES for one in (*catalog.appendable(drive), *catalog.scratch(drive))]
    assert VolumeState.APPENDABLE not in states.values()
    assert VolumeState.SCRATCH not in states.values()
    assert offered == []
    sizes = {path: path.read_bytes() for drive in DRIVES for path in world.tapes(drive)}
    world.backup(["nightly"])
    assert {path: path.read_bytes() for path in sizes} == sizes
