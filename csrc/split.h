/* The restore media agent's loop: tape blocks straight into free slots, checked, each handed to its object's buffer. */
#ifndef TL_SPLIT_H
#define TL_SPLIT_H

#include "block.h"
#include "device.h"
#include "ring.h"

struct tl_want {
    uint8_t object[16];
    uint32_t stream;
    uint32_t number; /* the job's number of the object */
};

/* A block that is not what it should be. */
struct tl_fault {
    uint64_t position;
    uint64_t seq;       /* of the header, where it could be believed */
    uint32_t verdict;   /* enum tl_block_verdict, or TL_FAULT_MISPLACED */
    uint32_t bytes;
    uint8_t object[16];
};
#define TL_FAULT_MISPLACED 101u /* a sound block, but not the one that was expected there */

/* Pinned: they cross into Python. */
enum tl_split_reason {
    TL_SPLIT_DONE = 0,        /* blocks_max have been read */
    TL_SPLIT_FILEMARK = 1,    /* passed it */
    TL_SPLIT_END_OF_DATA = 2,
    TL_SPLIT_FAILED = 3,      /* device status in `status` */
    TL_SPLIT_STOPPED = 4,
    TL_SPLIT_FAULTS_FULL = 5, /* look at them and go on; `position` is right behind the last one, the tape may be further */
    TL_SPLIT_NO_READERS = 6,  /* nobody wants any of it any more */
    TL_SPLIT_RECORD = 7,      /* a block of a tape record is in slot `record`: read it, then tl_slot_return() it */
};

struct tl_split {
    /* set by the caller */
    const struct tl_device_ops *ops;
    void *device;
    uint32_t pool;        /* the stream without readers whose slots are read into */
    uint32_t agent;       /* whose statistics this is for, or TL_NONE */
    const struct tl_want *want; /* by object, ascending as bytes, each once */
    uint32_t wants;
    uint64_t blocks_max;
    uint64_t position;    /* of the next block; moves on */
    struct tl_fault *faults;
    uint32_t faults_max;
    uint32_t stop_at_records;
    const uint8_t *expect; /* id of the object that every block must be of, in order of seq; or NULL */
    uint64_t expect_seq;   /* of the next block; moves on */

    /* what happened */
    uint32_t reason;
    int32_t status;
    uint32_t fault_count;
    uint32_t record, record_bytes;
    uint64_t blocks, bytes;     /* read */
    uint64_t blocks_wanted;     /* handed on */
};

void tl_split_run(const struct tl_view *view, const struct tl_crc32c *crc, struct tl_split *s);

#endif
