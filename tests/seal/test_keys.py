from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.pretty import pretty_repr

from tapeloom.cli.keys import key as key_command
from tapeloom.errors import SealBroken, SealError
from tapeloom.runtime.coding import Coding
from tapeloom.seal import Key, KeyRing, new_key_file
from tapeloom.seal.keys import read_key_file

SECRET = bytes(range(32))


def test_a_key_file_holds_its_key_for_its_owner_alone(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        made = new_key_file(tmp_path / "k.key", "K1")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "k.key").stat().st_mode) == 0o600
    found = read_key_file(tmp_path / "k.key")
    assert (found, found.name) == (made, "K1")
    assert len(made.secret) == 32
    assert new_key_file(tmp_path / "other.key").secret != made.secret


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    first = new_key_file(tmp_path / "k.key")
    with pytest.raises(SealError, match="is there already"):
        new_key_file(tmp_path / "k.key")
    assert read_key_file(tmp_path / "k.key") == first


def test_where_no_file_can_be_the_sentence_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SealError, match="cannot be made: File exists"):
        new_key_file(tmp_path / "file" / "k.key")
    new_key_file(tmp_path / "made" / "k.key")
    assert (tmp_path / "made").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("name", ["", " K", "a\nb", "tab\t"])
def test_a_name_is_one_line(tmp_path: Path, name: str) -> None:
    with pytest.raises(SealError, match="cannot be a key's name"):
        new_key_file(tmp_path / "k.key", name)
    assert not (tmp_path / "k.key").exists()


def test_the_secret_is_in_no_representation() -> None:
    key = Key.of(SECRET, "K1")
    for shown in (repr(key), pretty_repr(key), pretty_repr(Coding(key=key))):
        assert key.shown in shown
        assert "secret" not in shown
        assert repr(SECRET)[2:-1] not in shown
        assert SECRET.hex() not in shown


@pytest.fixture(scope="module")
def key_text(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("key") / "k.key"
    new_key_file(file)
    return file.read_text()


@given(st.data())
def test_any_wrong_character_is_found(
    tmp_path_factory: pytest.TempPathFactory, key_text: str, data: st.DataObject
) -> None:
    folder, text = tmp_path_factory.mktemp("key"), key_text
    secret = re.search(r"secret: (.*)=\n", text)
    assert secret is not None
    at = data.draw(st.integers(secret.start(1), secret.end(1) - 2))  # the last one has bits that say nothing
    other = data.draw(st.sampled_from("ABCabc012+/!\n é").filter(lambda one: one != text[at]))
    (folder / "k.key").touch(0o600)
    (folder / "k.key").write_text(text[:at] + other + text[at + 1 :])
    with pytest.raises(SealError, match=r"k\.key"):
        read_key_file(folder / "k.key")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "is no key file"),
        ("hello", "is no key file"),
        ("tapeloom key, version 2\n", "of another version"),
        ("tapeloom key, version 1\nid: 00\n", "it has no secret"),
        ("tapeloom key, version 1\nid: zz\nsecret: AAAA\n", "do not belong together"),
        ("tapeloom key, version 1\nid: 00\nsecret: AAAA\n", "do not belong together"),
    ],
)
def test_what_is_no_key_file_is_told(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "k.key").write_text(text)
    with pytest.raises(SealError, match=expected):
        read_key_file(tmp_path / "k.key")
    (tmp_path / "k.key").write_bytes(b"\xff\xfe")
    with pytest.raises(SealError, match="is no key file"):
        read_key_file(tmp_path / "k.key")


def test_a_key_that_others_may_read_is_remarked_and_used(tmp_path: Path) -> None:
    made = new_key_file(tmp_path / "k.key")
    assert KeyRing.load([tmp_path / "k.key"]).remarks == []
    (tmp_path / "k.key").chmod(0o640)
    ring = KeyRing.load([tmp_path / "k.key"])
    assert ring.find(made.id) == made
    assert "chmod 600" in ring.remarks[0]


def test_a_ring_finds_by_id_and_by_the_configurations_name(tmp_path: Path) -> None:
    made = new_key_file(tmp_path / "k.key", "its own name")
    ring = KeyRing.load({"K1": tmp_path / "k.key"})
    assert ring.find(made.id) == ring.find(made.shown) == ring.named("K1")
    assert ring.named("K1").name == "K1"
    with pytest.raises(SealError, match="no key called 'K2'"):
        ring.named("K2")
    with pytest.raises(SealError, match=f"{bytes(16).hex()}, which is not here: name its file"):
        ring.find(bytes(16))


def test_a_file_that_cannot_be_read_is_told_when_its_key_is_asked_for(tmp_path: Path) -> None:
    made = new_key_file(tmp_path / "k.key")
    ring = KeyRing.load({"K1": tmp_path / "k.key", "K2": tmp_path / "gone.key"})
    assert ring.named("K1").id == made.id
    with pytest.raises(SealError, match=r"gone\.key cannot be read: No such file"):
        ring.named("K2")
    with pytest.raises(SealError, match=r"which is not here.*and the key file .*gone\.key cannot be read"):
        ring.find(bytes(16))


@given(secret=st.binary(min_size=32, max_size=32), data_key=st.binary(min_size=32, max_size=32))
def test_wrapping(secret: bytes, data_key: bytes) -> None:
    key = Key.of(secret)
    wrapped = key.wrap(data_key)
    assert len(wrapped) == 40
    assert key.unwrap(wrapped) == data_key
    other = Key.of(bytes([secret[0] ^ 1]) + secret[1:])
    assert other.id != key.id
    for wrong in (lambda: other.unwrap(wrapped), lambda: key.unwrap(wrapped[:-1] + bytes([wrapped[-1] ^ 1]))):
        with pytest.raises(SealBroken):
            wrong()


def test_wrapping_is_rfc_3394() -> None:
    """Section 4.6: 256 bits of key data with a 256-bit KEK."""
    key = Key.of(bytes.fromhex("000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F"))
    data_key = bytes.fromhex("00112233445566778899AABBCCDDEEFF000102030405060708090A0B0C0D0E0F")
    expected = "28C9F404C4B810F4CBCCB35CFB87F8263F5786E2D80ED326CBC7F0E71A99F43BFB988B9B7A02DD21"
    assert key.wrap(data_key).hex().upper() == expected


def test_the_id_is_pinned() -> None:
    """It stands on tapes."""
    assert Key.of(SECRET).shown == "e25720f86fe8d980ba622ed903a94df2"


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "k.key"
    key_command.main(["new", str(file), "--name", "K1"], standalone_mode=False)
    made = read_key_file(file)
    told = capsys.readouterr()
    assert told.out == f"{made.shown}\n"
    assert "is lost with it" in told.err
    key_command.main(["show", str(file)], standalone_mode=False)
    shown = capsys.readouterr()
    assert shown.out == f"{made.shown}  K1\n"
    secret = re.search("secret: (.*)", file.read_text())
    assert secret is not None
    for text in (told.out, told.err, shown.out, shown.err):
        assert made.secret.hex() not in text
        assert secret[1] not in text
    with pytest.raises(SealError, match="is there already"):
        key_command.main(["new", str(file)], standalone_mode=False)
    file.chmod(0o644)
    key_command.main(["show", str(file)], standalone_mode=False)
    assert "chmod 600" in capsys.readouterr().err
