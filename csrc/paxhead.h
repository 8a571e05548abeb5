/* Headers of a pax archive: what src/tapeloom/agent/pax.py makes, byte for byte; the reasons stand there. */
#ifndef TL_PAXHEAD_H
#define TL_PAXHEAD_H

#include <sys/stat.h>

#include "bytes.h"

#define TL_PAX_BLOCK 512u

enum tl_pax_kind {
    TL_PAX_REGULAR = '0',
    TL_PAX_HARD_LINK = '1',
    TL_PAX_SYMBOLIC_LINK = '2',
    TL_PAX_CHARACTER = '3',
    TL_PAX_DEVICE = '4',
    TL_PAX_FOLDER = '5',
    TL_PAX_FIFO = '6',
};

struct tl_pax_entry {
    struct tl_text path, link, user, group;
    struct tl_text records; /* further records, ready made: they come first */
    struct tl_text listing; /* the value of a GNU.dumpdir record, which comes last; data NULL for none */
    const struct stat *status;
    uint64_t size;          /* of the content that follows */
    enum tl_pax_kind kind;
};

/* How many zeros follow *size* bytes up to the next block. */
static inline size_t tl_pax_padding(uint64_t size)
{
    return (size_t)(-size % TL_PAX_BLOCK);
}

/* Adds the header of one entry to *out*, with the records that it needs before it. Returns whether there was memory; where there
 * was none, nothing has been added. */
int tl_pax_header(struct tl_bytes *out, const struct tl_pax_entry *entry);

/* Adds one record to *out*. Returns whether there was memory. */
int tl_pax_record(struct tl_bytes *out, const char *key, size_t key_bytes, const void *value, size_t value_bytes);

#endif
