/* The names in a snapshot that belong to inodes with several names. */
#ifndef TL_LINKED_H
#define TL_LINKED_H

#include "snapshot.h"
#include "walk.h"

struct tl_linked {
    struct tl_records *level; /* from the roots down to where one is */
    size_t depth, room;
    size_t *path_bytes;       /* of the path at each level */
    struct tl_bytes path;
};

/* Begins with the records of the roots. Returns whether there was memory. */
int tl_linked_open(struct tl_linked *l, const uint8_t *begin, const uint8_t *end);
void tl_linked_close(struct tl_linked *l);

/* Adds up to *rows_max* rows, those in doubt left out: the inode's number as the size, the ctime as the time. 1: there may be more; 0: these were
 * all; -1: these are no records, or there was no memory. */
int tl_linked_next(struct tl_linked *l, struct tl_rows *to, size_t rows_max);

/* Of records that are kept as they were, though their names were not taken: those of the inodes of which all names were to be taken are in doubt
 * from now on, for their other names are not linked to them any more. *begin* to *end* is one level. 0: no memory, or these are no records. */
int tl_linked_distrust(uint8_t *begin, const uint8_t *end, const struct tl_inodes *forced);

#endif
