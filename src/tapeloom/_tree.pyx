# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""Reading trees: csrc/walk.h, csrc/paxhead.h and csrc/snapshot.h under a layer as thin as it can be."""

import os
from contextlib import contextmanager

from cpython.buffer cimport PyBuffer_FillInfo
from libc.errno cimport EBADMSG, ENOMEM
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from tapeloom.agent.rows import RowBatch
from tapeloom.errors import SourceError


_ROW = [
    ("size", "<u8"), ("offset", "<u8"), ("mtime", "<i8"), ("mode", "<u4"), ("uid", "<u4"), ("gid", "<u4"),
    ("path_bytes", "<u4"), ("link_bytes", "<u4"), ("kind", "<u4"),
]


DOUBT = TL_MARK_DOUBT
"""In the marks of a record: not to be trusted, to be taken again."""


class Odd:
    """Why an entry is left to the caller (csrc/walk.h): bits of plain numbers, for there may be millions."""

    NAME = 1
    FOLDER = 2
    HEADER = 4
    UNLISTED = 8
    DEEP = 16
    MOVED = 32


cdef const uint8_t *NOTHING = <const uint8_t *>""


cdef tl_text text_of(const uint8_t[::1] data) noexcept:
    cdef tl_text text
    text.bytes = data.shape[0]
    text.data = NOTHING
    if data.shape[0]:
        text.data = &data[0]
    return text


cdef bytes bytes_of(tl_text text):
    return (<const char *>text.data)[:text.bytes]


cdef object nanoseconds(timespec stamp):
    cdef object seconds = stamp.tv_sec  # of Python's kind: there are stamps beyond 2262
    return seconds * 1_000_000_000 + stamp.tv_nsec


cdef bytes bytes_in(tl_bytes *b):
    return (<const char *>b.data)[:b.used] if b.used else b""


cdef int fill_status(c_stat *to, status) except -1:
    memset(to, 0, sizeof(c_stat))
    to.st_mode, to.st_uid, to.st_gid = status.st_mode, status.st_uid, status.st_gid
    to.st_dev, to.st_ino, to.st_nlink, to.st_rdev = status.st_dev, status.st_ino, status.st_nlink, status.st_rdev
    to.st_size = status.st_size
    seconds, fraction = divmod(status.st_mtime_ns, 1_000_000_000)
    to.st_mtim.tv_sec, to.st_mtim.tv_nsec = seconds, fraction
    seconds, fraction = divmod(status.st_ctime_ns, 1_000_000_000)
    to.st_ctim.tv_sec, to.st_ctim.tv_nsec = seconds, fraction
    return 0


def pax_header(const uint8_t[::1] path, bytes kind, status, *, uint64_t size=0, const uint8_t[::1] link=b"",
               const uint8_t[::1] user=b"", const uint8_t[::1] group=b"", const uint8_t[::1] records=b"", listing=None):
    """The header that `agent.pax.header` makes, made by the engine."""
    cdef tl_pax_entry entry
    cdef tl_bytes out
    cdef c_stat s
    cdef const uint8_t[::1] listed = listing if listing is not None else b""
    memset(&out, 0, sizeof(out))
    memset(&entry, 0, sizeof(entry))
    fill_status(&s, status)
    entry.path, entry.link, entry.user, entry.group = text_of(path), text_of(link), text_of(user), text_of(group)
    entry.records = text_of(records)
    if listing is not None:
        entry.listing = text_of(listed)
    entry.status = &s
    entry.size = size
    entry.kind = kind[0]
    try:
        if not tl_pax_header(&out, &entry):
            raise MemoryError
        return (<const char *>out.data)[:out.used]
    finally:
        tl_bytes_free(&out)


def crc32c(const uint8_t[::1] data, uint32_t crc=0):
    """CRC32C of *data*, going on from *crc*."""
    if data.shape[0]:
        with nogil:
            crc = tl_crc32c_best().update(crc, &data[0], data.shape[0])
    return crc


