/* A reader that is no drive: takes one block after another out of its only buffer. For restores, digests, verification. */
#ifndef TL_DRAIN_H
#define TL_DRAIN_H

#include "ring.h"

enum tl_drain_status {
    TL_DRAIN_BLOCK = 0,   /* *slot holds the next block; tl_release(cursor, 1) lets go of it */
    TL_DRAIN_END = 1,     /* the stream has ended and everything has been taken */
    TL_DRAIN_STOPPED = 2, /* detached, or TL_STOP_NOW */
    TL_DRAIN_LATE = 3,    /* there is none yet, and it is later than was said */
};

/* Gives the next block if there is one now. TL_DRAIN_END then says only that there is none. */
enum tl_drain_status tl_drain_nowait(const struct tl_arena *a, uint32_t cursor, uint32_t *slot);

/* Waits for the next block. The cursor is the only one of its agent. */
enum tl_drain_status tl_drain_next(const struct tl_arena *a, uint32_t cursor, uint32_t *slot);

/* The same, but no longer than until *deadline_ns* (CLOCK_MONOTONIC). */
enum tl_drain_status tl_drain_until(const struct tl_arena *a, uint32_t cursor, uint32_t *slot, int64_t deadline_ns);

#endif
