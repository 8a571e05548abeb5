/* The null drive: takes everything at a chosen pace and keeps nothing, for measuring what stands before it. */
#ifndef TL_NULLDEV_H
#define TL_NULLDEV_H

#include <stdint.h>

#include "device.h"

struct tl_null;

struct tl_null_counts {
    uint64_t blocks, bytes, filemarks, calls;
};

/* rate: bytes a second, 0 for no limit. buffer: bytes that the drive takes ahead of its tape. NULL: no memory. */
struct tl_null *tl_null_new(uint64_t rate, uint64_t buffer);
void tl_null_free(struct tl_null *null);
const struct tl_device_ops *tl_null_ops(void);
void tl_null_counts(const struct tl_null *null, struct tl_null_counts *out);

#endif
