/*
 * The fast way of a restore: plain files from archive entries that lie whole in memory.
 *
 * A run of entries is made as long as each is simple: a regular file in the folder that is open now, its records of kinds
 * known here, its owner known by name, nothing in its place. The first entry that is anything else, damaged or hostile
 * included, ends the run before anything is done about it: the slow way (tapeloom.agent), which is the reference, goes on
 * there and says what is wrong.
 *
 * The memory may change while it is read (a slot whose job stops), so headers are copied first and judged in the copy.
 */
#ifndef TL_UNPACK_H
#define TL_UNPACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TL_OWNER_BYTES_MAX 32
#define TL_OWNERS_MAX 256
#define TL_RECORDS_BYTES_MAX (8u << 10) /* records of one simple entry */
#define TL_NAME_BYTES_MAX 255u
#define TL_BY_NUMBER INT64_C(-1)        /* the system does not know the name: the archive's number counts */

/* Names of users or of groups, as the system resolves them. */
struct tl_owners {
    uint32_t count, last; /* `last`: where the last one was found, for they come in runs */
    struct {
        uint8_t name[TL_OWNER_BYTES_MAX];
        uint32_t bytes;
        int64_t id; /* or TL_BY_NUMBER */
    } known[TL_OWNERS_MAX];
};

struct tl_unpack {
    struct tl_owners users, groups;
    bool numeric;      /* owners go by number alone */
    int64_t now_ns;    /* time of last access where an entry states none */
    uint64_t files;    /* made so far, */
    uint64_t bytes;    /* and the content in them */
    bool refused;      /* the run ended where the system refused an owner, a mode or a time */
    bool firsts_known; /* in this run: */
    int64_t first_uid, first_gid; /* who the last file belonged to when it was new */
    char last[TL_NAME_BYTES_MAX + 1]; /* name of the last one */
    uint8_t records[TL_RECORDS_BYTES_MAX];
};

/* Adds one name. A full table takes no more: entries of who is not in it go the slow way. */
void tl_owners_add(struct tl_owners *owners, const uint8_t *name, size_t bytes, int64_t id);

/*
 * Makes files in the open `folder`, which stands in the archive as `here` (without a closing slash, empty for names without
 * a folder), from the entries that begin at `data`. Returns how many bytes of it were whole entries that are files now. What
 * was begun and could not be ended is removed.
 */
size_t tl_unpack_run(struct tl_unpack *unpack, int folder, const char *here, size_t here_bytes, const uint8_t *data,
                     size_t bytes);

/* Makes `bytes` bytes of `fd` from `offset` on read as zeros, as holes where the system can. Returns 0 or an errno. */
int tl_zero_range(int fd, uint64_t offset, uint64_t bytes);

#endif