def first_not_behind(const uint8_t[::1] text, const uint64_t[::1] ends):
    """Of strings that end at *ends* in *text*: the number of the first that does not stand behind the one before it, in the
    order of their bytes; -1 where all do."""
    cdef Py_ssize_t i, count = ends.shape[0]
    cdef tl_text before, behind
    if count < 2:
        return -1
    with nogil:
        before.data, before.bytes = &text[0] if text.shape[0] else NULL, ends[0]
        for i in range(1, count):
            behind.data, behind.bytes = before.data + before.bytes, ends[i] - ends[i - 1]
            if tl_text_order(before, behind) >= 0:
                break
            before = behind
        else:
            i = -1
    return i


cdef class Level:
    """The records of one level of a snapshot: an iterator of (name, is_folder, marks, mode, inode, size, ctime_ns, mtime_ns,
    device, begin, inside, end), the last three as offsets into *records*. Raises SourceError where these are no records."""

    cdef const uint8_t[::1] records
    cdef tl_records reader

    def __cinit__(self, const uint8_t[::1] records, uint64_t begin, uint64_t end):
        if not begin <= end <= <uint64_t>records.shape[0]:
            raise ValueError("beyond the records")
        self.records = records
        if records.shape[0]:
            tl_records_open(&self.reader, &records[0] + begin, &records[0] + end)

    def __iter__(self):
        return self

    def __next__(self):
        cdef tl_record r
        cdef int there = tl_records_next(&self.reader, &r) if self.records.shape[0] else 0
        if there < 0:
            raise SourceError("the snapshot is damaged: take a full backup")
        if there == 0:
            raise StopIteration
        cdef const uint8_t *start = &self.records[0]
        return (
            bytes_of(r.name), r.kind == TL_RECORD_ENTER, r.marks, r.mode, r.inode, r.size,
            nanoseconds(r.changed), nanoseconds(r.modified),
            r.device, r.begin - start, r.inside - start, r.end - start,
        )


cdef batch_of(tl_rows *rows):
    """The rows as columns. They are freed."""
    import numpy as np  # which takes longer than a walk of many trees: not before there are rows

    try:
        table = np.frombuffer(bytes_in(&rows.rows), np.dtype(_ROW))
        paths, links = bytes_in(&rows.paths), bytes_in(&rows.links)
    finally:
        tl_bytes_free(&rows.rows)
        tl_bytes_free(&rows.paths)
        tl_bytes_free(&rows.links)
    column = np.ascontiguousarray
    return RowBatch(
        paths, np.cumsum(table["path_bytes"], dtype=np.uint64), table["kind"].astype(np.uint8), column(table["mode"]),
        column(table["uid"]), column(table["gid"]), column(table["size"]), column(table["mtime"]),
        column(table["offset"]), links, np.cumsum(table["link_bytes"], dtype=np.uint64),
    )


cdef class Linked:
    """The names in *records* that belong to inodes with several names and are not in doubt, from the roots at *begin* on."""

    cdef const uint8_t[::1] records
    cdef tl_linked linked

    def __cinit__(self, const uint8_t[::1] records, uint64_t begin):
        self.records = records
        if begin >= <uint64_t>records.shape[0]:
            raise ValueError("beyond the records")
        if not tl_linked_open(&self.linked, &records[0] + begin, &records[0] + records.shape[0]):
            raise MemoryError

    def __dealloc__(self):
        tl_linked_close(&self.linked)

    def next(self, size_t rows_max):
        """About so many of them as a RowBatch, `size` the inode's number and `mtime` its ctime; None after the last."""
        cdef tl_rows rows
        cdef int more
        memset(&rows, 0, sizeof(rows))
        if not self.linked.depth:
            return None
        with nogil:
            more = tl_linked_next(&self.linked, &rows, rows_max)
        batch = batch_of(&rows)
        if more < 0:
            raise SourceError("the snapshot is damaged: take a full backup")
        return batch


cdef class _Window:
    """Bytes of a walk as a buffer that keeps it."""

    cdef object keeper
    cdef void *data
    cdef Py_ssize_t bytes

    def __getbuffer__(self, Py_buffer *view, int flags):
        PyBuffer_FillInfo(view, self, self.data, self.bytes, True, flags)


cdef int exclude_with(void *context, tl_text path, tl_listing *listing) noexcept with gil:
    walk = <Walk>context
    cdef uint32_t i
    try:
        folder = bytes_of(path)[len(walk.prefix):]
        for i in range(listing.count):
            below = folder + bytes_of(tl_name_text(listing, i))
            if listing.name[i].type == 4:  # DT_DIR
                below += b"/"
            if walk.excluded(below):
                listing.name[i].type = TL_TYPE_LEFT_OUT
        return 1
    except BaseException as error:
        walk.raised = error
        return 0


