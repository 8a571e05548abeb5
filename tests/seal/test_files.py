from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from types import SimpleNamespace
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapeloom import _kernel
from tapeloom.errors import FormatError, SealBroken, SealError
from tapeloom.runtime.coding import Coding
from tapeloom.seal import Key, KeyRing
from tapeloom.seal.files import CACHED_BLOCKS, STEP, SealedFile, open_sealed, seal_file, unsealed_fd
from tapeloom.volume.header import Content, Flag, parse

OBJECT = UUID("01890a5d-ac96-774b-bcce-b302099a8001")
KEY, OTHER = Key.of(bytes(32), "K1"), Key.of(bytes(range(32)))
CODINGS = [Coding(key=KEY), Coding(zstd_level=1, key=KEY)]


def ring(*keys: Key) -> KeyRing:
    made = KeyRing()
    for key in keys:
        made.add(key)
    return made


def content(size: int) -> bytes:
    half = Random(1).randbytes(size // 2)
    return (half + b"a line of text\n" * (size // 15 + 1))[:size]


def sealed(folder: Path, data: bytes, coding: Coding = CODINGS[1], id: UUID = OBJECT) -> Path:
    path = folder / f"{id}.sealed"
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        seal_file(file.fileno(), path, coding, id)
    return path


def blocks_of(path: Path) -> list[bytes]:
    data, found, at = path.read_bytes(), [], 0
    while at < len(data):
        end = at + 512 + int.from_bytes(data[at + 20 : at + 24], "little")
        found.append(data[at:end])
        at = end
    return found


@pytest.mark.parametrize("coding", CODINGS, ids=["sealed", "both"])
@pytest.mark.parametrize("size", [0, 1, STEP, STEP + 1, 4 * STEP + 77])
def test_what_comes_out_went_in(tmp_path: Path, coding: Coding, size: int) -> None:
    data = content(size)
    path = sealed(tmp_path, data, coding)
    assert os.listdir(tmp_path) == [path.name]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with open_sealed(path, ring(KEY)) as file:
        assert file.read() == data
        assert file.seek(0, os.SEEK_END) == size
        assert file.read(1) == b""
    fd = unsealed_fd(path, ring(KEY))
    assert os.read(fd, size + 1) == data
    assert os.fstat(fd).st_nlink == 0
    os.close(fd)
    headers = [parse(block, crc32c=lambda data, crc: _kernel.crc32c(data, crc))[0] for block in blocks_of(path)]
    assert all(header.is_sealed and header.key_id == KEY.id for header in headers)
    assert {(header.object, header.content) for header in headers} == {(OBJECT, Content.INDEX)}
    assert [header.is_end for header in headers] == [False] * (len(headers) - 1) + [True]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3 * STEP + 10), st.integers(0, 2 * STEP)), max_size=10))
def test_any_place_can_be_read(tmp_path_factory: pytest.TempPathFactory, places: list[tuple[int, int]]) -> None:
    data = content(3 * STEP + 10)
    with open_sealed(sealed(tmp_path_factory.mktemp("sealed"), data), ring(KEY)) as file:
        for at, count in places:
            assert file.seek(at) == file.tell() == at
            assert file.read(count) == data[at : at + count]


def test_only_few_blocks_are_held_in_the_clear(tmp_path: Path) -> None:
    with SealedFile(sealed(tmp_path, content(8 * STEP)), ring(KEY)) as file:
        for seq in range(file.blocks):
            file.block(seq)
        assert len(file._cache) == CACHED_BLOCKS
        assert file.object_id == OBJECT


def test_a_wrong_or_missing_key(tmp_path: Path) -> None:
    path = sealed(tmp_path, b"secret")
    for open_it in (open_sealed, unsealed_fd):
        with pytest.raises(SealError, match=KEY.shown):
            open_it(path, ring(OTHER))
        with pytest.raises(SealBroken):
            open_it(path, ring(Key(KEY.id, OTHER.secret)))
    assert b"secret" not in path.read_bytes()


def end_on(block: bytes) -> bytes:
    head, payload = parse(block, crc32c=crc)
    from msgspec.structs import replace

    from tapeloom.volume.header import pack

    return pack(replace(head, flags=head.flags | Flag.END), payload, crc32c=crc)


def crc(data: bytes, so_far: int) -> int:
    return _kernel.crc32c(data, so_far)


@pytest.mark.parametrize(
    "attack",
    [
        lambda mine, other: mine[:-1],
        lambda mine, other: [*mine[:-2], end_on(mine[-2])],
        lambda mine, other: [mine[0], mine[2], mine[1], *mine[3:]],
        lambda mine, other: [mine[0], *mine[2:]],
        lambda mine, other: [mine[0], other[1], *mine[2:]],
        lambda mine, other: [*mine[:-1], mine[-1][:-1]],
        lambda mine, other: [*mine, b"more"],
        lambda mine, other: [],
        lambda mine, other: [b"something else that is no block at all"],
        lambda mine, other: [*mine[:2], bytes([mine[2][0] ^ 1]), mine[2][1:], *mine[3:]],
        lambda mine, other: [*mine[:2], mine[2][:-1], bytes([mine[2][-1] ^ 1]), *mine[3:]],
    ],
)
def test_what_was_changed_is_told(tmp_path: Path, attack: Callable[[list[bytes], list[bytes]], list[bytes]]) -> None:
    path = sealed(tmp_path, content(4 * STEP + 5))
    mine = blocks_of(path)
    other = blocks_of(sealed(tmp_path, content(4 * STEP + 5), id=UUID(int=7)))
    path.write_bytes(b"".join(attack(mine, other)))
    with pytest.raises(FormatError, match=path.name):
        os.close(unsealed_fd(path, ring(KEY)))


def test_nothing_is_left_where_it_fails(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="Bad file descriptor"):
        seal_file(-1, tmp_path / "x.sealed", CODINGS[0], OBJECT)
    with pytest.raises(ValueError, match="with a key"):
        seal_file(0, tmp_path / "x.sealed", SimpleNamespace(zstd_level=1, key=None), OBJECT)
    assert os.listdir(tmp_path) == []


def test_an_index_is_read_through_it(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({"n": list(range(200_000))})
    pq.write_table(table, tmp_path / "clear.parquet", row_group_size=20_000)
    path = sealed(tmp_path, (tmp_path / "clear.parquet").read_bytes())
    with open_sealed(path, ring(KEY)) as file:
        assert pq.ParquetFile(file).read_row_group(3).column("n")[5].as_py() == 60_005
