/* The job's side of a segment: takes what a producer in another process has filled, and gives it free slots.
 *
 * The slots of a stream with a segment are ranges of addresses of the job. The first page of each, the header, is the job's own
 * memory; behind it the bridge maps the payload from the producer's segment, as soon as the slot is at home. A slot that a reader
 * of an earlier object still has in its hands joins later. So a producer can spoil the payload of its own object and nothing else,
 * and a segment that was left behind cannot reach the object after it.
 *
 * What a bridge cannot see is payload that changes after it was handed over. The checksum is made at hand-over: such a block is
 * found damaged by whoever checks it, and the medium holds what the memory held when it was written.
 *
 * A bridge belongs to one thread, and to one object. */
#ifndef TL_BRIDGE_H
#define TL_BRIDGE_H

#include "feed.h"
#include "segment.h"

/* Pinned: they cross into Python. */
enum tl_bridge_end {
    TL_BRIDGE_WHOLE = 0,      /* the producer said so, and everything is published */
    TL_BRIDGE_BROKEN = 1,     /* the producer gave up */
    TL_BRIDGE_DIED = 2,       /* it is gone, or has closed the socket, without a word */
    TL_BRIDGE_LIED = 3,       /* `word` and `value` say where */
    TL_BRIDGE_STOPPED = 4,
    TL_BRIDGE_NO_READERS = 5,
    TL_BRIDGE_SYSTEM = 6,     /* `error` is an errno of ours */
    TL_BRIDGE_INTERRUPTED = 7 /* a signal: call again */
};

/* Which word made no sense. Pinned. */
enum tl_bridge_word { TL_WORD_FILLED = 0, TL_WORD_BYTES = 1, TL_WORD_ENDED = 2, TL_WORD_SOCKET = 3 };

enum tl_bridge_place { TL_AT_HOME, TL_GRANTED, TL_OUT }; /* OUT: published, readers have still to pass it */

struct tl_bridge_slot {
    uint32_t order; /* by position, not by slot: the slot that was granted there */
    uint8_t place;  /* enum tl_bridge_place */
    uint8_t mapped; /* its payload is of this segment */
};

struct tl_bridge {
    /* given */
    struct tl_feeder *feeder; /* the object, begun; its header moves on with every block */
    struct tl_segment *segment;
    struct tl_bridge_slot *slot; /* one for each slot of the segment, zeros */
    int memory, socket, process; /* the segment's memfd; connected to the producer; its pidfd */

    /* the job's own copies */
    uint64_t granted, taken;
    uint64_t homecomings; /* slots seen at home, as tl_stream.freed counts them */
    uint64_t slept, heard; /* how often it slept; messages of the producer */
    uint32_t next;         /* where the search for a slot at home goes on */
    int gone;

    /* with LIED, SYSTEM */
    uint32_t word;
    uint64_t value;
    int error;
};

/* Carries blocks until there is something to decide. Everything filled before an end is published, but with STOPPED and LIED. */
enum tl_bridge_end tl_bridge_run(struct tl_bridge *b);

/* Takes the segment's memory out of the slots that are at home. 0, or an errno. */
int tl_bridge_close(struct tl_bridge *b);

#endif
