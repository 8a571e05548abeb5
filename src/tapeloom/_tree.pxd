# What csrc/ declares, as far as _tree.pyx calls it.
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t


cdef extern from "<sys/stat.h>" nogil:
    cdef struct timespec:
        int64_t tv_sec
        long tv_nsec
    cdef struct c_stat "stat":
        uint64_t st_dev, st_ino, st_nlink, st_rdev
        uint32_t st_mode, st_uid, st_gid
        int64_t st_size
        timespec st_mtim, st_ctim


cdef extern from "crc32c.h" nogil:
    cdef struct tl_crc32c:
        uint32_t (*update)(uint32_t crc, const void *data, size_t bytes) noexcept nogil
    const tl_crc32c *tl_crc32c_best()


cdef extern from "bytes.h" nogil:
    cdef struct tl_bytes:
        uint8_t *data
        size_t used
    cdef struct tl_text:
        const uint8_t *data
        size_t bytes
    void tl_bytes_free(tl_bytes *b)


cdef extern from "paxhead.h" nogil:
    cdef struct tl_pax_entry:
        tl_text path, link, user, group, records, listing
        const c_stat *status
        uint64_t size
        int kind
    int tl_pax_header(tl_bytes *out, const tl_pax_entry *entry)


cdef extern from "listing.h" nogil:
    int tl_text_order(tl_text a, tl_text b)
    cdef struct tl_name:
        uint8_t type
    cdef struct tl_listing:
        tl_name *name
        uint32_t count
    tl_text tl_name_text(const tl_listing *l, uint32_t i)


cdef extern from "snapshot.h" nogil:
    enum:
        TL_RECORD_ENTER
        TL_MARK_DOUBT
        TL_MARK_DEVICE
    cdef struct tl_record:
        const uint8_t *begin
        const uint8_t *inside
        const uint8_t *end
        tl_text name
        int kind
        unsigned marks
        uint32_t mode
        uint64_t inode, size, device
        timespec changed, modified
    cdef struct tl_records:
        const uint8_t *at
    cdef struct tl_snapshot:
        int fd, error
        uint64_t at, names, linked
    void tl_records_open(tl_records *r, const uint8_t *begin, const uint8_t *end)
    int tl_records_next(tl_records *r, tl_record *record)
    void tl_snapshot_add(tl_snapshot *s, const void *data, size_t bytes)
    void tl_snapshot_flush(tl_snapshot *s)
    uint64_t tl_snapshot_end(const tl_snapshot *s)


cdef extern from "walk.h" nogil:
    enum:
        TL_TYPE_LEFT_OUT
        TL_WALK_END
        TL_WALK_BYTES
        TL_WALK_ODD
    cdef struct tl_walk_limits:
        int64_t small_bytes
        uint64_t chunk_bytes, ahead_bytes
        uint32_t range_names, ahead_nodes, folders_open, path_bytes_max, names_held, settle_ns
    cdef struct tl_inodes:
        const uint64_t *inode
        uint64_t count
    int tl_inodes_have(const tl_inodes *inodes, uint64_t inode)
    ctypedef int (*tl_exclude)(void *context, tl_text path, tl_listing *listing) noexcept nogil
    cdef struct tl_walk_rules:
        int one_file_system, caches
        const tl_text *markers
        size_t marker_count
        tl_exclude exclude
        void *exclude_context
    cdef struct tl_row:
        pass
    cdef struct tl_rows:
        tl_bytes rows, paths, links
    cdef struct tl_counts:
        uint64_t files, folders, others, bytes
    cdef struct tl_walk:
        tl_walk_rules rules
        tl_inodes forced
        const uint8_t *since_end
        int wants_rows, looking, error
        const char *spill
        tl_snapshot snapshot
        tl_rows rows
        tl_text single
        tl_counts counts
        uint64_t position
    cdef struct tl_walk_odd:
        tl_text path, name, listed
        unsigned what
        int error, fd, type, listed_fd
        uint64_t listed_bytes
    tl_walk *tl_walk_new(const tl_walk_limits *limits)
    void tl_walk_free(tl_walk *w)
    int tl_walk_begin(tl_walk *w, int root, tl_text prefix, uint32_t row_skip, const uint8_t *since)
    void tl_walk_work(tl_walk *w)
    void tl_walk_stop(tl_walk *w)
    int tl_walk_next(tl_walk *w, const uint8_t **data, size_t *bytes)
    int tl_walk_look(tl_walk *w, tl_walk_odd *odd)
    int tl_walk_record(tl_walk *w, const c_stat *status, unsigned marks)
    int tl_walk_keep(tl_walk *w)
    void tl_walk_headless(tl_walk *w)
    int tl_walk_knows(const tl_walk *w)
    int tl_walk_row(tl_walk *w, int kind, tl_text path, tl_text link, const c_stat *status)
    void tl_walk_wrote(tl_walk *w, uint64_t bytes)
    void tl_walk_take_rows(tl_walk *w, tl_rows *to)
    unsigned tl_doubt(const tl_walk *w, const c_stat *status, const timespec *now)


cdef extern from "linked.h" nogil:
    cdef struct tl_linked:
        size_t depth
    int tl_linked_open(tl_linked *l, const uint8_t *begin, const uint8_t *end)
    void tl_linked_close(tl_linked *l)
    int tl_linked_next(tl_linked *l, tl_rows *to, size_t rows_max)
