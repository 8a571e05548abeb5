/* A drive in a process of its own, because a system call that hangs in a driver cannot be abandoned from a thread.
 *
 * The asking side is a table of functions like any drive's; each forwards to the process that serves another table. Both map
 * one page of shared memory (a sealed memfd): a request is laid down in it and told with an eventfd, and so is the answer.
 * Blocks are not copied where they lie in a region, memory that both processes have mapped. All others go through the bounce
 * memory behind the page, which takes memory only as far as it was ever used. */
#ifndef TL_ASIDE_H
#define TL_ASIDE_H

#include <stdatomic.h>
#include <stdint.h>

#include "device.h"

#define TL_ASIDE_ABI 1u
#define TL_ASIDE_VECS 64u                   /* vectors of one request */
#define TL_ASIDE_REGIONS 8u                 /* mapped at once */
#define TL_ASIDE_BOUNCED UINT32_MAX         /* the region of a vector that lies in the bounce memory */
#define TL_ASIDE_BOUNCE_BYTES (16u << 20)   /* no tape block is longer: READ BLOCK LIMITS has 24 bits */
#define TL_ASIDE_CONTROL_BYTES_MAX (128u << 10)

/* What a process is in. Pinned: it crosses into Python. */
enum tl_aside_call {
    TL_ASIDE_NOTHING = 0,
    TL_ASIDE_WRITE,
    TL_ASIDE_WRITE_FILEMARKS,
    TL_ASIDE_READ,
    TL_ASIDE_REWIND,
    TL_ASIDE_LOCATE,
    TL_ASIDE_TO_END_OF_DATA,
    TL_ASIDE_SPACE_FILEMARKS,
    TL_ASIDE_SPACE_BLOCKS,
    TL_ASIDE_POSITION,
    TL_ASIDE_CONTROL,
};

struct tl_aside_vec {
    uint64_t offset; /* in its region, or in the bounce memory */
    uint32_t region;
    uint32_t bytes, room; /* as in struct tl_vec; bytes comes back from a read */
};

/* One call at a time: what stands here belongs to the asking side while answered == asked, else to the serving side. */
struct tl_aside_page {
    uint32_t abi;
    _Atomic uint32_t asked, answered;

    uint32_t call;                 /* enum tl_aside_call */
    uint32_t n;                    /* vectors; for CONTROL the bytes of its argument, which is at the bounce memory's beginning */
    uint32_t op;                   /* of CONTROL */
    int64_t number;                /* count or position */
    struct tl_aside_vec vec[TL_ASIDE_VECS];

    int32_t status, error;         /* error: last_errno() after the call */
    uint32_t done;
    struct tl_position position;
};

#define TL_ASIDE_HEAD_BYTES 4096u /* the page; behind it the bounce memory */
#define TL_ASIDE_BYTES (TL_ASIDE_HEAD_BYTES + TL_ASIDE_BOUNCE_BYTES)

_Static_assert(sizeof(struct tl_aside_page) <= TL_ASIDE_HEAD_BYTES, "the page holds a request");

/* The asking side. */

struct tl_aside;

/* Maps `memory_fd` (TL_ASIDE_BYTES of zeros). The descriptors stay the caller's, and open until tl_aside_free(): eventfds that
 * tell a request and an answer, the pidfd of the serving process. batch_max: of the table served; a write of blocks longer
 * than block_bytes_max, at most TL_ASIDE_BOUNCE_BYTES, is not begun. NULL: errno says why. */
struct tl_aside *tl_aside_new(int memory_fd, int request_fd, int answer_fd, int process_fd, uint32_t batch_max,
                              uint32_t block_bytes_max);

/* Not while a call is running. */
void tl_aside_free(struct tl_aside *aside);

/* Valid until tl_aside_free(). What the functions take first is the struct tl_aside.
 *
 * A call is TL_ERR_IO when the process has ended, or was abandoned, before it answered; so is any call after that. After being
 * abandoned, a call whose blocks lie in a region comes back only when the process is gone: until then a driver may still read
 * from that memory, or write into it. */
const struct tl_device_ops *tl_aside_ops(const struct tl_aside *aside);

/* The serving side has mapped [base, base + bytes) as its region number `region`. Not while a call is running; whoever unmaps
 * the memory, or uses the addresses for something else, forgets the region before. */
int tl_aside_map(struct tl_aside *aside, uint32_t region, void *base, uint64_t bytes);
void tl_aside_forget(struct tl_aside *aside, uint32_t region);

/* From any thread. */

/* The process has been killed: no call waits for its answer any more. */
void tl_aside_abandon(struct tl_aside *aside);

/* Waits so long for the process to be gone. 1: it is. 0: it is not; one that is in an uninterruptible sleep outlives SIGKILL. */
int tl_aside_gone(const struct tl_aside *aside, uint32_t milliseconds);

/* enum tl_aside_call, and since when (CLOCK_MONOTONIC). */
uint32_t tl_aside_in_call(const struct tl_aside *aside, int64_t *since_ns);

/* Calls made, and bytes that went through the bounce memory. */
void tl_aside_counts(const struct tl_aside *aside, uint64_t *calls, uint64_t *bounced_bytes);

/* The serving side. */

struct tl_served;

/* NULL: errno says why. */
struct tl_served *tl_served_new(int memory_fd, int request_fd, int answer_fd);

/* Maps `bytes` of `fd` from `offset` on; the descriptor stays the caller's. The region's number, or -1 - errno. Not while a call
 * is running, as tl_served_unmap(). */
int tl_served_map(struct tl_served *served, int fd, uint64_t offset, uint64_t bytes);
void tl_served_unmap(struct tl_served *served, uint32_t region);

/* Answers requests out of `ops` and `dev`. Comes back, with an errno, only where the system fails. */
int tl_served_run(struct tl_served *served, const struct tl_device_ops *ops, void *dev);

#endif
