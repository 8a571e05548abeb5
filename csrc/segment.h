/* What a producer in another process and its bridge in the job have in common: the words of a segment.
 *
 * A segment is a memfd that the job makes, sealed against shrinking and growing: control pages, then the payload pages of the
 * stream's slots. In the job, a header page that only the job can touch stands before each slot's payload (see bridge.h), so a
 * block is whole there and nothing of it is ever copied.
 *
 * Two sequences of positions, each written by one side:
 *
 *     granted   job        grant[position % slots] is the slot that may be filled
 *     filled    producer   bytes[position % slots] is how much of that slot's payload is used
 *
 * Slots are filled in the order in which they were granted: the job keeps that order for itself and takes no slot number from the
 * producer. It believes no word in here, not even its own: what it must know again it keeps elsewhere.
 *
 * Who is about to sleep sets its `sleeping` word, and then looks once more. Who has moved on takes that word back and, where it was
 * set, sends one byte through the socket over which the segment came. The socket's end is the end of the other side. So no
 * descriptor is shared by both sides but the sealed memory, and no call of one side can make a call of the other wait. */
#ifndef TL_SEGMENT_H
#define TL_SEGMENT_H

#include <stdatomic.h>
#include <stdint.h>

#include "arena.h"

#define TL_SEGMENT_ABI 1u
#define TL_SEGMENT_PAGE 4096u
#define TL_SEGMENT_WHY_BYTES 256u

/* What the producer says of its sequence. */
enum tl_segment_ended { TL_SEGMENT_OPEN = 0, TL_SEGMENT_WHOLE = 1, TL_SEGMENT_BROKEN = 2 };

/* The job's last word, before it closes the socket. Pinned: they cross into Python. */
enum tl_segment_goodbye {
    TL_GOODBYE_NONE = 0,       /* it died */
    TL_GOODBYE_TAKEN = 1,      /* everything that was filled is in the job's hands */
    TL_GOODBYE_STOPPED = 2,    /* the job stops */
    TL_GOODBYE_NO_READERS = 3, /* no drive takes the object any more */
    TL_GOODBYE_DISTRUST = 4,   /* a word of the segment made no sense */
};

struct tl_segment {
    /* written by the job */
    _Alignas(TL_LINE) _Atomic uint64_t granted;
    _Atomic uint32_t job_sleeping; /* taken back by the producer */
    _Atomic uint32_t goodbye;

    /* written by the producer */
    _Alignas(TL_LINE) _Atomic uint64_t filled;
    _Atomic uint32_t producer_sleeping; /* taken back by the job */
    _Atomic uint32_t ended;             /* enum tl_segment_ended; after the last `filled` */
    uint8_t why[TL_SEGMENT_WHY_BYTES];  /* with BROKEN: a sentence in UTF-8, zero-padded; before `ended` */

    _Alignas(TL_LINE) _Atomic uint32_t words[]; /* grant[slots], then bytes[slots] */
};

static inline _Atomic uint32_t *tl_segment_grant(struct tl_segment *s, uint32_t slots, uint64_t position)
{
    return &s->words[position % slots];
}

static inline _Atomic uint32_t *tl_segment_bytes(struct tl_segment *s, uint32_t slots, uint64_t position)
{
    return &s->words[slots + position % slots];
}

/* Bytes of the control pages, and where the payload of a slot begins. */
static inline uint64_t tl_segment_control_bytes(uint32_t slots)
{
    const uint64_t bytes = sizeof(struct tl_segment) + 2 * (uint64_t)slots * sizeof(uint32_t);
    return (bytes + TL_SEGMENT_PAGE - 1) / TL_SEGMENT_PAGE * TL_SEGMENT_PAGE;
}

static inline uint64_t tl_segment_payload_at(uint32_t slots, uint32_t payload_max, uint32_t slot)
{
    return tl_segment_control_bytes(slots) + (uint64_t)slot * payload_max;
}

static inline uint64_t tl_segment_total_bytes(uint32_t slots, uint32_t payload_max)
{
    return tl_segment_payload_at(slots, payload_max, slots);
}

#endif
