/* The backup media agent's loop: runs of blocks from its buffers onto its device.
 *
 * Python decides, C moves: a turn goes on until something happens that needs a decision (a checkpoint is due, the tape ends, an
 * error, the end), says so in `reason`, and the next turn goes on where this one stopped. */
#ifndef TL_INTERLEAVE_H
#define TL_INTERLEAVE_H

#include "device.h"
#include "ring.h"

/* Pinned: they cross into Python. */
enum tl_turn_reason {
    TL_TURN_ENDED = 0,         /* all sources have ended and everything is written */
    TL_TURN_CHECKPOINT = 1,    /* bytes or time are up, or the run table is full */
    TL_TURN_EARLY_WARNING = 2, /* write what the seam needs, then the next volume */
    TL_TURN_END_OF_MEDIUM = 3, /* the same, but a write was refused: its block is not on tape, and waits still */
    TL_TURN_FAILED = 4,        /* device status in `status`; what followed the last filemark is in doubt */
    TL_TURN_DETACHED = 5,      /* and nothing is left in its hands */
    TL_TURN_STOPPED = 6,       /* TL_STOP_NOW */
};

/* Blocks of one object that follow one another on tape. */
struct tl_run {
    uint64_t object;
    uint64_t seq;
    uint64_t blocks;
    uint64_t position;
};

struct tl_turn {
    /* set by the caller */
    const struct tl_device_ops *ops;
    void *device;
    struct tl_run *runs;
    uint32_t runs_max;   /* 0: writes nothing, and comes back with CHECKPOINT as soon as a block waits */
    uint64_t bytes_max;  /* until a checkpoint is due */
    int64_t deadline_ns; /* the same, CLOCK_MONOTONIC */
    uint64_t position;   /* of the next block; moves on */

    /* what happened */
    uint32_t reason;
    int32_t status;
    uint32_t run_count;
    uint64_t blocks, bytes;
};

#define TL_BATCH_MAX TL_HAND_MAX /* blocks a device call */

void tl_interleave(const struct tl_view *view, uint32_t agent, struct tl_turn *turn);

#endif
