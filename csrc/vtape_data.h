/* The data file of a virtual cartridge: blocks at page-aligned offsets, the last page of each filled up with zeros.
 * Whole pages move straight between the caller's memory and the file; only the last partial page of a block, and a
 * block that is not aligned, pass through memory of our own. No byte behind a block's end leaves the caller's memory,
 * none behind its room is touched. */
#ifndef TL_VTAPE_DATA_H
#define TL_VTAPE_DATA_H

#include <stdint.h>

#include "device.h"

#define TL_PAGE 4096u
#define TL_VTAPE_BATCH 32u

static inline uint64_t tl_pages(uint64_t bytes)
{
    return (bytes + TL_PAGE - 1) / TL_PAGE * TL_PAGE;
}

struct tl_data {
    int fd;
    uint32_t memory_align; /* addresses that the file takes directly; a power of two */
    uint8_t *bounce;       /* TL_VTAPE_BATCH pages for the ends of blocks */
    uint8_t *detour;       /* for blocks that are not aligned */
};

/* What the file system under fd wants of addresses for direct input and output: a power of two up to a page, or 0
 * where it cannot do that at page-aligned offsets. */
uint32_t tl_data_direct_align(int fd);

/* Memory of its own, and nothing else. Returns 0 or ENOMEM. */
int tl_data_init(struct tl_data *data);
void tl_data_free(struct tl_data *data);

/* n blocks behind one another from offset at on, a multiple of TL_PAGE. *done: how many are complete; the return
 * value is 0 or the errno that stopped the next. n <= TL_VTAPE_BATCH. */
int tl_data_put(struct tl_data *data, const struct tl_vec *v, uint32_t n, uint64_t at, uint32_t *done);

/* The same, the other way: bytes[i] is the length of the block for v[i], and v[i].room is at least that. */
int tl_data_get(struct tl_data *data, struct tl_vec *v, const uint32_t *bytes, uint32_t n, uint64_t at, uint32_t *done);

#endif
