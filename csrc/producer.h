/* The producer's side of a segment: fills granted slots, in another process than the job's. See segment.h.
 *
 * A producer belongs to one thread. */
#ifndef TL_PRODUCER_H
#define TL_PRODUCER_H

#include "segment.h"

enum tl_producer_status {
    TL_PRODUCER_OK = 0,
    TL_PRODUCER_GONE = 1,        /* the job takes no more: segment->goodbye says why */
    TL_PRODUCER_INTERRUPTED = 2, /* a signal: call again */
    TL_PRODUCER_DAMAGED = 3,     /* the segment names a slot that there is not: something in this process has overwritten it */
};

struct tl_producer {
    struct tl_segment *segment;
    uint32_t slots, payload_max;
    int socket;

    uint64_t filled;   /* slots handed over */
    uint8_t *payload;  /* of the slot in hand, or NULL */
    uint32_t used;     /* bytes of it that are filled */
};

/* Makes sure of at least one byte of room at payload + used; waits for a slot. A full slot is handed over by this. */
enum tl_producer_status tl_producer_room_wait(struct tl_producer *p);

/* Hands over the slot in hand, if there is anything in it. */
void tl_producer_flush(struct tl_producer *p);

/* Copies what there is room for; *done moves on, so that an interrupted call is called again with the same arguments. */
enum tl_producer_status tl_producer_write(struct tl_producer *p, const uint8_t *data, uint64_t bytes, uint64_t *done);

/* Says how the sequence ended. With BROKEN, segment->why is set already. Then wait for the job's goodbye. */
void tl_producer_end(struct tl_producer *p, enum tl_segment_ended ended);

/* OK when the goodbye is TAKEN, else GONE. */
enum tl_producer_status tl_producer_goodbye_wait(struct tl_producer *p);

#endif
