/* The null drive: takes everything and keeps nothing, for measuring what stands before it. */
#ifndef TL_NULLDEV_H
#define TL_NULLDEV_H

#include <stdint.h>

#include "device.h"

struct tl_null;

struct tl_null_counts {
    uint64_t blocks, bytes, filemarks, calls;
};

/* NULL: no memory. */
struct tl_null *tl_null_new(void);
void tl_null_free(struct tl_null *null);
const struct tl_device_ops *tl_null_ops(void);
void tl_null_counts(const struct tl_null *null, struct tl_null_counts *out);

/* How many bytes of the tape lie before the place where it stands. `null`: a struct tl_null. */
uint64_t tl_null_bytes_before(const void *null);

#endif
