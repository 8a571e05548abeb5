# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""Merging archives: csrc/entry.h under a thin layer."""

import numpy as np

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint64_t

from tapeloom.agent.rows import RowBatch
from tapeloom.errors import FormatError


cdef extern from "bytes.h" nogil:
    cdef struct tl_bytes:
        uint8_t *data
        size_t used
    cdef struct tl_text:
        const uint8_t *data
        size_t bytes
    void tl_bytes_free(tl_bytes *b)


cdef extern from "walk.h" nogil:
    cdef struct tl_row:
        pass
    cdef struct tl_rows:
        tl_bytes rows, paths, links
    cdef struct tl_counts:
        uint64_t files, folders, others, bytes


cdef extern from "entry.h" nogil:
    enum:
        TL_ENTRY_WHOLE
        TL_ENTRY_MORE
        TL_ENTRY_END
    cdef struct tl_entry:
        tl_text path, link, listing
        size_t listing_record, listing_record_bytes, header_bytes
        uint64_t stored
        int kind
    int tl_entry_read(const uint8_t *data, size_t bytes, tl_entry *entry)
    enum:
        TL_LISTED_FOLDER
        TL_LISTED_OTHER
    cdef struct tl_listed:
        const uint8_t *at
        const uint8_t *end
        tl_text name
        uint8_t letter
    int tl_listed_next(tl_listed *l)
    int tl_listed_keeps(tl_listed *l, tl_text name)
    cdef struct tl_passing:
        tl_bytes last
        tl_rows rows
        tl_counts counts
        int wants_rows
    int tl_pass(tl_passing *to, const tl_entry *entry, uint64_t offset)
    int64_t tl_pass_run(tl_passing *to, const uint8_t *data, size_t bytes, tl_text bound, int with_links, uint64_t offset)


_ROW = np.dtype([
    ("size", "<u8"), ("offset", "<u8"), ("mtime", "<i8"), ("mode", "<u4"), ("uid", "<u4"), ("gid", "<u4"),
    ("path_bytes", "<u4"), ("link_bytes", "<u4"), ("kind", "<u4"),
])

cdef const uint8_t *NOTHING = <const uint8_t *>""


cdef class Head:
    """What the header of one entry says. `key` is its path as a key (see `tapeloom.index.keys`), `link` what it is a link to, as it
    stands in the archive, `stored` the length of the content, without the padding. `listing` is where in the header the value of
    GNU.dumpdir stands, from and up to, `record` where the record of it does; None where there is none."""

    cdef readonly bytes key, link
    cdef readonly int kind
    cdef readonly size_t header_bytes
    cdef readonly uint64_t stored
    cdef readonly object listing, record


def read_head(const uint8_t[::1] view not None):
    """The header at the beginning of *view*: a Head; None for the archive's end mark; or a number, how many bytes have to be looked at,
    at least. Raises FormatError for what is no header."""
    cdef tl_entry entry
    cdef int found = tl_entry_read(&view[0] if view.shape[0] else NOTHING, view.shape[0], &entry)
    if found == TL_ENTRY_MORE:
        return entry.header_bytes
    if found == TL_ENTRY_END:
        return None
    if found != TL_ENTRY_WHOLE:
        raise FormatError("it is none of an entry")
    cdef Head head = Head.__new__(Head)
    head.key = bytes_of(entry.path).replace(b"/", b"\0")
    head.link = bytes_of(entry.link)
    head.kind = entry.kind
    head.header_bytes = entry.header_bytes
    head.stored = entry.stored
    if entry.listing.data != NULL:
        begin = entry.listing.data - &view[0]
        head.listing = begin, begin + entry.listing.bytes
        head.record = entry.listing_record, entry.listing_record + entry.listing_record_bytes
    return head


cdef bytes bytes_of(tl_text text):
    return PyBytes_FromStringAndSize(<const char *>text.data, text.bytes)


cdef bytes bytes_in(tl_bytes *b):
    return PyBytes_FromStringAndSize(<const char *>b.data, b.used)


KEEPS_FOLDER = TL_LISTED_FOLDER
KEEPS_OTHER = TL_LISTED_OTHER


