"""Headers, records, lists and sparse maps, written and read again."""

from __future__ import annotations

import os
import pwd
import tracemalloc

import pytest
from agent_world import ACL, MemorySequence, packed_acl
from hypothesis import given
from hypothesis import strategies as st

from tapeloom.agent import acl, pax
from tapeloom.agent.owners import Owners
from tapeloom.agent.report import Trouble
from tapeloom.agent.unpax import Entry, Unpax
from tapeloom.errors import FormatError


def status(**fields) -> os.stat_result:
    values = {"st_mode": 0o100644, "st_uid": 1, "st_gid": 1, "st_size": 0, "st_rdev": 0, "st_mtime_ns": 0} | fields
    return type("Status", (), values)()


def parsed(archive: bytes) -> list[Entry]:
    return list(Unpax(MemorySequence(archive)))


paths = st.binary(min_size=1, max_size=400).filter(lambda path: b"\0" not in path and not path.endswith(b"/"))


@given(
    path=paths,
    link=paths,
    mode=st.integers(0, 0o7777),
    uid=st.integers(0, 2**32 - 2),
    gid=st.integers(0, 2**32 - 2),
    mtime=st.integers(-(2**63) + 1, 2**63 - 1),
    user=st.text("ab\u00fc", max_size=40),
    attributes=st.dictionaries(
        st.binary(min_size=1, max_size=20).filter(lambda name: b"\0" not in name and b"%" not in name),
        st.binary(max_size=200),
        max_size=3,
    ),
)
def test_a_header_says_what_it_was_told(path, link, mode, uid, gid, mtime, user, attributes):
    header = pax.header(
        path,
        pax.SYMBOLIC_LINK,
        status(st_mode=mode, st_uid=uid, st_gid=gid, st_mtime_ns=mtime),
        link=link,
        user=user.encode(),
        records=[pax.record(pax.XATTR + key.replace(b"=", b"%3D"), value) for key, value in attributes.items()],
    )
    assert len(header) % 512 == 0
    (entry,) = parsed(header + pax.END)
    assert (entry.path, entry.kind, entry.link) == (path, pax.SYMBOLIC_LINK, link)
    assert (entry.mode, entry.uid, entry.gid, entry.mtime, entry.user) == (mode, uid, gid, mtime, user.encode())
    assert entry.attributes == attributes


@given(st.binary(min_size=1, max_size=30).filter(lambda key: b"=" not in key), st.binary(max_size=2000))
def test_a_record_states_its_own_length(key, value):
    record = pax.record(key, value)
    assert int(record.partition(b" ")[0]) == len(record)


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 8**11 - 1, 8**11, 2**62])
def test_sizes(size):
    sequence = MemorySequence(pax.header(b"f", pax.REGULAR, status(), size=size))
    reading = iter(Unpax(sequence))
    assert next(reading).stored == size
    if size:
        with pytest.raises(FormatError, match="breaks off after f"):
            next(reading)


@pytest.mark.parametrize("size", [2**63, -1])
def test_sizes_that_no_file_has(size):
    record = pax.record(b"size", b"%d" % size)
    with pytest.raises(FormatError, match="f in the archive has a size that no file can have"):
        parsed(pax.header(b"f", pax.REGULAR, status(), records=[record]))


@given(st.binary(max_size=3000))
def test_bytes_at_random_are_refused(data):
    with pytest.raises(FormatError):
        parsed(data if not data.startswith(bytes(512)) else data[:511])


@pytest.mark.parametrize(
    "records",
    [
        b"7 a=b\n",
        b"5 a=b\n",
        b"6 ab\n\n",
        b"06 a=b",
        b"99999999999999999999 a=b\n",
        b"-6 a=b\n",
        b" a=b\n",
        b"6 =ab\n"[:4],
        b"12 mtime=x1\n",
        b"10 uid=1x\n",
    ],
)
def test_records_that_are_none(records):
    header = bytearray(pax.header(b"f", pax.REGULAR, status(), size=len(records)))
    header[156:157] = b"x"
    total = sum(header) - sum(header[148:156]) + 256
    header[148:156] = b"%06o\0 " % total
    body = records.ljust(512, b"\0")
    with pytest.raises(FormatError, match="record"):
        parsed(bytes(header) + body + pax.header(b"f", pax.REGULAR, status()) + pax.END)


@pytest.mark.parametrize("kind", [b"x", b"g", b"L", b"K"])
def test_a_header_cannot_ask_for_memory_without_bound(kind):
    header = bytearray(pax.header(b"f", pax.REGULAR, status(), size=8**11 - 1))
    header[156:157] = kind
    header[148:156] = b"%06o\0 " % (sum(header) - sum(header[148:156]) + 256)
    with pytest.raises(FormatError, match=f"would take {8**11 - 1} bytes"):
        parsed(bytes(header))


