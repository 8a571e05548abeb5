"""Which cartridge is written to, and which never."""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hand_fed import HandFed

from tapeloom.catalog import Catalog, JobStatus, VolumeState
from tapeloom.catalog.ledger import JobLedger
from tapeloom.device import Device, open_drive
from tapeloom.errors import CatalogOlderThanTape, DeviceError, NoMedium, PositionLost, VolumeWanted, WriteProtected
from tapeloom.ident import new_id
from tapeloom.volume.labelling import stands_at
from tapeloom.volume.mounting import Mounted, Where, mount_for_append
from tapeloom.volume.records import JobStart, encode
from tapeloom.volume.waiting import Waiting

DAILY = Where("R1", "daily")


class Bench:
    """A catalog and a drive."""

    def __init__(self, folder: Path):
        self.catalog = Catalog.open(folder / "state")
        self.stack = open_drive("memory:", name="R1")
        self.passed: list[str] = []

    def mount(self, device: Device | HandFed, where: Where = DAILY, *, job: JobLedger | None = None) -> Mounted:
        ledger = job or JobLedger(self.catalog, new_id())
        return mount_for_append(
            device,  # type: ignore[arg-type]
            ledger,
            where=where,
            block_bytes=16384,
            software="test",
            passed=self.passed,
        )

    def write(self, name: str, *blocks: bytes) -> None:
        """Somebody else does."""
        if name not in self.stack.cartridges():
            self.stack.new_cartridge(name)
        self.stack.load(name)
        for block in blocks:
            self.stack.write(block)
        self.stack.write_filemarks()
        self.stack.unload()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.stack.close()
    made.catalog.close()


@pytest.fixture
def by_hand(bench: Bench) -> HandFed:
    return HandFed(bench.stack)


def test_a_blank_cartridge_without_a_name_is_called_as_it_is_labelled(bench: Bench, by_hand: HandFed) -> None:
    by_hand.insert("on the shelf 1".replace(" ", "_"))
    mounted = bench.mount(by_hand)
    assert (mounted.label, by_hand.loaded) == ("R1-0001", "R1-0001")
    volume = bench.catalog.volume("R1-0001")
    assert (volume.home, volume.cartridge, volume.pool, volume.state) == (
        "R1",
        "R1-0001",
        "daily",
        VolumeState.APPENDABLE,
    )


@pytest.mark.parametrize("barcode", [None, "T00001L9"])
def test_its_label_says_who_it_is_when_it_comes_again(bench: Bench, by_hand: HandFed, barcode: str | None) -> None:
    """Also where its memory can be read now, and could not when it was labelled."""
    by_hand.insert("a")
    first = bench.mount(by_hand)
    by_hand.unload()
    by_hand.insert("a", barcode)
    assert bench.mount(by_hand).id == first.id
    assert by_hand.loaded == "R1-0001"


def test_an_empty_drive_waits_and_says_for_what(bench: Bench, by_hand: HandFed) -> None:
    with pytest.raises(VolumeWanted, match=r"^R1 waits for a blank cartridge of pool daily$"):
        bench.mount(by_hand)
    by_hand.insert("a")
    bench.mount(by_hand)
    by_hand.unload()
    with pytest.raises(VolumeWanted, match=r"^R1 waits for volume R1-0001, or a blank cartridge of pool daily$"):
        bench.mount(by_hand)


def test_another_volume_than_the_one_that_is_wanted_goes_out_again(bench: Bench, by_hand: HandFed) -> None:
    by_hand.insert("a")
    bench.mount(by_hand, Where("R1", "other"))
    with pytest.raises(VolumeWanted, match="cartridge R1-0001 in drive R1 is volume R1-0001 of pool other"):
        bench.mount(by_hand)
    assert by_hand.taken_out == ["a"]
    by_hand.insert("a")
    volume = bench.catalog.volume("R1-0001")
    bench.catalog.set_volume_state(volume.id, VolumeState.UNKNOWN)
    with pytest.raises(VolumeWanted, match="which is unknown"):
        bench.mount(by_hand, Where("R1", "other"))


def checked_tar() -> bytes:
    """A header of tar as it was before POSIX."""
    block = bytearray(512)
    block[0:4] = b"file"
    block[100:107] = b"0000644"
    block[148:156] = b" " * 8
    block[148:155] = f"{sum(block):06o}\0".encode()
    return bytes(block)


