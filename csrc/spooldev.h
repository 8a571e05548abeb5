/* A device of blocks that wait: written in order, read by position, forgotten when they have gone on.
 *
 * A file is divided into places of one block each. A block takes a free place, and `forget` frees it: so the file never
 * grows beyond its places, in whatever order the blocks leave. Positions count the blocks written, from 0, and are not
 * used again.
 *
 * One thread writes and one other reads, locates and forgets, at the same time; the reader asks for nothing that has
 * not been written. */
#ifndef TL_SPOOLDEV_H
#define TL_SPOOLDEV_H

#include "device.h"

struct tl_spool;

/* In the file `fd`, which stays the caller's. `place_bytes`: a multiple of 4096 that holds the longest block;
 * `blocks_max`: how many blocks are written in all. NULL: no memory. */
struct tl_spool *tl_spool_new(int fd, uint32_t place_bytes, uint32_t places, uint64_t blocks_max);
void tl_spool_free(struct tl_spool *spool);
const struct tl_device_ops *tl_spool_ops(void);

/* Frees the places of blocks [position, position + blocks), which must have been written. */
void tl_spool_forget(struct tl_spool *spool, uint64_t position, uint64_t blocks);

/* The most places that were taken at any time. */
uint32_t tl_spool_most(const struct tl_spool *spool);

#endif
