"""A block with the right checksums that does not open or decompress: another copy's is taken, if there is one."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from agent_world import snapshot
from ops_world import World, place_in_file

from tapeloom import _kernel
from tapeloom.errors import RestoreError, SealError
from tapeloom.ops.preparing import Request
from tapeloom.ops.restore import RestoreResult, restore_as_asked
from tapeloom.ops.verify import verify
from tapeloom.seal import Key, KeyRing, new_key_file

DRIVES = {"A": "R1", "M1": "R2", "M2": "R3"}
HEADER = 512


@dataclass
class Coded:
    """Three copies of D1."""

    world: World
    sealed: bool

    def spoil(self, agent: str, *seqs: int, at: int = HEADER) -> None:
        """Changes a byte, and makes the checksums fit again."""
        (tape,) = self.world.tapes(DRIVES[agent])
        for run in self.world.runs(self.world.object("D1"), agent):
            for seq in seqs:
                if run.seq <= seq < run.seq + run.blocks:
                    where, length = place_in_file(tape, run.position + seq - run.seq)
                    with tape.open("r+b") as file:
                        file.seek(where)
                        block = bytearray(file.read(length))
                        block[at] ^= 0x55
                        block[24:28] = _kernel.crc32c(memoryview(block)[HEADER:]).to_bytes(4, "little")
                        block[12:16] = bytes(4)
                        block[12:16] = _kernel.crc32c(memoryview(block)[:HEADER]).to_bytes(4, "little")
                        file.seek(where)
                        file.write(block)

    def restored(self, target: str = "out", **more: object) -> RestoreResult:
        request = Request("D1", **more)  # type: ignore[arg-type]
        return restore_as_asked(self.world.config, request, self.world.folder / target)

    def identical(self, target: str = "out") -> bool:
        return snapshot(self.world.folder / target) == snapshot(self.world.folder / "data" / "D1")


@pytest.fixture(params=["compressed", "sealed"])
def coded(world: World, request: pytest.FixtureRequest) -> Coded:
    sealed = request.param == "sealed"
    new_key_file(world.folder / "k1.key", "K1")
    how = 'encrypt = "K1"' if sealed else 'compress = "zstd"'
    world.chain(sources=["D1"], given={"D1": f'{{ paths = ["data/D1"], digest = "sha256", {how} }}'})
    world.file.write_text(world.file.read_text() + '[keys]\nK1 = "k1.key"\n')
    folder = world.data("D1", 600_000, files=10)
    for n, file in enumerate(sorted(folder.iterdir())):
        file.write_bytes((f"{n} is a line of the file {file.name}\n".encode() * 4_000)[:60_000] + file.read_bytes())
    assert world.backup().exit_status == 0
    with world.catalog() as catalog:
        assert (catalog.object(world.object("D1").id).blocks or 0) > 40
    return Coded(world, sealed)


def first_coded(coded: Coded, *, after: int = 3) -> int:
    """The first block from `after` on that is not stored as it was."""
    if coded.sealed:
        return after
    item = coded.world.object("D1")
    met = coded.world.on_tape("R1", "R1-0001")
    of_it = [one.header for one in met if one.header and one.header.object == item.id and one.header.seq >= after]
    return next(header.seq for header in of_it if header.codec)


def test_another_copys_block_is_taken(coded: Coded) -> None:
    bad = first_coded(coded)
    coded.spoil("A", bad)
    assert verify(coded.world.config, "D1").exit_status == 0, "the checksums are right"
    result = coded.restored()
    assert (result.exit_status, result.lost, result.unproven) == (0, None, [])
    assert coded.identical()
    (fault,) = result.faults
    assert (fault.copy, fault.seq) == ("A", bad)
    assert "does not open" in fault.what if coded.sealed else "cannot be decompressed" in fault.what
    assert coded.world.status("D1")["A"] == "complete", "what is no checksum's matter is not taken down"


def test_many_blocks_of_two_copies(coded: Coded) -> None:
    blocks = coded.world.object("D1").blocks or 0
    odd = [first_coded(coded, after=seq) for seq in range(5, blocks - 2, 9)]
    even = sorted({first_coded(coded, after=seq) for seq in range(9, blocks - 2, 9)} - set(odd))
    coded.spoil("A", 0, *odd)
    coded.spoil("M1", 0, *even)
    result = coded.restored()
    assert (result.exit_status, result.lost) == (0, None)
    assert coded.identical()
    assert {fault.copy for fault in result.faults} == {"A", "M1"}


def test_each_block_is_named_once_where_a_volume_is_away_too(coded: Coded) -> None:
    bad = first_coded(coded, after=9)
    coded.spoil("M1", bad)
    (tape,) = coded.world.tapes("R1")
    tape.rename(tape.with_name("away"))
    result = coded.restored()
    assert coded.identical()
    away = [fault for fault in result.faults if fault.copy == "A"]
    named = [seq for fault in away for seq in range(fault.where.seq, fault.where.last + 1)]
    assert named == list(range(coded.world.object("D1").blocks or 0))
    assert [fault.seq for fault in result.faults if fault.copy == "M1"] == [bad]
    assert str(away[0]).startswith(f"blocks 0 to {bad} on A's volume R1-0001, position ")


def test_where_no_copy_has_it_the_rest_is_had(coded: Coded) -> None:
    bad = first_coded(coded)
    for agent in DRIVES:
        coded.spoil(agent, bad)
    with pytest.raises(RestoreError, match=f"block {bad} is on none of the copies that can be read"):
        coded.restored("broken")
    result = coded.restored(partial=True)
    assert result.exit_status == 1
    assert result.lost is not None
    assert f"block {bad} " in result.lost
    assert "does not open" in result.lost if coded.sealed else "cannot be decompressed" in result.lost
    assert 1 <= len(result.missing) <= 2
    there = {path.name for path in (coded.world.folder / "out").iterdir()}
    assert there | set(result.missing) == {path.name for path in (coded.world.folder / "data" / "D1").iterdir()}
    assert {fault.copy for fault in result.faults} == set(DRIVES)


def test_one_path_behind_a_bad_block(coded: Coded) -> None:
    """Only some blocks are read, and still another copy helps."""
    blocks = coded.world.object("D1").blocks or 0
    coded.spoil("A", *{first_coded(coded, after=seq) for seq in range(blocks - 12, blocks - 3)})
    result = coded.restored("path", paths=("file-9", "file-2"))
    assert result.exit_status == 0
    for name in ("file-9", "file-2"):
        got = (coded.world.folder / "path" / name).read_bytes()
        assert got == (coded.world.folder / "data" / "D1" / name).read_bytes()


def test_a_bad_block_and_a_damaged_one(coded: Coded) -> None:
    bad = first_coded(coded)
    coded.spoil("A", bad)
    (tape,) = coded.world.tapes("R2")
    item = coded.world.object("D1")
    for run in coded.world.runs(item, "M1"):
        if run.seq <= bad < run.seq + run.blocks:
            where, _ = place_in_file(tape, run.position + bad - run.seq)
            data = bytearray(tape.read_bytes())
            data[where + HEADER + 9] ^= 0xFF
            tape.write_bytes(data)
    result = coded.restored()
    assert result.exit_status == 0
    assert coded.identical()
    assert [fault.copy for fault in result.faults] == ["A", "M1"]
    assert coded.world.status("D1") == {"A": "complete", "M1": "damaged", "M2": "complete"}


def test_a_wrong_key_is_no_damage(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    key = new_key_file(world.folder / "k1.key", "K1")
    world.chain(sources=["D1"], given={"D1": '{ paths = ["data/D1"], encrypt = "K1" }'})
    world.file.write_text(world.file.read_text() + '[keys]\nK1 = "k1.key"\n')
    world.data("D1", 300_000)
    assert world.backup().exit_status == 0
    coded = Coded(world, sealed=True)
    monkeypatch.setattr(KeyRing, "find", lambda self, id: Key(key.id, bytes(32), "K1"))
    for partial in (False, True):
        with pytest.raises(RestoreError, match=r"K1\), but that does not open the data key") as caught:
            coded.restored(f"out-{partial}", single=True, partial=partial)
        assert "on none of the copies" not in str(caught.value)
    monkeypatch.undo()
    (world.folder / "k1.key").unlink()
    with pytest.raises(SealError, match="which is not here"):
        coded.restored("without")
    assert set(world.status("D1").values()) == {"complete"}
