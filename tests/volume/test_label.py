from __future__ import annotations

import tarfile
from io import BytesIO
from uuid import UUID

import pytest
from small_volume import AS_OF, VOLUME, SmallVolume

from tapeloom.errors import FormatError
from tapeloom.ident import new_id
from tapeloom.volume.label import identify, is_tapeloom_label, reader_block, text_label


def make(label: str = "W-0001", drive: str = "R1") -> bytes:
    return text_label(label=label, volume_id=VOLUME, written_at=AS_OF, drive=drive, block_bytes=524288)


def test_a_label_is_4096_bytes_of_ascii_that_people_can_read() -> None:
    block = make()
    assert len(block) == 4096
    text = block.decode("ascii")
    assert text == text.rstrip("\n").ljust(4096, "\n")
    assert all(len(line) < 80 for line in text.splitlines())
    for word in ("TAPELOOM", "W-0001", str(VOLUME), "2023-11-14 22:13:20 UTC", "reader.py", "mt -f", "dd if=/dev/nst0"):
        assert word in text
    assert is_tapeloom_label(block)
    assert not is_tapeloom_label(block[:-1])


def test_strange_names_stay_on_their_line() -> None:
    text = make(label="Bänder\nTAPE", drive="\x1b[2J").decode("ascii")
    assert "label         B?nder?TAPE\n" in text
    assert "\x1b" not in text


def test_a_name_that_does_not_fit_is_refused() -> None:
    with pytest.raises(FormatError, match="shorten"):
        make(label="x" * 4000)


def test_the_reader_block_is_16_kib() -> None:
    assert len(reader_block()) == 16384
    assert reader_block().startswith(b"#!/usr/bin/env python3\n")


def test_whose_tape_it_is(volume: SmallVolume) -> None:
    archive = BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("x"))
    for block, owner in [
        (volume.tape[0], "tapeloom"),
        (archive.getvalue(), "tar"),
        (b"VOL1ABCDEFL             LTFS         ".ljust(80), "LTFS"),
        (b"VOL1ABCDEF".ljust(80), "ANSI label"),
        (bytes(12) + b"BB02" + bytes(64), "Bareos or Bacula"),
        (b"AMANDA: TAPESTART DATE X TAPE DMP01\n", "Amanda"),
        (bytes(4096), None),
        (b"", None),
        (volume.tape[5], None),
    ]:
        assert identify(block or b"") == owner


def test_ids_sort_by_time_and_are_version_7() -> None:
    ids = [new_id(now=1_700_000_000_000_000_000 + step * 10_000) for step in range(200)]
    assert ids == sorted(ids)
    assert len(set(ids)) == 200
    assert all((one.version, one.variant) == (7, UUID(int=1 << 63).variant) for one in ids)
    assert ids[0].int >> 80 == 1_700_000_000_000
