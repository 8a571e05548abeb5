"""Images: onto a device, and as a file."""

from __future__ import annotations

import contextlib
import os
import stat

import pytest
from agent_world import MemorySequence
from extract_world import ViewedSequence, archive_of, folder, member
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_extract_trouble import sparse

from tapeloom._untree import zero_range
from tapeloom.agent import opaque
from tapeloom.agent.opaque import restore_raw
from tapeloom.errors import FormatError, RestoreError

IMAGE = sparse("image", 100_000, (4096, b"A" * 5000), (70_000, b"B"))
SEEN = (bytes(4096) + b"A" * 5000).ljust(70_000, b"\0") + b"B" + bytes(29_999)


@pytest.fixture
def as_device(monkeypatch):
    """Files stand for block devices: they have a length, and are written where they lie."""
    monkeypatch.setattr(opaque, "_is_device", lambda target: target.exists())


def test_as_a_new_file(tmp_path):
    assert restore_raw(ViewedSequence(archive_of(IMAGE)), tmp_path / "image") == 5001
    assert (tmp_path / "image").read_bytes() == SEEN
    status = (tmp_path / "image").stat()
    assert stat.S_IMODE(status.st_mode) == 0o600
    assert status.st_blocks * 512 < 50_000
    assert os.listdir(tmp_path) == ["image"]


def test_a_file_is_replaced_only_when_asked(tmp_path):
    (tmp_path / "image").write_text("mine")
    with pytest.raises(RestoreError, match="image exists already"):
        restore_raw(ViewedSequence(archive_of(IMAGE)), tmp_path / "image")
    assert (tmp_path / "image").read_text() == "mine"
    restore_raw(ViewedSequence(archive_of(IMAGE)), tmp_path / "image", replace=True)
    assert (tmp_path / "image").read_bytes() == SEEN


def test_a_file_without_holes(tmp_path):
    assert restore_raw(MemorySequence(archive_of(member("x", data=b"x" * 700))), tmp_path / "image") == 700
    assert (tmp_path / "image").read_bytes() == b"x" * 700


def test_onto_a_device(tmp_path, as_device):
    """What stood there shows through neither data nor holes; what lies behind stays."""
    (tmp_path / "device").write_bytes(b"old" * 50_000)
    inode = (tmp_path / "device").stat().st_ino
    assert restore_raw(ViewedSequence(archive_of(IMAGE)), tmp_path / "device", replace=True) == 5001
    assert (tmp_path / "device").read_bytes() == SEEN + (b"old" * 50_000)[100_000:]
    assert (tmp_path / "device").stat().st_ino == inode


def test_a_device_that_is_too_small_is_left_alone(tmp_path, as_device):
    (tmp_path / "device").write_bytes(b"old" * 1000)
    with pytest.raises(RestoreError, match="device has 3000 bytes, and the image 100000: it does not fit"):
        restore_raw(ViewedSequence(archive_of(IMAGE)), tmp_path / "device", replace=True)
    assert (tmp_path / "device").read_bytes() == b"old" * 1000


def test_a_device_is_overwritten_only_when_asked(tmp_path, as_device):
    (tmp_path / "device").write_bytes(b"old" * 50_000)
    with pytest.raises(RestoreError, match="device exists already"):
        restore_raw(ViewedSequence(archive_of(IMAGE)), tmp_path / "device")
    assert (tmp_path / "device").read_bytes() == b"old" * 50_000


@pytest.mark.parametrize("archive", [archive_of(), archive_of(folder("d")), archive_of(folder("d"), IMAGE)])
def test_an_archive_that_is_no_image(tmp_path, archive):
    with pytest.raises(FormatError, match="it is no image"):
        restore_raw(ViewedSequence(archive), tmp_path / "image")
    assert os.listdir(tmp_path) == []


def test_an_archive_of_two_files_leaves_nothing(tmp_path):
    with pytest.raises(FormatError, match=r"more than one file \(second\)"):
        restore_raw(ViewedSequence(archive_of(IMAGE, member("second"))), tmp_path / "image")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("cut", [600, 5000, 7100])
def test_an_image_that_breaks_off_leaves_nothing(tmp_path, cut):
    with pytest.raises(FormatError, match="breaks off"):
        restore_raw(ViewedSequence(archive_of(IMAGE)[:cut]), tmp_path / "image")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_neither_a_device_nor_a_file(tmp_path, make):
    make(tmp_path / "x")
    with pytest.raises(RestoreError, match="x is neither a block device nor a file"):
        restore_raw(ViewedSequence(archive_of(IMAGE)), tmp_path / "x", replace=True)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(RestoreError, match="cannot be written: No such file"):
        restore_raw(ViewedSequence(archive_of(IMAGE)), tmp_path / "no" / "image")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    gaps=st.lists(st.tuples(st.integers(0, 9000), st.binary(min_size=1, max_size=900)), max_size=5),
    rest=st.integers(0, 9000),
)
def test_any_image(tmp_path, as_device, gaps, rest):
    extents, wanted = [], b""
    for gap, data in gaps:
        extents.append((len(wanted) + gap, data))
        wanted += bytes(gap) + data
    wanted += bytes(rest)
    archive = archive_of(sparse("image", len(wanted), *extents))
    (tmp_path / "device").write_bytes(b"\xaa" * (len(wanted) + 100))
    for target, behind in (("device", b"\xaa" * 100), ("image", b"")):
        restore_raw(MemorySequence(archive), tmp_path / target, replace=True)
        assert (tmp_path / target).read_bytes() == wanted + behind
    (tmp_path / "image").unlink()


def test_zeros_where_no_holes_can_be(tmp_path):
    """A pipe has no place to write zeros to, and a length beyond all files is refused."""
    reader, writer = os.pipe()
    with pytest.raises(OSError, match="Illegal seek"):
        zero_range(writer, 0, 10)
    with pytest.raises(OverflowError):
        zero_range(writer, 1, 2**63 - 1)
    zero_range(writer, 5, 0)
    for fd in (reader, writer):
        with contextlib.suppress(OSError):
            os.close(fd)
