/* The records of a snapshot: what a tree looked like, in canonical order, for an increment to be compared with.
 *
 * One record, numbers as LEB128 unless a width is given, differences zigzagged, all little-endian:
 *
 *   tag            u8    low 3 bits: TL_RECORD_*; above them TL_MARK_*
 *   [ENTER, PARTLY] u64  bytes from the end of this record to the end of its LEAVE: what hops over the subtree
 *   shared, more         the name: so many bytes of the name before it, so many that follow
 *   name           more
 *   inode                minus that of the record before
 *   changed              ctime in seconds, minus that of the record before;  u32: its nanoseconds
 *   [MTIME]              mtime in seconds, minus ctime's;                    u32: its nanoseconds
 *   size
 *   [MODE]               the type and the permissions; without the mark they are those of the record before
 *   [DEVICE]             st_dev: on records of inodes with several names, and on roots
 *
 * LEAVE is the tag alone. "Before" means on the same level; a record with the mark FIRST has none before it. Nothing in a
 * record depends on where it stands, so a subtree can be copied as it is.
 *
 * PARTLY is the ENTER of a folder that may hold names of which nothing is told here, such as that of a file that could not be read: it has
 * to be listed again, though nothing happened to it. Of a folder with an ENTER, and not in doubt, all names are told. */
#ifndef TL_SNAPSHOT_H
#define TL_SNAPSHOT_H

#include <sys/stat.h>

#include "bytes.h"

#define TL_RECORD_NAME_MAX 1024u

enum tl_record_kind { TL_RECORD_NAME = 1, TL_RECORD_ENTER = 2, TL_RECORD_LEAVE = 3, TL_RECORD_PARTLY = 4 };
#define TL_RECORD_KIND 7u /* the bits of it in a tag */

enum tl_record_mark {
    TL_MARK_FIRST = 1u << 3,
    TL_MARK_DOUBT = 1u << 4, /* not to be trusted: to be taken again */
    TL_MARK_MTIME = 1u << 5,
    TL_MARK_MODE = 1u << 6,
    TL_MARK_DEVICE = 1u << 7,
};

/* The record before, as far as the next one is told by it. All zeros: there is none. */
struct tl_record_before {
    uint64_t inode;
    int64_t changed;
    uint32_t mode;
    uint32_t name_bytes; /* 0: none */
    uint8_t name[TL_RECORD_NAME_MAX + 1];
};

/* What follows has no record before it. */
static inline void tl_record_first(struct tl_record_before *before)
{
    before->inode = 0;
    before->changed = 0;
    before->mode = 0;
    before->name_bytes = 0;
}

/* One record, read. */
struct tl_record {
    const uint8_t *begin;  /* its tag */
    const uint8_t *inside; /* ENTER: the first record of its content */
    const uint8_t *end;    /* the next record of this level */
    struct tl_text name;   /* lies in the reader, with a zero byte behind it: valid until its next record */
    enum tl_record_kind kind; /* NAME or ENTER */
    int partly;            /* ENTER: it was a PARTLY */
    unsigned marks;
    uint32_t mode;
    uint64_t inode, size, device;
    struct timespec changed, modified;
};

/* Reads the records of one level. */
struct tl_records {
    const uint8_t *at, *end; /* no byte at or beyond *end* is looked at */
    struct tl_record_before before;
};

void tl_records_open(struct tl_records *r, const uint8_t *begin, const uint8_t *end);

/* The next record of the level. 1: there it is; 0: the level's LEAVE or the end of all; -1: these are no records. */
int tl_records_next(struct tl_records *r, struct tl_record *record);

/* Adds a record of *kind* to *out*; the length of an ENTER or PARTLY is zero and stands one byte behind its tag. Names longer than
 * TL_RECORD_NAME_MAX cannot be recorded and are passed over. Returns whether there was memory. */
int tl_record_add(struct tl_bytes *out, struct tl_record_before *before, enum tl_record_kind kind, struct tl_text name,
                  const struct stat *status, unsigned marks);

/* Writes records into a file, behind *at*, with places that are filled in later. */
struct tl_snapshot {
    int fd;           /* -1: there is none, nothing is written */
    int error;        /* the errno of the first write that failed */
    uint64_t at;      /* where the buffer's first byte belongs in the file */
    uint64_t flushed; /* up to where the system was told to begin writing */
    uint64_t names, linked;
    struct tl_bytes buffer;
};

void tl_snapshot_add(struct tl_snapshot *s, const void *data, size_t bytes);
void tl_snapshot_patch(struct tl_snapshot *s, uint64_t at, const void *data, size_t bytes);
void tl_snapshot_flush(struct tl_snapshot *s);

static inline uint64_t tl_snapshot_end(const struct tl_snapshot *s)
{
    return s->at + s->buffer.used;
}

#endif