cdef class Walk:
    """A walk over trees: `begin` one, `next` until None, `begin` the next. `work` is what its threads run, until `stop`.

    *snapshot*: descriptor and offset of the records to be written, or None. *since*: records of the snapshot to compare with,
    or None for a full run. *forced*: sorted inode numbers, all names of which are to be taken; None where nobody has looked for them.
    """

    cdef tl_walk *walk
    cdef readonly bytes prefix
    cdef object excluded, markers, raised, spill
    cdef tl_text *marker_texts
    cdef const uint8_t[::1] since
    cdef const uint64_t[::1] forced
    cdef bint looked

    def __cinit__(self, *, limits, bint one_file_system, bint caches, markers, excluded, since, forced, snapshot, bint rows,
                  bint looking, bytes spill):
        cdef tl_walk_limits c
        c.small_bytes, c.chunk_bytes, c.ahead_bytes = limits.small_bytes, limits.chunk_bytes, limits.ahead_bytes
        c.range_names, c.ahead_nodes, c.folders_open = limits.range_names, limits.ahead_nodes, limits.folders_open
        c.path_bytes_max, c.names_held, c.settle_ns = limits.path_bytes_max, limits.names_held, limits.settle_ns
        self.walk = tl_walk_new(&c)
        self.marker_texts = <tl_text *>calloc(len(markers) + 1, sizeof(tl_text))
        if self.walk == NULL or self.marker_texts == NULL:
            raise MemoryError
        self.markers = tuple(markers)
        for i, marker in enumerate(self.markers):
            self.marker_texts[i].data = <const uint8_t *><const char *>marker
            self.marker_texts[i].bytes = len(marker)
        self.walk.rules.markers = self.marker_texts
        self.walk.rules.marker_count = len(markers)
        self.walk.rules.one_file_system = one_file_system
        self.walk.rules.caches = caches
        self.walk.wants_rows = rows
        self.walk.looking = looking
        self.spill = spill
        self.walk.spill = spill
        self.excluded = excluded
        if excluded is not None:
            self.walk.rules.exclude = exclude_with
            self.walk.rules.exclude_context = <void *>self
        if since is not None:
            self.since = since
            self.walk.since_end = text_of(self.since).data + self.since.shape[0]
        self.looked = forced is not None
        if self.looked and len(forced):
            self.forced = forced
            self.walk.forced.inode = &self.forced[0]
            self.walk.forced.count = self.forced.shape[0]
        if snapshot is not None:
            self.walk.snapshot.fd, self.walk.snapshot.at = snapshot

    def __dealloc__(self):
        if self.walk != NULL:
            tl_walk_free(self.walk)
        free(self.marker_texts)

    def begin(self, int root, bytes prefix, uint32_t row_skip, since):
        """The open folder *root*, which is the walk's from now on, under the path *prefix*. *since*: the offset of its ENTER in
        the records compared with, or None."""
        cdef const uint8_t *enter = NULL
        if since is not None:
            enter = &self.since[<uint64_t>since]
        self.prefix = prefix
        cdef tl_text text
        text.data = <const uint8_t *><const char *>self.prefix
        text.bytes = len(prefix)
        if not tl_walk_begin(self.walk, root, text, row_skip, enter):
            raise MemoryError

    def work(self):
        with nogil:
            tl_walk_work(self.walk)

    def stop(self):
        with nogil:
            tl_walk_stop(self.walk)

    def next(self):
        """Bytes to be written, valid until the next call; or of an entry left to the caller (what: Odd, path, name, descriptor,
        errno, type, listing or None, descriptor of the listing, its length); None when the tree is through."""
        cdef const uint8_t *data = NULL
        cdef size_t bytes = 0
        cdef int event
        cdef tl_walk_odd odd
        cdef _Window window
        with nogil:
            event = tl_walk_next(self.walk, &data, &bytes)
        if event == TL_WALK_BYTES:
            window = _Window.__new__(_Window)
            window.keeper, window.data, window.bytes = self, <void *>data, bytes
            return memoryview(window)
        if event == TL_WALK_END:
            return None
        if event == TL_WALK_ODD:
            if not tl_walk_look(self.walk, &odd):
                raise MemoryError
            return (
                odd.what, bytes_of(odd.path), bytes_of(odd.name), odd.fd, odd.error, odd.type,
                bytes_of(odd.listed) if odd.listed.data != NULL else None, odd.listed_fd, odd.listed_bytes,
            )
        if self.raised is not None:
            raise self.raised
        if self.walk.error == EBADMSG:
            raise SourceError("the snapshot is damaged: take a full backup")
        if self.walk.error == ENOMEM:
            raise MemoryError
        raise SourceError(
            f"the names of a large folder cannot be kept in {os.fsdecode(self.spill)}: {os.strerror(self.walk.error)}"
        )

    def record(self, status, bint doubt=False):
        """For the snapshot: the entry in the caller's hands is in the archive as *status* says."""
        cdef c_stat s
        fill_status(&s, status)
        if not tl_walk_record(self.walk, &s, TL_MARK_DOUBT if doubt else 0):
            raise MemoryError

    def doubt(self, status, int64_t now_ns):
        """Whether a later change might bear the stamps of *status*, looked at no earlier than *now_ns*."""
        cdef c_stat s
        cdef timespec now
        fill_status(&s, status)
        now.tv_sec, now.tv_nsec = now_ns // 1_000_000_000, now_ns % 1_000_000_000
        return tl_doubt(self.walk, &s, &now) != 0

    def forces(self, uint64_t inode):
        """Whether all names of that inode are to be taken."""
        return tl_inodes_have(&self.walk.forced, inode) != 0

    def foresaw(self, status):
        """Whether *status* is of an inode that may be taken: the look for inodes with several names, where there was one, found
        that all its names are to be, or it has but one. If not, something was moved since, and some of them may be missing."""
        return not self.looked or status.st_nlink == 1 or self.forces(status.st_ino)

    def keep(self):
        """For the snapshot: the entry in the caller's hands is not in the archive."""
        if not tl_walk_keep(self.walk):
            raise MemoryError

    def headless(self):
        """The header of the folder in the caller's hands could not be made."""
        tl_walk_headless(self.walk)

    def unlisted(self, status):
        """For the snapshot: the folder in the caller's hands is in the archive as *status* says, but for what it holds."""
        if not tl_walk_knows(self.walk):
            self.record(status, True)
        else:
            self.keep()

    @contextmanager
    def single(self, bytes name):
        """What is called *name*, and no folder, is in the caller's hands."""
        self.walk.single = text_of(name)
        try:
            yield
        finally:
            self.walk.single.data = NULL

    def row(self, int kind, const uint8_t[::1] path, const uint8_t[::1] link, status):
        """A row at the present position."""
        cdef c_stat s
        if status is not None:
            fill_status(&s, status)
        if not tl_walk_row(self.walk, kind, text_of(path), text_of(link), &s if status is not None else NULL):
            raise MemoryError

    def wrote(self, uint64_t bytes):
        """The caller has written so many bytes of its own."""
        tl_walk_wrote(self.walk, bytes)

    @property
    def rows_waiting(self):
        return self.walk.rows.rows.used // sizeof(tl_row)

    def take_rows(self):
        """The rows that have come together."""
        cdef tl_rows rows
        memset(&rows, 0, sizeof(rows))
        tl_walk_take_rows(self.walk, &rows)
        return batch_of(&rows)

    @property
    def counts(self):
        """Files, folders, other entries and bytes of content that the engine has taken by itself."""
        c = self.walk.counts
        return c.files, c.folders, c.others, c.bytes

    @property
    def position(self):
        return self.walk.position

    def finish_snapshot(self):
        """Everything is in the file: where the records end, how many names there are, how many of them of inodes with several
        names. Raises OSError for the first write that failed."""
        with nogil:
            tl_snapshot_flush(&self.walk.snapshot)
        if self.walk.snapshot.error:
            raise OSError(self.walk.snapshot.error, os.strerror(self.walk.snapshot.error))
        return tl_snapshot_end(&self.walk.snapshot), self.walk.snapshot.names, self.walk.snapshot.linked