FOREIGN = {
    "tar": bytes(257) + b"ustar\x0000" + bytes(248),
    "old tar": checked_tar(),
    "LTFS": b"VOL1ABC123L" + b" " * 13 + b"LTFS" + b" " * 52,
    "LTFS, behind its label": b'<?xml version="1.0" encoding="UTF-8"?>\n<ltfslabel version="2.4.0">' + bytes(400),
    "Bareos or Bacula": bytes(12) + b"BB02" + bytes(48),
    "Amanda": b"AMANDA: TAPESTART DATE 20260101 TAPE daily-1\n\x0c\n" + bytes(100),
    "ANSI label": b"VOL1000123" + b" " * 70,
    "IBM label": ("VOL1000123" + " " * 70).encode("cp037"),
    "cpio": b"070701" + b"0" * 104,
    "dump": bytes(24) + struct.pack("<I", 60012) + bytes(996),
    "gzip": b"\x1f\x8b\x08" + bytes(100),
    "an unknown program": bytes(4096),
}


@pytest.mark.parametrize("who", FOREIGN)
def test_what_somebody_else_wrote_is_named_and_left_alone(bench: Bench, by_hand: HandFed, who: str) -> None:
    bench.write("theirs", FOREIGN[who])
    by_hand.insert("theirs")
    named = {"old tar": "tar", "LTFS, behind its label": "LTFS"}.get(who, who)
    with pytest.raises(VolumeWanted, match=f"(holds data of|has an) {named}: it is left alone"):
        bench.mount(by_hand)
    bench.stack.load("theirs")
    buffer = bytearray(1 << 16)
    length = bench.stack.read_into(buffer)
    assert bytes(buffer[:length]) == FOREIGN[who]
    assert bench.stack.read_into(buffer) == 0


def test_in_a_stack_it_is_passed_over_and_told(bench: Bench) -> None:
    bench.write("AAA", FOREIGN["tar"])
    assert bench.mount(bench.stack).label == "R1-0001"
    assert [told for told in bench.passed if "cartridge AAA in drive R1 holds data of tar" in told]


