"""What a volume says, gathered: from filemark to filemark by the records beside each, and block by block between two
filemarks where these are missing or damaged."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from uuid import UUID

from msgspec import Struct, field

from tapeloom.device import Device
from tapeloom.errors import DeviceError, EndOfData, ForeignVolume
from tapeloom.volume import runs as run_tables
from tapeloom.volume.evidence import Found, Harmed, Left, Proof, Seen, seen_in
from tapeloom.volume.going import Block, Going
from tapeloom.volume.header import Crc32c, Kind, crc32c
from tapeloom.volume.label import holds, identify
from tapeloom.volume.recognizing import inside
from tapeloom.volume.records import Checkpoint, JobEnd, JobStart, Record, RecordAssembler, VolumeEnd, VolumeStart
from tapeloom.volume.runs import BLOCKS, POSITION, Runs

TAIL_BLOCKS = 3
"""How much is read before a filemark at first: the last block of an object, checkpoint, job-end."""
TAIL_BLOCKS_MAX = 4096

OnProgress = Callable[[int, int], None]
"""Told of positions passed and positions in all."""


class File(Struct):
    """What stands between two filemarks: positions `start` to `end`, where the filemark is if it is `marked`."""

    start: int
    end: int = 0
    marked: bool = False
    met: dict[int, tuple[int, Record]] = field(default_factory=dict)
    """By the position of its last block each record, with the time that it was written at."""
    damaged: bool = False
    """A block right before the filemark is, or a record's piece is missing."""
    has_objects: bool = False

    @property
    def is_empty(self) -> bool:
        return self.start == self.end

    @property
    def records(self) -> list[tuple[int, Record]]:
        """In the order on tape, which they were written in. (Times are not: a clock may have been set back.)"""
        return [self.met[position] for position in sorted(self.met)]

    def last(self, kind: type[Record]) -> tuple[int, Record] | None:
        return next(((at, one) for at, one in reversed(self.records) if isinstance(one, kind)), None)


def gather(
    device: Device,
    *,
    crc: Crc32c = crc32c,
    scan: bool = False,
    on_progress: OnProgress = lambda done, total: None,
) -> Found | None:
    """All that the loaded volume says; None where it is blank. `scan`: every block is read, whatever the tables say.

    Raises
    ------
    ForeignVolume
        Somebody else's data is on it, or nothing that names a volume of tapeloom.
    DeviceError
        Not even its beginning can be read.
    """
    going = Going(device, crc)
    if going.end == 0:
        return None
    return _Gathering(device, going, scan, on_progress).run()


