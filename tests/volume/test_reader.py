"""The reader alone: a copy in an empty folder, an empty environment, no site-packages."""

from __future__ import annotations

import ast
import errno
import importlib.util
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from uuid import UUID

import pytest
from small_volume import FIRST, GOLDEN, SECOND, VOLUME, SmallVolume, object_blocks, write_cartridge

from tapeloom.device import open_drive
from tapeloom.volume import label
from tapeloom.volume.header import crc32c

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs the reader as it comes off a volume: 16 KiB with line feeds behind its end."""
    reader = tmp_path / "alone" / "reader.py"
    reader.parent.mkdir()
    reader.write_bytes(label.reader_block())

    def run(*words: object) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ["env", "-i", sys.executable, "-I", "-S", str(reader), *map(str, words)],
            cwd=reader.parent,
            capture_output=True,
            check=False,
        )

    return run


@pytest.fixture(params=["tape and index", "tape alone", "dump", "tape under another name"])
def medium(request: pytest.FixtureRequest, tmp_path: Path, volume: SmallVolume) -> Path:
    return place(request.param, tmp_path, volume.tape)


def place(form: str, folder: Path, tape: list[bytes | None], name: str = "W-0001") -> Path:
    if form == "dump":
        path = folder / f"{name}.dump"
        path.write_bytes(b"".join(block for block in tape if block is not None))
        return path
    path = write_cartridge(folder, name, tape, index=form == "tape and index")
    return path.rename(folder / name) if form.endswith("name") else path


@pytest.fixture(scope="module")
def module() -> ModuleType:
    """The reader as a module, for what cannot be seen from outside."""
    path = Path(label.__file__).with_name("reader.py")
    spec = importlib.util.spec_from_file_location("reader_alone", path)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def damaged(tape: list[bytes | None], position: int, at: int) -> list[bytes | None]:
    block = bytearray(tape[position] or b"")
    block[at] ^= 0x40
    return [*tape[:position], bytes(block), *tape[position + 1 :]]


def test_it_is_small_and_alone() -> None:
    text = Path(label.__file__).with_name("reader.py").read_text()
    assert len(text.splitlines()) < 200
    assert "tapeloom import" not in text
    ast.parse(text, feature_version=(3, 6))
    assert text.isascii()


def test_its_checksum_equals_the_reference(module: ModuleType) -> None:
    source = random.Random(7)
    for length in [*range(0, 700, 7), 4096, 16384 - 512, 70001]:
        data = source.randbytes(length)
        assert module.crc32c(data) == crc32c(data)


def test_list(run: Run, medium: Path, volume: SmallVolume) -> None:
    done = run("list", medium)
    assert done.returncode == 0, done.stderr
    rows = [line.split("\t") for line in done.stdout.decode().splitlines()]
    assert rows == [
        [str(FIRST), "2023-11-14T22:13:20Z", "full", "tar", "4", "5120", "-", "'D1'", "whole"],
        [str(SECOND), "2023-11-14T22:13:20Z", "incremental", "tar", "5", "4800", str(FIRST), "'D\\xdf'", "whole"],
    ]
    assert done.stderr == b""


@pytest.mark.parametrize("object_id", [FIRST, SECOND])
def test_get(run: Run, medium: Path, volume: SmallVolume, tmp_path: Path, object_id: UUID) -> None:
    done = run("get", str(object_id)[:36], "-", medium)
    assert (done.returncode, done.stdout) == (0, volume.sequences[object_id]), done.stderr
    assert run("get", object_id, tmp_path / "out", medium).returncode == 0
    assert (tmp_path / "out").read_bytes() == volume.sequences[object_id]


def test_all(run: Run, medium: Path, volume: SmallVolume, tmp_path: Path) -> None:
    done = run("all", tmp_path, medium)
    assert done.returncode == 0, done.stderr
    for object_id, sequence in volume.sequences.items():
        assert (tmp_path / f"{object_id}.tar").read_bytes() == sequence


def test_a_file_that_is_there_is_not_overwritten(run: Run, medium: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(b"precious")
    done = run("get", FIRST, tmp_path / "mine", medium)
    assert done.returncode == 1
    assert b"File exists" in done.stderr
    assert b"Traceback" not in done.stderr
    assert (tmp_path / "mine").read_bytes() == b"precious"


@pytest.mark.parametrize("at", [40, 520], ids=["header", "payload"])
@pytest.mark.parametrize("form", ["tape and index", "tape alone", "dump"])
def test_a_damaged_block_is_named_and_costs_its_bytes_alone(
    run: Run, volume: SmallVolume, tmp_path: Path, form: str, at: int
) -> None:
    sequence = volume.sequences[FIRST]
    medium = place(form, tmp_path, damaged(volume.tape, volume.of(FIRST)[1], at))
    done = run("get", FIRST, "-", medium)
    assert done.returncode == 1
    assert b"bytes 1300 to 2600 missing" in done.stderr
    assert done.stdout == sequence[:1300]
    filled = sequence[:1300] + bytes(1300) + sequence[2600:]
    assert run("get", FIRST, "-", "--fill", medium).stdout == filled
    assert run("get", FIRST, tmp_path / "short", medium).returncode == 1
    assert (tmp_path / "short").read_bytes() == sequence[:1300]
    assert run("get", FIRST, tmp_path / "filled", medium, "--fill").returncode == 1
    assert (tmp_path / "filled").read_bytes() == filled
    assert run("get", SECOND, "-", medium).returncode == 0
    unchecked = run("get", FIRST, "-", "--no-verify", medium)
    assert unchecked.returncode == (1 if at == 40 else 0)


def test_a_mirror_helps_out(run: Run, volume: SmallVolume, tmp_path: Path) -> None:
    first, second = volume.of(FIRST)[1], volume.of(FIRST)[3]
    one = place("tape and index", tmp_path, damaged(volume.tape, first, 520), "A")
    two = place("dump", tmp_path, damaged(volume.tape, second, 40), "B")
    done = run("get", FIRST, tmp_path / "out", one, two)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out").read_bytes() == volume.sequences[FIRST]


def test_over_two_volumes(run: Run, volume: SmallVolume, tmp_path: Path) -> None:
    cut = volume.of(FIRST)[2]
    one = place("tape and index", tmp_path, volume.tape[:cut], "A")
    two = place("tape alone", tmp_path, [*volume.tape[:3], None, *volume.tape[cut:]], "B")
    alone = run("get", FIRST, "-", one)
    assert alone.returncode == 1
    assert b"no end met" in alone.stderr
    assert run("get", FIRST, "-", one, two).stdout == volume.sequences[FIRST]
    listed = run("list", one, two)
    assert (listed.returncode, listed.stdout.count(b"whole")) == (0, 2)


def test_a_source_that_broke_off_is_told(run: Run, tmp_path: Path) -> None:
    medium = place("dump", tmp_path, [*object_blocks(FIRST, b"abc", size=2, name="D1", failed=True)])
    done = run("get", FIRST, "-", medium)
    assert (done.returncode, done.stdout) == (1, b"abc")
    assert b"its source broke off" in done.stderr


def test_an_empty_object(run: Run, tmp_path: Path) -> None:
    medium = place("dump", tmp_path, [*object_blocks(FIRST, b"", size=2, name="D1")])
    assert (run("get", FIRST, tmp_path / "out", medium).returncode, (tmp_path / "out").read_bytes()) == (0, b"")


def test_a_newer_version_is_told_and_passed(run: Run, volume: SmallVolume, tmp_path: Path) -> None:
    block = bytearray(volume.tape[volume.of(SECOND)[0]] or b"")
    block[8] = 3
    block[12:16] = bytes(4)
    block[12:16] = crc32c(block[:4096]).to_bytes(4, "little")
    medium = place("tape and index", tmp_path, [bytes(block), *volume.tape])
    done = run("list", medium)
    assert b"position 0: format version 3" in done.stderr
    assert done.stdout.count(b"whole") == 2


@pytest.mark.parametrize(
    "words", [[], ["list"], ["get", "x"], ["get", "x", "-"], ["look", "x"], ["list", "--fil", "x"]]
)
def test_wrong_use(run: Run, words: list[str]) -> None:
    done = run(*words)
    assert done.returncode == 2
    assert b"usage: python3 reader.py list VOLUME" in done.stderr


def test_words_instead_of_tracebacks(run: Run, medium: Path) -> None:
    for words, expected in [
        (("list", "nowhere"), b"nowhere: No such file"),
        (("get", "ffff", "-", medium), b"no block of ffff here"),
        (("get", "0189", "-", medium), b"more than one id begins so"),
    ]:
        done = run(*words)
        assert done.returncode == 1
        assert expected in done.stderr
        assert b"Traceback" not in done.stderr


def test_the_label_says_how_to_get_the_reader_off(volume: SmallVolume, tmp_path: Path) -> None:
    tape = write_cartridge(tmp_path, "NAME", volume.tape)
    commands = [line.strip() for line in (volume.tape[0] or b"").decode("ascii").splitlines()]
    dd = next(line for line in commands if line.startswith("dd if=NAME.tape"))
    subprocess.run(dd.split(), cwd=tmp_path, check=True, capture_output=True)
    listed = subprocess.run([sys.executable, "-I", "-S", "reader.py", "list", tape], cwd=tmp_path, check=False)
    assert listed.returncode == 0


def test_a_cartridge_that_the_virtual_drive_wrote(run: Run, volume: SmallVolume, tmp_path: Path) -> None:
    """Appending over a tail first: what stood behind the end of data must not come back, not even without the index."""
    with open_drive(f"vtape:{tmp_path}", name="R1") as drive:
        drive.new_cartridge("A")
        drive.load("A")
        for tape in (object_blocks(UUID(int=9), bytes(40000), size=4000, name="gone"), volume.tape):
            drive.rewind()
            for block in tape:
                if block is None:
                    drive.write_filemarks()
                else:
                    drive.write(block)
    listed = run("list", tmp_path / "A.tape")
    assert (listed.returncode, listed.stdout.count(b"whole"), len(listed.stdout.splitlines())) == (0, 2, 2)
    (tmp_path / "A.index").unlink()
    assert run("list", tmp_path / "A.tape").stdout == listed.stdout
    assert run("get", SECOND, "-", tmp_path / "A.tape").stdout == volume.sequences[SECOND]


def test_golden_volume(run: Run, tmp_path: Path, volume: SmallVolume) -> None:
    """A volume of format version 1 as it was written once: label and reader may change, this may not."""
    golden = GOLDEN / "volume_small.bin"
    assert golden.read_bytes() == b"".join(volume.blocks[2:])
    assert run("all", tmp_path, golden).returncode == 0
    for object_id, sequence in volume.sequences.items():
        assert (tmp_path / f"{object_id}.tar").read_bytes() == sequence


class Drive:
    """What os.open and os.read answer for a tape (the st driver, variable blocks): an empty read is a filemark."""

    def __init__(self, tape: list[bytes | None], *, largest: int = 1 << 20, unreadable: frozenset[int] = frozenset()):
        self.answers: Iterator[bytes | None] = iter([*tape, None])
        self.largest, self.unreadable, self.at, self.reads = largest, unreadable, -1, 0

    def read(self, _fd: int, room: int) -> bytes:
        if room > self.largest:
            raise OSError(errno.EINVAL, "Invalid argument")
        self.at += 1
        answer = next(self.answers, b"end")
        if answer == b"end" or self.at in self.unreadable:
            raise OSError(errno.EIO, "Input/output error")
        if answer is not None and len(answer) > room:
            raise OSError(errno.ENOMEM, "Cannot allocate memory")
        return answer or b""


@pytest.fixture
def read_drive(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Callable[[Drive], list[bytes]]:
    def read_drive(drive: Drive) -> list[bytes]:
        system = SimpleNamespace(open=lambda *_: 3, read=drive.read, close=lambda _: None, O_RDONLY=os.O_RDONLY)
        monkeypatch.setattr(module, "os", system)
        return [file.read() for _, file, _ in module.drive("/dev/nst0")]

    return read_drive


def test_a_drive_gives_every_block(read_drive: Callable[[Drive], list[bytes]], volume: SmallVolume) -> None:
    assert read_drive(Drive(volume.tape)) == volume.blocks


def test_a_drive_with_a_small_limit(read_drive: Callable[[Drive], list[bytes]], volume: SmallVolume) -> None:
    """The room shrinks to what the drive takes, and not below its largest block."""
    assert read_drive(Drive(volume.tape, largest=266240)) == volume.blocks
    assert read_drive(Drive([bytes(266240)], largest=266240)) == [bytes(266240)]


def test_a_drive_with_unreadable_places(
    read_drive: Callable[[Drive], list[bytes]],
    volume: SmallVolume,
    module: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[str] = []
    monkeypatch.setattr(module, "warn", told.append)
    position = volume.of(FIRST)[1]
    read = read_drive(Drive(volume.tape, unreadable=frozenset([position])))
    assert read == [block for n, block in enumerate(volume.tape) if block is not None and n != position]
    assert told[0] == f"/dev/nst0, {position} behind its start: Input/output error"


def test_a_drive_without_a_last_filemark_ends(read_drive: Callable[[Drive], list[bytes]]) -> None:
    drive = Drive([b"one block"])
    drive.answers = iter([b"one block"])
    assert read_drive(drive) == [b"one block"]


@pytest.mark.parametrize(("count", "status", "whole"), [(1, 1, 0), (2, 0, 2)])
def test_the_next_cartridge_is_asked_for(
    module: ModuleType,
    volume: SmallVolume,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    count: int,
    status: int,
    whole: int,
) -> None:
    """The same drive twice: its second cartridge is read once somebody has pressed Enter."""
    cut = volume.of(FIRST)[2]
    cartridges = [Drive([*volume.tape[:cut], None]), Drive([*volume.tape[:3], None, *volume.tape[cut:]])]
    told: list[str] = []

    def readline() -> str:
        del cartridges[0]
        return "\n"

    monkeypatch.setattr(module, "warn", told.append)
    monkeypatch.setattr(module.os, "read", lambda fd, room: cartridges[0].read(fd, room))
    monkeypatch.setattr(module.sys, "stdin", SimpleNamespace(readline=readline))
    with pytest.raises(SystemExit) as ended:
        module.main(["list", *["/dev/null"] * count])
    assert ended.value.code == status
    assert told == ["Put the next cartridge into /dev/null and press Enter."] * (count - 1)
    assert capsys.readouterr().out.count("whole") == whole


def test_records_are_passed_over(run: Run, volume: SmallVolume, tmp_path: Path) -> None:
    medium = place("dump", tmp_path, [volume.tape[2]])
    assert VOLUME.bytes in (volume.tape[2] or b"")
    assert (run("list", medium).returncode, run("list", medium).stdout) == (0, b"")