@pytest.mark.parametrize(
    ("extents", "realsize", "words"),
    [
        ([(0, 5), (4, 1)], 100, "does not fit the file"),
        ([(0, 5), (98, 3)], 100, "does not fit the file"),
        ([(0, 4)], 100, "does not fit its content"),
        ([(0, 6)], 2**63, "does not fit the file"),
    ],
)
def test_sparse_maps_that_do_not_fit(extents, realsize, words):
    mapped = pax.sparse_map(extents)
    records = pax.sparse_records(b"s", realsize)
    header = pax.header(b"x", pax.REGULAR, status(), size=len(mapped) + 6, records=records)
    with pytest.raises(FormatError, match=words):
        parsed(header + mapped + bytes(512) + pax.END)


@pytest.mark.parametrize("mapped", [b"", b"x\n", b"2\n0\n5\n", b"-1\n", b"9" * 512, b"1\n0\n" + b"5" * 508, b"\n\n\n"])
def test_sparse_maps_that_cannot_be_read(mapped):
    body = mapped.ljust(512, b"\0")
    header = pax.header(b"x", pax.REGULAR, status(), size=len(body), records=pax.sparse_records(b"s", 100))
    with pytest.raises(FormatError, match="sparse map of s"):
        parsed(header + body + pax.END)


def test_a_sparse_map_cannot_ask_for_memory_without_bound():
    body = (b"%d\n" % (pax.EXTENTS_MAX + 1)).ljust(512, b"\0")
    header = pax.header(b"x", pax.REGULAR, status(), size=len(body), records=pax.sparse_records(b"s", 100))
    with pytest.raises(FormatError, match="s has more than 131072 pieces"):
        parsed(header + body + pax.END)


def test_older_sparse_forms_are_named():
    header = pax.header(b"x", pax.REGULAR, status(), records=[pax.record(b"GNU.sparse.size", b"5")])
    with pytest.raises(FormatError, match=r"--sparse-version=1\.0"):
        parsed(header + pax.END)


def test_an_archive_without_its_end_mark_is_not_whole():
    with pytest.raises(FormatError, match="breaks off after f"):
        parsed(pax.header(b"f", pax.REGULAR, status()))
    with pytest.raises(FormatError, match="breaks off at its start"):
        parsed(b"")


def test_many_records_headers_hold_no_memory():
    one = pax.header(b"f", pax.REGULAR, status(), records=[pax.record(b"SCHILY.xattr.user.x", b"v" * 100_000)])[:-512]
    archive = one * 100 + pax.header(b"f", pax.REGULAR, status()) + pax.END
    tracemalloc.start()
    parsed(archive)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000


def test_records_for_all_entries():
    both = pax.header(b"f", pax.REGULAR, status(), records=[pax.record(b"uname", b"all"), pax.record(b"path", b"no")])
    g = bytearray(both[:512])
    g[156:157] = b"g"
    g[148:156] = b"%06o\0 " % (sum(g) - sum(g[148:156]) + 256)
    archive = bytes(g) + both[512:1024] + b"".join(pax.header(n, pax.REGULAR, status()) for n in (b"a", b"b")) + pax.END
    assert [(entry.path, entry.user) for entry in parsed(archive)] == [(b"a", b"all"), (b"b", b"all")]


def test_lists_there_and_back():
    owners = Owners()
    text = acl.to_text(ACL, owners)
    daemon = pwd.getpwuid(1).pw_name.encode()
    assert text == b"user::rw-\nuser:%b:r--\nuser:12345:rwx\ngroup::r--\nmask::rwx\nother::r--\n" % daemon
    assert acl.from_text(text, owners) == ACL


@given(st.binary(max_size=60))
def test_bytes_that_are_no_list(data):
    if data[:4] != b"\2\0\0\0" or len(data) > 4:
        with pytest.raises(ValueError, match="access control list"):
            acl.to_text(data, Owners())


@pytest.mark.parametrize("text", [b"user", b"user::rwz", b"who::rwx", b"mask:1:rwx", b"user:4294967295:r", b"::"])
def test_text_that_is_no_list(text):
    with pytest.raises(ValueError, match=r"access control list|permissions|not known"):
        acl.from_text(text, Owners())


def test_an_empty_list():
    assert acl.to_text(packed_acl(), Owners()) == b""


def test_troubles_are_printed_for_people():
    assert str(Trouble(b"a\xff\n\x1b[1mb\xc3\xbc", "bad")) == '"a\\377\\n\\033[1mb\u00fc": bad'