class _Gathering:
    def __init__(self, device: Device, going: Going, scan: bool, on_progress: OnProgress):
        self._device = device
        self._going = going
        self._scan_all = scan
        self._on_progress = on_progress
        self._files: list[File] = []
        self._volume: UUID | None = None
        self._text = ""
        self._longest = 0
        self._seen: dict[UUID, Seen] = {}
        self._harmed: list[Harmed] = []
        self._scanned = 0
        self._remarks: list[str] = []

    def run(self) -> Found:
        self._label()
        self._walk()
        if self._volume is None:
            raise ForeignVolume(f"{inside(self._device)} names no volume of tapeloom anywhere: it is left alone")
        proofs, by_tables = self._proofs()
        self._look_at(proofs)
        return self._found(proofs, by_tables)

    # From filemark to filemark

    def _label(self) -> None:
        file = File(0)
        assembler = RecordAssembler()
        try:
            while (block := self._going.next()) is not None:
                if block.position == 0:
                    who = identify(block.raw)
                    if who not in (None, "tapeloom"):
                        raise ForeignVolume(f"{inside(self._device)} {holds(who)}: it is left alone")
                    if who is not None:
                        self._text = bytes(block.raw).decode("ascii", errors="replace")
                        named = re.search(r"volume id +([0-9a-f-]{36})", self._text)
                        self._volume = UUID(named[1]) if named else None
                    else:
                        self._remarks.append("its text label is damaged")
                self._take(file, assembler, block)
                if self._going.position > TAIL_BLOCKS_MAX:
                    break
            file.marked = block is None
        except (EndOfData, DeviceError):
            self._remarks.append("it ends in its label")
        file.end = self._going.position - (1 if file.marked else 0)
        self._files.append(file)

    def _walk(self) -> None:
        start = self._going.position
        try:
            while start < self._going.end:
                file = self._file(start)
                self._files.append(file)
                start = file.end + 1
                self._on_progress(min(start, self._going.end), self._going.end)
                if not file.marked:
                    break
        except (DeviceError, EndOfData) as error:
            self._remarks.append(f"not read beyond position {start}: {error}")

    def _file(self, start: int) -> File:
        file = File(start)
        self._going.to(start)
        self._head(file)
        if not file.marked:
            file.marked = self._going.behind_filemark()
            file.end = self._going.position - (1 if file.marked else 0)
            self._tail(file, self._going.position)
        return file

    def _head(self, file: File) -> None:
        """The record that it begins with, if it does."""
        assembler = RecordAssembler()
        try:
            while (block := self._going.next()) is not None:
                if self._take(file, assembler, block) or block.header is None or block.header.kind is not Kind.RECORD:
                    file.has_objects |= block.header is None or block.header.kind is not Kind.RECORD
                    return
        except EndOfData:
            file.end = self._going.end
            return
        file.marked, file.end = True, self._going.position - 1

    def _tail(self, file: File, behind: int) -> None:
        """The records that it ends with. More and more is read, until an object's block stands before them."""
        first = file.start + len(file.met)  # a head of several blocks is read twice at most
        count = TAIL_BLOCKS
        while True:
            begin = max(first, file.end - count)
            self._going.to(begin)
            window = File(file.start, file.end)
            assembler = RecordAssembler()
            opened = begin == first
            while self._going.position < file.end:
                block = self._going.next()
                if block is None:
                    break
                record = block.header is not None and block.header.kind is Kind.RECORD
                if not record:
                    opened, window.has_objects = True, True
                    window.met.clear()
                    assembler.broken()
                    window.damaged = block.header is None or block.payload is None
                    if block.header is not None:
                        self._meet(block)
                else:
                    self._take(window, assembler, block)
            if opened or count > TAIL_BLOCKS_MAX:
                break
            count *= 4
        assembler.broken()
        file.damaged |= window.damaged or bool(assembler.losses and not window.last(Checkpoint))
        file.has_objects |= window.has_objects
        file.met |= window.met
        self._going.to(behind)

    def _take(self, file: File, assembler: RecordAssembler, block: Block) -> bool:
        """Feeds a block. True: it completes a record."""
        self._longest = max(self._longest, block.bytes)
        if block.header is None or block.payload is None:
            assembler.broken()
            file.damaged = True
            return False
        if block.header.kind is not Kind.RECORD:
            return False
        self._volume = block.header.object
        record = assembler.feed(block.header, block.payload)
        if record is not None:
            file.met[block.position] = block.header.as_of, record
        return block.header.is_end

    def _meet(self, block: Block) -> None:
        """An object's block, wherever it was met."""
        self._longest = max(self._longest, block.bytes)
        header = block.header
        assert header is not None
        if header.object in self._seen:
            self._seen[header.object].add(header)
        else:
            self._seen[header.object] = seen_in(header)

    # What is proven

    def _proofs(self) -> tuple[list[Proof], int]:
        found: list[Proof] = []
        by_tables = 0
        for index, file in enumerate(self._files[1:], 1):
            if file.is_empty:
                continue
            table = file.last(Checkpoint)
            doubled = index + 1 < len(self._files) and self._files[index + 1].is_empty
            filemark = file.end + (1 if doubled else 0)
            if table is not None and file.marked and not self._scan_all:
                at, checkpoint = table
                assert isinstance(checkpoint, Checkpoint)
                by_tables += 1
                runs = {
                    entry.id: run_tables.of_object(checkpoint.runs, number)
                    for number, entry in enumerate(checkpoint.objects)
                }
                found.append(Proof(checkpoint.job, checkpoint.agent, filemark, at, runs))
                continue
            if not file.has_objects or not file.marked:
                continue
            followed = index + 1 < len(self._files)
            if table is None and not (doubled or file.damaged or followed):
                continue  # the tail of a job that broke off, and the filemark of a drive whose writer is gone
            at, job, agent = self._writer(index)
            runs = {} if self._scan_all else self._by_volume_end(file)
            by_tables += bool(runs)
            found.append(Proof(job, agent, filemark, at, runs or self._scan(file), not runs))
        return found, by_tables

    def _by_volume_end(self, file: File) -> dict[UUID, Runs]:
        """What the table at the volume's end has between two filemarks."""
        met = next((last for one in reversed(self._files) if (last := one.last(VolumeEnd))), None)
        if met is None:
            return {}
        table = met[1]
        assert isinstance(table, VolumeEnd)
        inside = (table.runs[:, POSITION] >= file.start) & (table.runs[:, POSITION] < file.end)
        here: Runs = table.runs[inside]
        return {table.objects[n].id: run_tables.of_object(here, int(n)) for n in run_tables.objects(here)}

    def _writer(self, index: int) -> tuple[int, UUID | None, str]:
        """Whose blocks stand in a file, and when about they were written: what a record in it says, else what the one
        before it does, or behind it."""
        before = [met for file in self._files[:index] for met in file.records]
        behind = [met for file in self._files[index + 1 :] for met in file.records]
        for at, record in [*reversed(self._files[index].records), *reversed(before)]:
            if isinstance(record, JobStart | Checkpoint):
                return at, record.job, record.agent
            if isinstance(record, JobEnd) and (at, record) not in before:
                return at, record.job, record.agent
            if isinstance(record, JobEnd):
                break  # that job was done with this volume
        for at, record in behind:
            if isinstance(record, JobStart):
                break
            if isinstance(record, Checkpoint | JobEnd):
                return at, record.job, record.agent
        return max((at for at, _ in before), default=0), None, ""

    def _scan(self, file: File) -> dict[UUID, Runs]:
        """Every block between two filemarks, checked; runs of those whose header is sound."""
        rows: dict[UUID, list[list[int]]] = defaultdict(list)
        assembler = RecordAssembler()
        damaged = 0
        scanned = File(file.start, file.end)
        self._going.to(file.start)
        while self._going.position < file.end:
            block = self._going.next()
            if block is None:
                break
            self._scanned += 1
            if self._scanned % 64 == 0:
                self._on_progress(block.position, self._going.end)
            if block.header is None:
                damaged += 1
                assembler.broken()
                continue
            if block.header.kind is Kind.RECORD:
                self._take(scanned, assembler, block)
                continue
            self._meet(block)
            if block.payload is None:
                self._harmed.append(Harmed(block.header.object, block.header.seq))
            runs = rows[block.header.object]
            if runs and runs[-1][1] + runs[-1][2] == block.header.seq and runs[-1][3] + runs[-1][2] == block.position:
                runs[-1][2] += 1
            else:
                runs.append([0, block.header.seq, 1, block.position])
        file.met |= scanned.met
        if damaged:
            self._remarks.append(f"{damaged} blocks between positions {file.start} and {file.end} have no sound header")
        return {id: run_tables.table(found) for id, found in rows.items()}

    def _look_at(self, proofs: Sequence[Proof]) -> None:
        """At one block of each object that no record tells of, and at its last one here, for what their headers say."""
        told = {
            str(row.get("id"))
            for file in self._files
            for _, record in file.records
            if isinstance(record, JobStart | Checkpoint | JobEnd)
            for row in record.catalog.get("objects", ())
        }
        for proof in proofs:
            for id, runs in proof.runs.items():
                if proof.scanned or str(id) in told or not len(runs):
                    continue
                last = runs[(runs[:, 1] + runs[:, BLOCKS]).argmax()]
                self._look(int(runs[0, POSITION]))
                self._look(int(last[POSITION] + last[BLOCKS]) - 1)

    def _look(self, position: int) -> None:
        try:
            self._going.to(position)
            block = self._going.next()
        except (EndOfData, DeviceError):
            return
        if block is not None and block.header is not None and block.header.kind is Kind.OBJECT:
            self._meet(block)

    # The whole

    def _found(self, proofs: Sequence[Proof], by_tables: int) -> Found:
        assert self._volume is not None
        records = [met for file in self._files for met in file.records]
        start = next((one for _, one in records if isinstance(one, VolumeStart)), None)
        end = max([self._files[0].end, *(proof.filemark for proof in proofs)]) + 1
        last = self._files[-1]
        if last.is_empty and last.marked:  # a second filemark, behind records or behind nothing
            end = max(end, last.end + 1)
        unreadable = self._going.unreadable
        if unreadable:
            self._remarks.append(f"{len(unreadable)} blocks cannot be read, the first at position {unreadable[0]}")
        label = re.search(r"label +(\S+)", self._text)
        return Found(
            id=self._volume,
            cartridge=self._device.loaded or "",
            label=start.label if start is not None else label[1] if label else None,
            start=start if identify(self._text[:512].encode()) == "tapeloom" else None,
            block_bytes=start.block_bytes if start is not None else self._longest,
            end_position=end,
            behind=max(self._going.end - end, 0),
            full=any(isinstance(one, VolumeEnd) for _, one in records),
            left=self._left(records, doubled=last.is_empty),
            proofs=tuple(proofs),
            starts=tuple(one for _, one in records if isinstance(one, JobStart)),
            ends=tuple((at, one) for at, one in records if isinstance(one, JobEnd)),
            said=tuple(
                one.catalog for _, one in records if isinstance(one, JobStart | Checkpoint | JobEnd) and one.catalog
            ),
            seen=self._seen,
            harmed=tuple(self._harmed),
            scanned=self._scanned,
            by_tables=by_tables,
            remarks=tuple(self._remarks),
        )

    def _left(self, records: Sequence[tuple[int, Record]], *, doubled: bool) -> Left | None:
        """Who was writing, and has not said that it had done."""
        if doubled or any(isinstance(one, VolumeEnd) for _, one in records):
            return None
        begun = next((one for _, one in reversed(records) if isinstance(one, JobStart | Checkpoint)), None)
        if begun is None:
            return None
        whose = (begun.job, begun.agent)
        if any(isinstance(one, JobEnd) and (one.job, one.agent) == whose for _, one in records):
            return None
        checkpoints = [one for _, one in records if isinstance(one, Checkpoint) and (one.job, one.agent) == whose]
        return Left(*whose, len(checkpoints))
