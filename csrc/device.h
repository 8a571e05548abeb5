/* The contract of a tape device, for the kernel: a table of functions and a handle, both passed as addresses.
 *
 * The semantics are those of the Linux st driver in variable block mode, with its traps taken away: an outcome is a
 * status of its own, never an errno to guess from. One thread at a time uses a device. No call allocates.
 *
 * Position: a count of blocks AND filemarks from the beginning of the tape (READ POSITION, MTIOCPOS). */
#ifndef TL_DEVICE_H
#define TL_DEVICE_H

#include <stdint.h>

#define TL_DEVICE_ABI 2u

/* Pinned: they cross into Python (tapeloom.device.contract.Status). Below 16: outcomes. From 16 on: failures, after which the
 * mount is over (the position and what is on tape behind the last filemark are unknown). */
enum tl_status {
    TL_OK = 0,
    TL_FILEMARK = 1,       /* read, space: a filemark was met and passed */
    TL_END_OF_DATA = 2,    /* read, space, locate: nothing is recorded from here on */
    TL_EARLY_WARNING = 3,  /* write: everything up to *done IS on tape, and the end of the tape is near */
    TL_END_OF_MEDIUM = 4,  /* write: block number *done is NOT on tape */
    TL_BEGIN_OF_TAPE = 5,  /* spacing backwards met the beginning */
    TL_ERR_IO = 16,
    TL_ERR_WRITE_PROTECTED = 17,
    TL_ERR_NO_MEDIUM = 18,
    TL_ERR_BUSY = 19,
    TL_ERR_BLOCK_SIZE = 20,     /* outside what drive, host adapter or contract allow */
    TL_ERR_ROOM = 21,           /* read: the block is longer than the room given; it was passed, no data */
    TL_ERR_INVALID = 22,        /* wrong use */
    TL_ERR_POSITION_LOST = 23,  /* reset or change of medium: rewind and look at the label */
    TL_ERR_UNSUPPORTED = 24,
    TL_ERR_HOST_FULL = 25,      /* virtual tape: the file system under it has no room; the tape itself is not full */
};

struct tl_vec {
    void *data;     /* page-aligned for writes and reads at full speed */
    uint32_t bytes; /* write: the block's length; read: room, then the length of the block that came */
    uint32_t room;  /* bytes that may be touched at data: at least bytes rounded up to 4096, for whole-page input and output */
};

struct tl_position {
    uint64_t position;     /* blocks and filemarks from the beginning */
    uint64_t file;         /* filemarks before here, UINT64_MAX where the device cannot say */
    uint64_t end_of_data;  /* position of end of data, UINT64_MAX where the device cannot say */
};

struct tl_device_ops {
    uint32_t abi;
    uint32_t batch_max; /* more blocks than this in one call are no faster; at least 1 */

    /* Writes blocks v[0..n), each as one tape block. *done: how many are on tape (or in the drive's hands; only a
     * filemark proves it). EARLY_WARNING ends a call, also with *done < n: go on only with what the seam needs. It comes
     * with the block behind the one that met it, and then with each one until the tape leaves this place. */
    int (*write)(void *dev, const struct tl_vec *v, uint32_t n, uint32_t *done);

    /* count filemarks; 0 is not allowed (st forgets its place). Returns when everything before is on the medium. */
    int (*write_filemarks)(void *dev, uint32_t count);

    /* Reads up to n blocks, one into each v[i]. *done: how many came. FILEMARK and END_OF_DATA come when the blocks
     * before them have been delivered (then *done may be > 0); after FILEMARK the tape stands behind it. */
    int (*read)(void *dev, struct tl_vec *v, uint32_t n, uint32_t *done);

    int (*rewind)(void *dev);
    int (*locate)(void *dev, uint64_t position);          /* beyond the end: END_OF_DATA, stands there */
    int (*to_end_of_data)(void *dev);
    /* >0: behind the count-th; <0: before the count-th back, without that which leaving a written block writes (MTFSF,
     * MTBSF). */
    int (*space_filemarks)(void *dev, int64_t count);
    int (*space_blocks)(void *dev, int64_t count);        /* stops with FILEMARK behind (forward) or before (back) a filemark */
    int (*position)(void *dev, struct tl_position *out);
    int (*last_errno)(void *dev);                         /* the system's word for the last failure, 0 if it had none */

    /* What only this kind of drive knows: `op` is one of that kind's, `arg` its structure, read and filled in: flat, so
     * that a drive in another process is asked the same way. NULL where the kind has nothing of its own. */
    int (*control)(void *dev, uint32_t op, void *arg, uint32_t arg_bytes);
};

#endif
