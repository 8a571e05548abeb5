"""A folder with a configuration, data, tapes and a state folder; small blocks, small memory, so that jobs take
moments."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import tarfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random
from uuid import UUID

from tapeloom import _kernel
from tapeloom.catalog import Catalog, CopyStatus, Object, Outcome
from tapeloom.config import Config, load
from tapeloom.ops.backup import Backup, open_backup
from tapeloom.ops.mounts import open_configured
from tapeloom.ops.outcome import BackupResult
from tapeloom.ops.restore import cat, open_object, restore
from tapeloom.runtime import Source
from tapeloom.volume.header import Flag, Header, Kind, Level, parse
from tapeloom.volume.reader import __file__ as READER

KIB = 1024
BLOCK = 16 * KIB

CHAIN = """
[backup.nightly.A]
drive = "R1"
{settings}
buffers = {{ {buffers} }}
[mirror.1.M1]
drive = "R2"
{mirror}
buffers = {{ {chained} }}
[mirror.2.M2]
drive = "R3"
buffers = {{ {below} }}
"""


@dataclass(frozen=True)
class Met:
    """What stands at one position of a tape: a header, or None for a filemark."""

    position: int
    header: Header | None
    payload: bytes


class World:
    """See the module. `configure` comes first."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.file = folder / "tapeloom.toml"
        self.state = folder / "state"

    @property
    def config(self) -> Config:
        return load(self.file)

    def configure(
        self,
        body: str,
        *,
        drives: Mapping[str, str],
        sources: Mapping[str, str],
        block: int = BLOCK,
        slots: int = 32,
    ) -> None:
        """`drives` and `sources` map names to what stands behind the equals sign."""
        lines = ["[server]", 'state = "state"', f"block = {block}", f"memory = {slots * block}", "[drives]"]
        lines += [f"{name} = {value}" for name, value in drives.items()]
        lines += ["[sources]", *(f"{name} = {value}" for name, value in sources.items()), body]
        self.file.write_text("\n".join(lines), encoding="utf-8")

    def chain(
        self,
        *,
        sources: Sequence[str] = ("D1", "D2"),
        settings: str = "",
        mirror: str = "",
        slots: int = 32,
        block: int = BLOCK,
        given: Mapping[str, str] | None = None,
        **drives: str,
    ) -> None:
        """One backup agent A on R1, a mirror M1 of all of it on R2, a mirror M2 of that on R3. `drives` replace
        "vtape:tapes/R1" ..."""
        names = {f"B{number}": source for number, source in enumerate(sources)}
        self.configure(
            CHAIN.format(
                settings=settings,
                mirror=mirror,
                buffers=", ".join(f'{name} = "{source}"' for name, source in names.items()),
                chained=", ".join(f'{name} = "A.{name}"' for name in names),
                below=", ".join(f'{name} = "M1.{name}"' for name in names),
            ),
            drives={name: drives.get(name, f'"vtape:tapes/{name}"') for name in ("R1", "R2", "R3")},
            sources={source: (given or {}).get(source, f'"data/{source}"') for source in sources},
            slots=slots,
            block=block,
        )

    def data(self, name: str, bytes: int, *, files: int = 3, seed: int = 1) -> Path:
        """A folder of random files, `bytes` in all."""
        chance = Random(f"{name} {seed}")
        folder = self.folder / "data" / name
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(files):
            (folder / f"file-{number}").write_bytes(chance.randbytes(bytes // files))
        return folder

    def backup(
        self,
        groups: Sequence[str] | None = None,
        producers: Mapping[str, Source] | None = None,
        level: Level | None = None,
    ) -> BackupResult:
        with open_backup(self.config, groups, producers, level=level) as backup:
            return backup.run()

    def catalog(self) -> Catalog:
        return Catalog.open(self.state, readonly=True)

    def object(self, source: str) -> Object:
        """The newest object of a source, whatever became of it."""
        with self.catalog() as catalog:
            return catalog.newest(source, whole=False)

    def status(self, source: str) -> dict[str, str]:
        """The newest object's copies: agent -> status."""
        return {copy.agent: copy.status.value for copy in self.object(source).copies}

    def sequence(self, name: str, *, copy: str | None = None, partial: bool = False) -> bytes:
        """What `cat` writes."""
        with (self.folder / "sequence").open("w+b") as out:
            cat(self.config, name, out.fileno(), copy=copy, partial=partial)
            out.seek(0)
            return out.read()

    def safe_part(self, source: str, agent: str) -> bytes:
        """As much of the newest object as this copy gives from its beginning on, though it is not complete."""
        got = bytearray()
        with open_object(self.config, source, copy=agent, partial=True) as (item, reading):
            safe = sum(part.blocks for part in self.runs(item, agent))
            while reading.sequence.seq < safe:
                payload = reading.sequence.payload()
                if payload is None:
                    break
                got += payload
        return bytes(got)

    def runs(self, item: Object, agent: str) -> list[Run]:
        with self.catalog() as catalog:
            (copy,) = [copy for copy in item.copies if copy.agent == agent]
            return [Run(v.label, position, seq, blocks) for v, position, seq, blocks in catalog.runs(copy.id).rows()]

    def restored(self, name: str, *, copy: str | None = None) -> Path:
        """Restores into a folder of its own and gives that."""
        target = self.folder / "restored" / f"{name}-{copy}"
        result = restore(self.config, name, target, copy=copy)
        assert result.exit_status == 0, result
        return target

    def tapes(self, drive: str) -> list[Path]:
        """The data files of a virtual drive's cartridges, in order."""
        return sorted((self.folder / "tapes" / drive).glob("*.tape"))

    def tape_bytes(self) -> dict[Path, bytes]:
        """All that stands on the virtual tapes, index files included."""
        return {path: path.read_bytes() for path in sorted((self.folder / "tapes").glob("*/*.*"))}

    def on_tape(self, drive: str, cartridge: str) -> list[Met]:
        """All blocks of a cartridge, read through the device; label and reader are left out."""
        met = []
        with open_configured(self.config, drive) as device:
            device.load(cartridge)
            device.to_end_of_data()
            end = device.position().position
            device.rewind()
            buffer = bytearray(device.block_bytes_max)
            for position in range(end):
                length = device.read_into(buffer)
                if length == 0:
                    met.append(Met(position, None, b""))
                elif buffer[:8] == b"TLOOM" + b"BLK":
                    header, payload = parse(memoryview(buffer)[:length], crc32c=_kernel.crc32c)
                    met.append(Met(position, header, bytes(payload)))
        return met

    def objects_on(self, drive: str) -> set[str]:
        """Names of the sources of which any block stands on the drive's cartridges, by the stand-alone reader."""
        return {row[-2] for row in listed(self.tapes(drive))}


@dataclass(frozen=True)
class Run:
    label: str
    position: int
    seq: int
    blocks: int


def listed(tapes: Sequence[Path]) -> list[list[str]]:
    """Rows of `reader.py list`: id, time, level, content, blocks, bytes, parent, source, trouble."""
    done = reader("list", *tapes)
    return [
        [*row[:7], row[7].strip("'"), row[8]]
        for row in (line.split("\t") for line in done.stdout.decode().splitlines())
    ]


def reader(*arguments: object) -> subprocess.CompletedProcess[bytes]:
    """The stand-alone reader in an empty environment: nothing of tapeloom can be imported."""
    command = [sys.executable, "-I", "-S", READER, *map(str, arguments)]
    return subprocess.run(command, env={}, capture_output=True, check=False)


def assert_receipts_hold(world: World) -> int:
    """Every block that the catalog has a receipt for stands on the tape, whole, where it says. Gives how many.

    Read block by block through the device, with neither the splitter nor verify.
    """
    blocks = 0
    config = world.config
    with ExitStack() as stack:
        catalog = stack.enter_context(world.catalog())
        devices = {}
        for item in catalog.objects():
            for copy in item.copies:
                table = catalog.runs(copy.id)
                covered = 0
                for volume, position, seq, count in table.rows():
                    if volume.drive not in devices:
                        devices[volume.drive] = stack.enter_context(open_configured(config, volume.drive))
                    device = devices[volume.drive]
                    if device.loaded != volume.cartridge:
                        device.load(volume.cartridge)
                    device.locate(position)
                    buffer = bytearray(volume.block_bytes)
                    for ahead in range(count):
                        length = device.read_into(buffer)
                        header, _ = parse(memoryview(buffer)[:length], crc32c=_kernel.crc32c)
                        assert (header.kind, header.object, header.seq) == (Kind.OBJECT, item.id, seq + ahead)
                        last = header.seq + 1 == item.blocks
                        assert last or not header.flags & Flag.END
                        assert not last or header.flags & Flag.END or item.outcome is not Outcome.WHOLE
                    covered += count
                assert (copy.status is CopyStatus.MISSING) == (covered == 0), copy
                if copy.status is CopyStatus.COMPLETE:
                    assert covered == item.blocks
                blocks += covered
    return blocks


def seqs_on(met: Sequence[Met], object_id: UUID) -> list[int]:
    return [
        one.header.seq
        for one in met
        if one.header and one.header.kind is Kind.OBJECT and one.header.object == object_id
    ]


def files_in(sequence: bytes) -> dict[str, bytes]:
    """Regular files of a tar."""
    with tarfile.open(fileobj=io.BytesIO(sequence)) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive if member.isreg()}  # type: ignore[union-attr]


def flip(path: Path, at: int) -> None:
    """Turns one byte of a file into its complement."""
    with path.open("r+b") as file:
        byte = os.pread(file.fileno(), 1, at)[0]
        os.pwrite(file.fileno(), bytes([byte ^ 0xFF]), at)


def place_in_file(tape: Path, position: int) -> tuple[int, int]:
    """Where the block at `position` stands in a virtual tape's data file, and its length (csrc/vtape.c)."""
    with tape.with_suffix(".index").open("rb") as index:
        at, _, length = struct.unpack_from("<QQI", os.pread(index.fileno(), 32, 4096 + 32 * position))
    return at, length


__all__ = ["BLOCK", "KIB", "Backup", "Met", "Run", "World"]