def test_a_first_block_that_cannot_be_read_is_not_taken_for_blank(
    bench: Bench, by_hand: HandFed, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_hand.insert("sealed")

    def unreadable(buffer: object) -> int:
        raise DeviceError("a key is needed", status=16)

    monkeypatch.setattr(by_hand, "read_into", unreadable, raising=False)
    with pytest.raises(VolumeWanted, match=r"cannot be read .damaged, or encrypted by a drive., so it is not"):
        bench.mount(by_hand)
    assert bench.catalog.volumes() == []


def test_a_volume_of_another_catalog_is_refused(bench: Bench, by_hand: HandFed, tmp_path: Path) -> None:
    by_hand.insert("a")
    bench.mount(by_hand)
    with Catalog.open(tmp_path / "other") as other:
        bench.catalog, mine = other, bench.catalog
        by_hand.unload()
        by_hand.insert("a")
        with pytest.raises(CatalogOlderThanTape, match="tapeloom import"):
            bench.mount(by_hand)
        bench.catalog = mine


def scratched(bench: Bench, by_hand: HandFed) -> None:
    by_hand.insert("a")
    bench.mount(by_hand)
    bench.catalog.put_out_of_use(bench.catalog.volume("R1-0001").id, VolumeState.SCRATCH, [], reason="expired")
    by_hand.unload()


def test_a_scratch_volume_is_written_from_its_beginning(bench: Bench, by_hand: HandFed) -> None:
    scratched(bench, by_hand)
    old = bench.catalog.volume("R1-0001")
    with pytest.raises(VolumeWanted, match="R1 waits for scratch volume R1-0001, or a blank cartridge of pool daily"):
        bench.mount(by_hand)
    by_hand.insert("a")
    with pytest.raises(VolumeWanted, match="waits for a blank cartridge of pool weekly"):
        bench.mount(by_hand, Where("R1", "weekly"))
    by_hand.insert("a")
    mounted = bench.mount(by_hand)
    assert (mounted.label, mounted.id != old.id) == ("R1-0001", True)
    history = bench.catalog.volume(old.id)
    assert (history.label, history.state, history.successor) == ("R1-0001#1", VolumeState.RETIRED, mounted.id)
    assert [one.id for one in bench.catalog.volumes(current=True)] == [mounted.id]


def test_one_without_a_pool_is_taken_by_any(bench: Bench, by_hand: HandFed) -> None:
    scratched(bench, by_hand)
    bench.catalog.put_out_of_use(bench.catalog.volume("R1-0001").id, VolumeState.SCRATCH, [], pool=None)
    by_hand.insert("a")
    assert bench.mount(by_hand, Where("R1", "weekly")).label == "R1-0001"
    assert bench.catalog.volume("R1-0001").pool == "weekly"


def test_a_job_that_died_before_the_new_label_was_written(
    bench: Bench, by_hand: HandFed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The catalog has the new volume already, the tape the old one still."""
    scratched(bench, by_hand)
    by_hand.insert("a")
    with monkeypatch.context() as patch:
        patch.setattr(by_hand, "write", lambda block: exec("raise KeyboardInterrupt"), raising=False)
        with pytest.raises(KeyboardInterrupt):
            bench.mount(by_hand)
    made = bench.catalog.volume("R1-0001")
    assert made.end_position == 0
    assert bench.mount(by_hand).id == made.id
    assert bench.catalog.volume("R1-0001").end_position > 0


def test_a_scratch_volume_that_was_written_anew_by_a_newer_catalog(bench: Bench, by_hand: HandFed) -> None:
    scratched(bench, by_hand)
    old = bench.catalog.volume("R1-0001")
    by_hand.insert("a")
    bench.mount(by_hand)
    newer = bench.catalog.volume("R1-0001").id
    with bench.catalog._database.writing() as t:  # the older catalog, brought back
        t.volumes.delete().where(t.volumes.id == str(newer)).execute()
        back = {"label": "R1-0001", "cartridge": "R1-0001", "state": "scratch", "successor": None}
        t.volumes.update(**back).where(t.volumes.id == str(old.id)).execute()
    with pytest.raises(CatalogOlderThanTape, match="which this catalog does not know"):
        bench.mount(by_hand)


def test_two_drives_of_one_home_never_get_one_cartridge(bench: Bench) -> None:
    home = Where("L1", "daily")
    job = JobLedger(bench.catalog, new_id())
    assert job.take("L1", "A00001", "LD1")
    assert not job.take("L1", "A00001", "LD2")
    bench.catalog.add_volume(new_id(), label="A00001", drive="L1", cartridge="A00001", block_bytes=1, pool="daily")
    assert [one.label for one in job.appendable(home, "LD1")] == ["A00001"]
    assert job.appendable(home, "LD2") == []
    reading = JobLedger(bench.catalog, new_id(), {bench.catalog.volume("A00001").id})
    assert reading.appendable(home, "LD1") == []


def test_a_virtual_drive_whose_cartridge_was_taken_away_says_so_at_once(bench: Bench) -> None:
    bench.mount(bench.stack)
    bench.catalog.set_volume_state(bench.catalog.volume("R1-0001").id, VolumeState.RETIRED)
    bench.catalog.add_volume(new_id(), label="GONE", drive="R1", cartridge="GONE", block_bytes=16384, pool="daily")
    with pytest.raises(NoMedium, match="`tapeloom retire GONE --reason lost`") as caught:
        bench.mount(bench.stack)
    assert not isinstance(caught.value, VolumeWanted)


def test_a_tape_that_somebody_moved_is_not_written(bench: Bench) -> None:
    mounted = bench.mount(bench.stack)
    stands_at(bench.stack, mounted.position)
    bench.stack.rewind()
    with pytest.raises(PositionLost, match=f"stands at 0 and not at {mounted.position}"):
        stands_at(bench.stack, mounted.position)


def test_waiting_goes_on_when_a_cartridge_is_put_in(bench: Bench, by_hand: HandFed) -> None:
    waiting = Waiting(look_seconds=0.01)
    by_hand.empty.clear()

    def operator() -> None:
        assert by_hand.empty.wait(10)
        by_hand.insert("a")

    thread = threading.Thread(target=operator)
    thread.start()
    mounted = waiting.when_there(by_hand, lambda: bench.mount(by_hand))  # type: ignore[arg-type]
    thread.join()
    assert (mounted.label, waiting.for_what) == ("R1-0001", None)
    (remark,) = waiting.remarks
    assert remark.startswith("R1 waits for a blank cartridge of pool daily: waited ")


def test_waiting_ends_when_it_is_told_to(bench: Bench, by_hand: HandFed) -> None:
    waiting = Waiting(look_seconds=0.01)
    waiting.stop()
    with pytest.raises(VolumeWanted, match="told to stop while R1 waits for a blank"):
        waiting.when_there(by_hand, lambda: bench.mount(by_hand))  # type: ignore[arg-type]


def test_one_who_is_not_patient_does_not_wait(bench: Bench, by_hand: HandFed) -> None:
    with pytest.raises(VolumeWanted, match=r"^R1 waits"):
        Waiting(patient=False).when_there(by_hand, lambda: bench.mount(by_hand))  # type: ignore[arg-type]


def test_a_virtual_tape_whose_index_lost_its_beginning_is_not_blank(bench: Bench, tmp_path: Path) -> None:
    """All its blocks are still there."""
    with open_drive(f"vtape:{tmp_path}/R1", name="R1") as drive:
        bench.mount(drive)
    index = tmp_path / "R1" / "R1-0001.index"
    content = bytearray(index.read_bytes())
    content[4096 + 16] ^= 1
    index.write_bytes(content)
    before = (tmp_path / "R1" / "R1-0001.tape").read_bytes()
    with open_drive(f"vtape:{tmp_path}/R1", name="R1") as drive, Catalog.open(tmp_path / "lost") as other:
        bench.catalog, mine = other, bench.catalog
        assert bench.mount(drive).label == "R1-0002"
        bench.catalog = mine
    assert "it is not blank" in bench.passed[0]
    assert (tmp_path / "R1" / "R1-0001.tape").read_bytes() == before


def test_a_scratch_volume_with_more_than_its_catalog_knows_is_not_written(bench: Bench, by_hand: HandFed) -> None:
    """The state folder is an older one: what newer jobs have put there nobody has called scratch."""
    scratched(bench, by_hand)
    bench.stack.load("a")
    bench.stack.to_end_of_data()
    bench.stack.write(b"of a newer job")
    bench.stack.write_filemarks()
    by_hand.insert("a")
    with pytest.raises(CatalogOlderThanTape, match="no job of this catalog was writing to it"):
        bench.mount(by_hand)
    assert bench.catalog.volume("R1-0001").state is VolumeState.SCRATCH


def test_a_write_protected_scratch_volume_is_passed_over(bench: Bench, tmp_path: Path) -> None:
    with open_drive(f"vtape:{tmp_path}/R1", name="R1") as drive:
        bench.mount(drive)
        bench.catalog.put_out_of_use(bench.catalog.volume("R1-0001").id, VolumeState.SCRATCH, [])
        drive.unload()
        drive.protect("R1-0001")  # type: ignore[attr-defined]
        assert bench.mount(drive).label == "R1-0002"
    assert bench.catalog.volume("R1-0001").state is VolumeState.SCRATCH
    assert "is write-protected" in bench.passed[0]


def test_what_comes_while_a_drive_looks_is_not_overlooked(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a library that takes minutes, and nothing says again that it is there."""
    bench.write("AAA", FOREIGN["tar"])
    monkeypatch.setattr(bench.stack, "makes_cartridges", False, raising=False)
    unload, came = bench.stack.unload, iter(["BBB"])

    def meanwhile() -> None:
        unload()
        if name := next(came, None):
            bench.stack.new_cartridge(name)

    monkeypatch.setattr(bench.stack, "unload", meanwhile)
    assert bench.mount(bench.stack, Where("L1", "daily")).label == "BBB"


def test_a_volume_of_another_home_does_not_keep_a_library_from_its_blank_ones(bench: Bench) -> None:
    bench.mount(bench.stack)
    bench.stack.unload()
    assert bench.mount(bench.stack, Where("L1", "daily")).label == "L1-0001"
    assert "which the catalog has in R1, and not in library L1" in bench.passed[0]


class TestWrittenOnce:
    """WORM: what is on the tape stays where it is."""

    @pytest.mark.parametrize("once", [False, True])
    def test_the_tail_of_a_job_that_broke_off_is_appended_to(self, bench: Bench, by_hand: HandFed, once: bool) -> None:
        job = new_id()
        bench.catalog.begin_job(job, kind="backup", groups=["nightly"])
        ledger = JobLedger(bench.catalog, job)
        by_hand.insert("a")
        begun = bench.mount(by_hand, job=ledger)
        ledger.appending(begun.id, "BMA1", begun.position)
        start = JobStart(job, "BMA1", "nightly", "backup", "R1", 0, ())
        for block in encode(start, volume_id=begun.id, first_seq=begun.position, block_bytes=16384, now=0):
            by_hand.write(block)
        by_hand.rewind()  # the drive's own filemark
        bench.catalog.finish_job(job, JobStatus.INTERRUPTED)
        setattr(by_hand, "write_once", once)  # noqa: B010
        again = bench.mount(by_hand)
        assert (again.id, again.position) == (begun.id, begun.position + 2 if once else begun.position)
        assert by_hand.position().position == again.position

    def test_a_scratch_volume_is_left_alone(self, bench: Bench, by_hand: HandFed) -> None:
        scratched(bench, by_hand)
        by_hand.insert("a")
        setattr(by_hand, "write_once", True)  # noqa: B010
        with pytest.raises(VolumeWanted, match="R1-0001 in drive R1 can be written only once"):
            bench.mount(by_hand)

    def test_a_label_that_broke_off_is_no_reason_to_write_over_it(
        self, bench: Bench, by_hand: HandFed, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        by_hand.insert("a")
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(by_hand, "write_filemarks", lambda: exec("raise KeyboardInterrupt"), raising=False)
            bench.mount(by_hand)
        setattr(by_hand, "write_once", True)  # noqa: B010
        with pytest.raises(WriteProtected, match="can be written only once, and something is on it"):
            bench.mount(by_hand)

    def test_a_blank_one_is_labelled(self, bench: Bench, by_hand: HandFed) -> None:
        by_hand.insert("a")
        setattr(by_hand, "write_once", True)  # noqa: B010
        assert bench.mount(by_hand).label == "R1-0001"
