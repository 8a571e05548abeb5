"""The reader alone with objects that are compressed and sealed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec.structs import replace
from small_volume import AS_OF, FIRST, GOLDEN, SECOND, write_cartridge
from zstandard import ZstdCompressor

from tapeloom.seal import Key, KeyRing, new_key_file
from tapeloom.seal.block import Decoder
from tapeloom.volume import label
from tapeloom.volume.header import Codec, Content, Flag, Header, authenticated, pack, parse

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]
KEY = Key.of(bytes(range(32)), "K1")
DATA_KEY = bytes(range(32, 64))
SEQUENCE = b"".join(b"line %d of a text\n" % n for n in range(300)) + bytes(range(256)) * 4
STEP = 1300


def coded_blocks(
    object_id: UUID, *, zstd: bool, key: Key | None, header_bytes: int = 512, name: str = "D1"
) -> list[bytes]:
    """As csrc/FORMAT.md has it, by the libraries themselves; compressed blocks and others in turn."""
    found = []
    for seq, offset in enumerate(range(0, len(SEQUENCE), STEP)):
        clear = SEQUENCE[offset : offset + STEP]
        squeezed = zstd and seq % 3 != 2
        payload = ZstdCompressor(level=3).compress(clear) if squeezed else clear
        last = offset + STEP >= len(SEQUENCE)
        header = Header(
            object=object_id,
            seq=seq,
            offset=offset,
            as_of=AS_OF,
            name=name,
            codec=Codec.ZSTD if squeezed else Codec.NONE,
            flags=(Flag.END if last else 0) | (Flag.SEALED if key else 0),
            payload_bytes=len(payload) + (16 if key else 0),
            sequence_bytes=len(clear),
            content=Content.PAX,
            header_bytes=header_bytes,
            key_id=key.id if key else bytes(16),
            wrapped_key=key.wrap(DATA_KEY) if key else bytes(40),
        )
        if key:
            nonce = bytes(4) + seq.to_bytes(8, "little")
            payload = AESGCM(DATA_KEY).encrypt(nonce, payload, authenticated(header))
        found.append(pack(header, payload))
    return found


KINDS = {
    "zstd": coded_blocks(FIRST, zstd=True, key=None),
    "sealed": coded_blocks(FIRST, zstd=False, key=KEY),
    "both": coded_blocks(FIRST, zstd=True, key=KEY, header_bytes=4096),
}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """The reader as it comes off a volume, with the modules of this Python but none of this project."""
    reader = tmp_path / "alone" / "reader.py"
    reader.parent.mkdir()
    reader.write_bytes(label.reader_block())

    def run(*words: object, path: str = os.defpath, modules: bool = True) -> subprocess.CompletedProcess[bytes]:
        bare = [] if modules else ["-S"]
        return subprocess.run(
            ["env", "-i", f"PATH={path}", sys.executable, "-I", *bare, str(reader), *map(str, words)],
            cwd=reader.parent,
            capture_output=True,
            check=False,
        )

    return run


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """One file with KEY in it, as `key new` would write it."""
    import base64

    path = tmp_path / "k1.key"
    other = new_key_file(path, "K1")
    text = path.read_text().replace(other.shown, KEY.shown)
    path.write_text(text.replace(base64.b64encode(other.secret).decode(), base64.b64encode(KEY.secret).decode()))
    assert KeyRing.load([path]).find(KEY.id).secret == KEY.secret
    return path


def dump(folder: Path, *blocks: bytes) -> Path:
    path = folder / "dump"
    path.write_bytes(b"".join(blocks))
    return path


needs_zstd = pytest.mark.skipif(shutil.which("zstd", path=os.defpath) is None, reason="no program zstd")


@needs_zstd
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", ["dump", "tape"])
def test_get(run: Run, tmp_path: Path, key_file: Path, kind: str, form: str) -> None:
    blocks = KINDS[kind]
    medium = dump(tmp_path, *blocks) if form == "dump" else write_cartridge(tmp_path, "A", list(blocks))
    done = run("get", FIRST, "-", f"--key={key_file}", medium)
    assert (done.returncode, done.stdout) == (0, SEQUENCE), done.stderr
    assert run("get", FIRST, tmp_path / "out", medium, f"--key={key_file}").returncode == 0
    assert (tmp_path / "out").read_bytes() == SEQUENCE


@pytest.mark.parametrize(
    ("kind", "told"),
    [("zstd", "tar zstd"), ("sealed", f"tar sealed:{KEY.shown}"), ("both", f"tar zstd sealed:{KEY.shown}")],
)
def test_list_needs_neither_key_nor_library(run: Run, tmp_path: Path, kind: str, told: str) -> None:
    done = run("list", dump(tmp_path, *KINDS[kind]), path="/nowhere", modules=False)
    row = done.stdout.decode().strip().split("\t")
    assert (row[3], row[5], row[-1]) == (told, str(len(SEQUENCE)), "whole")


def test_a_missing_key_is_named_once(run: Run, tmp_path: Path) -> None:
    other = tmp_path / "other.key"
    new_key_file(other)
    for words in ((), (f"--key={other}",)):
        done = run("get", FIRST, "-", dump(tmp_path, *KINDS["sealed"]), *words)
        assert (done.returncode, done.stdout) == (1, b"")
        assert done.stderr.decode().count(KEY.shown) == 2, done.stderr  # once, in one sentence
        assert done.stderr.count(b"\n") <= 2
        assert b"--key" in done.stderr


def test_missing_tools_are_named(run: Run, tmp_path: Path, key_file: Path) -> None:
    sealed = run("get", FIRST, "-", f"--key={key_file}", dump(tmp_path, *KINDS["sealed"]), modules=False)
    assert (sealed.returncode, sealed.stdout) == (1, b"")
    assert sealed.stderr.count(b"No module named 'cryptography") == 1
    squeezed = run("get", FIRST, "-", dump(tmp_path, *KINDS["zstd"]), path="/nowhere")
    assert (squeezed.returncode, squeezed.stdout) == (1, b"")
    assert squeezed.stderr.count(b"'zstd'") == 1
    for done in (sealed, squeezed):
        assert b"Traceback" not in done.stderr


def test_what_was_changed_is_named_and_does_not_come_out(run: Run, tmp_path: Path, key_file: Path) -> None:
    """Checksums right again, by who knows the format and not the key."""
    blocks = list(KINDS["sealed"])
    head, payload = parse(blocks[1])
    blocks[1] = pack(head, b"\0" + bytes(payload)[1:])
    done = run("get", FIRST, "-", "--fill", f"--key={key_file}", dump(tmp_path, *blocks))
    assert done.returncode == 1
    assert b"does not open" in done.stderr
    assert done.stdout == SEQUENCE[:STEP] + bytes(STEP) + SEQUENCE[2 * STEP :]


@pytest.mark.parametrize("how", ["unsealed", "another data key"])
def test_a_block_sealed_otherwise_is_named_and_does_not_come_out(
    run: Run, tmp_path: Path, key_file: Path, how: str
) -> None:
    """Made by who lacks the key, and by who has it: instead of a block, beside it, and by headers alone."""
    blocks = list(KINDS["sealed"])
    head, _ = parse(blocks[1])
    if how == "unsealed":
        fields = {"flags": head.flags & ~Flag.SEALED, "key_id": bytes(16), "wrapped_key": bytes(40)}
        forged = pack(replace(head, **fields, payload_bytes=STEP), b"!" * STEP)
    else:
        head = replace(head, wrapped_key=KEY.wrap(bytes(32)))
        nonce = bytes(4) + head.seq.to_bytes(8, "little")
        forged = pack(head, AESGCM(bytes(32)).encrypt(nonce, b"!" * STEP, authenticated(head)))
    told = f"bytes {STEP} to {2 * STEP}: not sealed as those before"
    without = SEQUENCE[:STEP] + bytes(STEP) + SEQUENCE[2 * STEP :]
    for dumped, sequence in (
        ([blocks[0], forged, *blocks[2:]], without),
        ([blocks[0], forged, *blocks[1:]], SEQUENCE),
        ([*blocks[:2], forged, *blocks[2:]], SEQUENCE),
    ):
        medium = dump(tmp_path, *dumped)
        done = run("get", FIRST, "-", "--fill", f"--key={key_file}", medium)
        assert (done.returncode, done.stdout) == (1, sequence)
        assert told in done.stderr.decode()
        assert ("missing" in done.stderr.decode()) is (sequence is without)
        listed = run("list", medium)
        assert (listed.returncode, told in listed.stderr.decode()) == (1, True)


@needs_zstd
def test_all_gets_what_it_can(run: Run, tmp_path: Path) -> None:
    plain = coded_blocks(SECOND, zstd=True, key=None)
    done = run("all", tmp_path, dump(tmp_path, *KINDS["sealed"], *plain))
    assert done.returncode == 1
    assert (tmp_path / f"{SECOND}.tar").read_bytes() == SEQUENCE
    assert not (tmp_path / f"{FIRST}.tar").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_golden_coded_objects(kind: str) -> None:
    """Written once; every later reader gets the sequence out of them."""
    golden = (GOLDEN / f"volume_{kind}.bin").read_bytes()
    decoder = Decoder(FIRST, _ring(), KEY.shown if kind != "zstd" else None)
    at, sequence = 0, b""
    while at < len(golden):
        header_bytes = int.from_bytes(golden[at + 10 : at + 12], "little")
        end = at + header_bytes + int.from_bytes(golden[at + 20 : at + 24], "little")
        header, payload = parse(golden[at:end])
        assert header.offset == len(sequence)
        decoder.admit(header.flags, golden[at : at + header_bytes])
        sequence += decoder.decode(golden[at : at + header_bytes], payload)
        at = end
    assert header.is_end
    assert sequence == SEQUENCE
    if kind == "sealed":
        assert golden == b"".join(KINDS[kind])


def _ring() -> KeyRing:
    ring = KeyRing()
    ring.add(KEY)
    return ring
