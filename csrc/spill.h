/* The names of a folder that holds more of them than are kept in memory: sorted runs in a file without a name, merged into one. */
#ifndef TL_SPILL_H
#define TL_SPILL_H

#include "listing.h"

struct tl_spill {
    int fd;
    uint64_t *end;       /* of each run in the file; the first begins at 0 */
    uint32_t runs;
    uint64_t begin, at, stop; /* of the merged names; where reading is; behind them */
    struct tl_bytes buffer;
    size_t taken;        /* of the buffer */
};

/* A file without a name in *folder*, or -1 and errno. */
int tl_spill_file(const char *folder);

/* All of these return 0 or an errno. */

/* Adds the names of *l*, sorted, as a run and takes them out of *l*. The first creates the file in *folder*. */
int tl_spill_run(struct tl_spill *s, struct tl_listing *l, const char *folder);

/* Merges the runs; the names can be read then. */
int tl_spill_merge(struct tl_spill *s);

/* Adds up to *names_max* of the next names to *l*; none: these were all. */
int tl_spill_read(struct tl_spill *s, struct tl_listing *l, uint32_t names_max);

/* The next name read is the first one again. */
void tl_spill_rewind(struct tl_spill *s);

void tl_spill_close(struct tl_spill *s);

#endif
