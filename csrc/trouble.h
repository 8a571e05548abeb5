/* A drive that gets into trouble at a chosen moment: a table of functions around another drive's. */
#ifndef TL_TROUBLE_H
#define TL_TROUBLE_H

#include <stdint.h>

#include "device.h"

/* Blocks given to the drive and calls of write_filemarks are counted from 1 over the life of the drive, without those
 * that met the end of the medium; 0: never. */
struct tl_trouble_plan {
    uint64_t fail_write;    /* this block is not written: TL_ERR_IO */
    uint64_t late_write;    /* this block and the rest of its call are not written: TL_OK; the next call: TL_ERR_IO */
    uint64_t hang_write;    /* the call with this block waits before it until the drive is released */
    uint64_t fail_filemark; /* this call of write_filemarks writes none: TL_ERR_IO */
    uint64_t fail_read_at;  /* at this position reading is TL_ERR_IO, the tape stays there; UINT64_MAX: never */
};

struct tl_trouble;

/* The inner drive stays the caller's, and must outlive this one. NULL: no memory. */
struct tl_trouble *tl_trouble_new(const struct tl_device_ops *inner_ops, void *inner,
                                  const struct tl_trouble_plan *plan);
void tl_trouble_free(struct tl_trouble *trouble);
const struct tl_device_ops *tl_trouble_ops(void);

/* From any thread. release: a hanging write goes on, and none hangs again. abandon: it comes back with TL_ERR_IO and
 * nothing written; returns when the write has let go of the drive. wait_hang: 1 when a write hangs, 0 when none does
 * after so long. */
void tl_trouble_release(struct tl_trouble *trouble);
void tl_trouble_abandon(struct tl_trouble *trouble);
int tl_trouble_wait_hang(struct tl_trouble *trouble, uint32_t milliseconds);

#endif
