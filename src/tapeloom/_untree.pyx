# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""The fast way of a restore (csrc/unpack.h) under a thin layer."""

import os

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free


cdef extern from "unpack.h" nogil:
    const int64_t TL_BY_NUMBER

    struct tl_owners:
        pass

    struct tl_unpack:
        tl_owners users, groups
        bint numeric
        int64_t now_ns
        uint64_t files, bytes
        bint refused
        const char last[256]

    void tl_owners_add(tl_owners *owners, const uint8_t *name, size_t bytes, int64_t id)
    size_t tl_unpack_run(tl_unpack *unpack, int folder, const char *here, size_t here_bytes, const uint8_t *data, size_t bytes)
    int tl_zero_range(int fd, uint64_t offset, uint64_t bytes)


cdef class Maker:
    """Makes plain files from entries that lie whole in memory. `now_ns` is the time of last access where an entry states none."""

    cdef tl_unpack *unpack

    def __cinit__(self, *, int64_t now_ns, bint numeric_owner):
        self.unpack = <tl_unpack *>calloc(1, sizeof(tl_unpack))
        if self.unpack == NULL:
            raise MemoryError
        self.unpack.now_ns = now_ns
        self.unpack.numeric = numeric_owner

    def __dealloc__(self):
        free(self.unpack)

    def learn_user(self, bytes name, uid):
        """What the system says of the user *name*: a number, or None where it knows none. Say it once of each."""
        tl_owners_add(&self.unpack.users, <const uint8_t *>PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name), TL_BY_NUMBER if uid is None else <int64_t>uid)

    def learn_group(self, bytes name, gid):
        """As `learn_user`, of a group."""
        tl_owners_add(&self.unpack.groups, <const uint8_t *>PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name), TL_BY_NUMBER if gid is None else <int64_t>gid)

    def run(self, int folder, bytes here, const uint8_t[::1] view not None):
        """Makes files in the open *folder*, which stands in the archive as *here*, from the entries at the head of *view*. Returns how
        many bytes of it were whole entries that are files now."""
        cdef const char *name = PyBytes_AS_STRING(here)
        cdef size_t name_bytes = PyBytes_GET_SIZE(here), bytes = view.shape[0], done
        if bytes == 0:
            return 0
        cdef const uint8_t *data = &view[0]
        with nogil:
            done = tl_unpack_run(self.unpack, folder, name, name_bytes, data, bytes)
        return done

    @property
    def files(self):
        """How many there are so far."""
        return self.unpack.files

    @property
    def bytes(self):
        """Their content together."""
        return self.unpack.bytes

    @property
    def last(self):
        """The name of the last one."""
        return <bytes>self.unpack.last

    @property
    def refused(self):
        """Whether the last run ended where the system refused an owner, a mode or a time: it would do so for each file."""
        return self.unpack.refused


def zero_range(int fd, uint64_t offset, uint64_t bytes):
    """Makes *bytes* bytes of the file or block device *fd* from *offset* on read as zeros. Raises OSError."""
    cdef int status
    if offset > INT64_MAX or bytes > INT64_MAX - offset:
        raise OverflowError("beyond what a file can hold")
    with nogil:
        status = tl_zero_range(fd, offset, bytes)
    if status:
        raise OSError(status, os.strerror(status))
