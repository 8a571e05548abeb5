/* What stands in one folder: names in the order of their bytes, and in an increment what is known of each. */
#ifndef TL_LISTING_H
#define TL_LISTING_H

#include <sys/stat.h>

#include "bytes.h"

enum tl_name_state {
    TL_NAME_NEW = 0,  /* to be taken: new, changed, or nothing is known of it */
    TL_NAME_SAME = 1, /* as the snapshot has it */
    TL_NAME_GONE = 2, /* the snapshot has it, the folder no longer */
};

struct tl_name {
    union {
        uint64_t key;         /* while they are sorted */
        const uint8_t *since; /* its record in the snapshot, where that is still true: of a folder its ENTER; or NULL */
    };
    uint32_t at;    /* in the listing's text */
    uint16_t bytes;
    uint8_t type;   /* DT_*, from <dirent.h> */
    uint8_t state : 2;
    uint8_t known : 1; /* the snapshot has something of this name */
    uint8_t marks;     /* that a record of it deserves */
    uint16_t record_bytes; /* of the record at *since*, where one made now would be the same; or 0 */
};

struct tl_listing {
    struct tl_name *name;
    struct stat *status; /* of each name, or NULL where nobody has looked yet */
    struct tl_bytes text;
    uint32_t count, room;
};

static inline struct tl_text tl_name_text(const struct tl_listing *l, uint32_t i)
{
    return (struct tl_text){l->text.data + l->name[i].at, l->name[i].bytes};
}

/* Frees it. */
void tl_listing_free(struct tl_listing *l);

/* Adds a name. NULL: no memory. */
struct tl_name *tl_listing_add(struct tl_listing *l, struct tl_text name, uint8_t type);

#define TL_LISTING_FULL (-1)

/* Reads the names of the open folder *fd*, in no order, without `.` and `..`. *buffer* has *bytes* bytes to read into. Returns 0 or an
 * errno, and those read before it stay; or TL_LISTING_FULL when there are *names_max* or more: what is missing comes with the next
 * call. */
int tl_listing_read(struct tl_listing *l, int fd, void *buffer, size_t bytes, uint32_t names_max);

/* Sorts the names as strings of bytes. Returns whether there was memory. */
int tl_listing_sort(struct tl_listing *l);

/* Where *name* stands in a sorted listing, or -1. */
int64_t tl_listing_find(const struct tl_listing *l, struct tl_text name);

/* Order of names: bytes, then length. */
static inline int tl_text_order(struct tl_text a, struct tl_text b)
{
    const int order = memcmp(a.data, b.data, a.bytes < b.bytes ? a.bytes : b.bytes);
    return order ? order : (a.bytes > b.bytes) - (a.bytes < b.bytes);
}

#endif