cdef class Names:
    """The names that a folder's list has, bytes *begin* up to before *end* of *buffer*, asked for in ascending order. Every call raises
    FormatError for a list that does not ascend, or has letters that are none of ours."""

    cdef const uint8_t[::1] buffer
    cdef tl_listed listed

    def __init__(self, const uint8_t[::1] buffer not None, Py_ssize_t begin, Py_ssize_t end):
        if not 0 <= begin < end <= buffer.shape[0] or buffer[end - 1]:
            raise FormatError("the list has no end")
        self.buffer = buffer
        self.listed.at = &buffer[0] + begin
        self.listed.end = &buffer[0] + end - 1
        self._believe(tl_listed_next(&self.listed))

    def keeps(self, bytes name not None):
        """What may stay under that name: KEEPS_FOLDER, KEEPS_OTHER, both or 0."""
        cdef tl_text text
        text.data = <const uint8_t *>PyBytes_AS_STRING(name)
        text.bytes = PyBytes_GET_SIZE(name)
        cdef int kept = tl_listed_keeps(&self.listed, text)
        self._believe(kept >= 0)
        return kept

    def finish(self):
        """Nobody asks for more: the rest has to ascend as well, for otherwise it was asked in vain."""
        while self.listed.letter:
            self._believe(tl_listed_next(&self.listed))

    cdef _believe(self, bint right):
        if not right:
            raise FormatError("the list does not ascend, or is none of ours")


cdef class Passing:
    """Notes what goes into an archive, one entry after another: counts, and the rows of its index where they are wanted."""

    cdef tl_passing passing

    def __cinit__(self, *, bint rows):
        self.passing.wants_rows = rows

    def __dealloc__(self):
        tl_bytes_free(&self.passing.last)
        self._free()

    cdef _free(self):
        tl_bytes_free(&self.passing.rows.rows)
        tl_bytes_free(&self.passing.rows.paths)
        tl_bytes_free(&self.passing.rows.links)

    def one(self, const uint8_t[::1] header not None, uint64_t offset):
        """The entry with this header stands at byte *offset* of the archive."""
        cdef tl_entry entry
        if tl_entry_read(&header[0] if header.shape[0] else NOTHING, header.shape[0], &entry) != TL_ENTRY_WHOLE:
            raise FormatError("it is none of an entry")
        if not tl_pass(&self.passing, &entry, offset):
            raise MemoryError

    def run(self, const uint8_t[::1] view not None, bytes bound, bint with_links, uint64_t offset):
        """As many entries as are plain at the beginning of *view* and stand before the key *bound* (None: all do): how many bytes
        they take. The first that lists names, is a hard link but *with_links*, or does not lie there whole, ends it."""
        cdef tl_text until
        cdef int64_t done
        if view.shape[0] == 0:
            return 0
        until.data = NULL
        until.bytes = 0
        if bound is not None:
            until.data = <const uint8_t *>PyBytes_AS_STRING(bound)
            until.bytes = PyBytes_GET_SIZE(bound)
        with nogil:
            done = tl_pass_run(&self.passing, &view[0], view.shape[0], until, with_links, offset)
        if done < 0:
            raise MemoryError
        return done

    @property
    def last(self):
        """The key of the last entry."""
        return bytes_in(&self.passing.last)

    @property
    def counts(self):
        """Files, folders, other entries and bytes of content."""
        c = self.passing.counts
        return c.files, c.folders, c.others, c.bytes

    @property
    def rows_waiting(self):
        return self.passing.rows.rows.used // sizeof(tl_row)

    def take_rows(self):
        """The rows that have come together."""
        table = np.frombuffer(bytes_in(&self.passing.rows.rows), _ROW)
        paths, links = bytes_in(&self.passing.rows.paths), bytes_in(&self.passing.rows.links)
        self.passing.rows.rows.used = self.passing.rows.paths.used = self.passing.rows.links.used = 0
        column = np.ascontiguousarray
        return RowBatch(
            paths, np.cumsum(table["path_bytes"], dtype=np.uint64), table["kind"].astype(np.uint8), column(table["mode"]),
            column(table["uid"]), column(table["gid"]), column(table["size"]), column(table["mtime"]),
            column(table["offset"]), links, np.cumsum(table["link_bytes"], dtype=np.uint64),
        )
