#include "producer.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

static void wake_job(struct tl_producer *p)
{
    if (atomic_load(&p->segment->job_sleeping) && atomic_exchange(&p->segment->job_sleeping, 0))
        (void)!send(p->socket, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* Sleeps until the job sends a byte, or has gone. */
static enum tl_producer_status sleep_on_socket(struct tl_producer *p)
{
    struct pollfd fd = {p->socket, POLLIN, 0};
    uint8_t byte;
    if (poll(&fd, 1, -1) < 0)
        return errno == EINTR ? TL_PRODUCER_INTERRUPTED : TL_PRODUCER_GONE;
    const ssize_t n = recv(p->socket, &byte, 1, MSG_DONTWAIT);
    return n > 0 || (n < 0 && errno == EAGAIN) ? TL_PRODUCER_OK : TL_PRODUCER_GONE;
}

enum tl_producer_status tl_producer_room_wait(struct tl_producer *p)
{
    if (p->payload && p->used < p->payload_max)
        return TL_PRODUCER_OK;
    tl_producer_flush(p);
    struct tl_segment *s = p->segment;
    for (;;) {
        if (atomic_load(&s->goodbye) != TL_GOODBYE_NONE)
            return TL_PRODUCER_GONE;
        if (atomic_load(&s->granted) > p->filled)
            break;
        atomic_store(&s->producer_sleeping, 1);
        if (atomic_load(&s->granted) > p->filled)
            break; /* a byte may come for nothing: that only ends a later sleep early */
        const enum tl_producer_status status = sleep_on_socket(p);
        if (status != TL_PRODUCER_OK)
            return status;
    }
    const uint32_t slot = atomic_load(tl_segment_grant(s, p->slots, p->filled));
    if (slot >= p->slots)
        return TL_PRODUCER_DAMAGED;
    p->payload = (uint8_t *)s + tl_segment_payload_at(p->slots, p->payload_max, slot);
    p->used = 0;
    return TL_PRODUCER_OK;
}

void tl_producer_flush(struct tl_producer *p)
{
    if (!p->payload || p->used == 0)
        return;
    atomic_store_explicit(tl_segment_bytes(p->segment, p->slots, p->filled), p->used, memory_order_relaxed);
    p->filled++;
    p->payload = NULL;
    atomic_store(&p->segment->filled, p->filled); /* hands over the payload and its length */
    wake_job(p);
}

enum tl_producer_status tl_producer_write(struct tl_producer *p, const uint8_t *data, uint64_t bytes, uint64_t *done)
{
    while (*done < bytes) {
        const enum tl_producer_status status = tl_producer_room_wait(p);
        if (status != TL_PRODUCER_OK)
            return status;
        uint64_t n = p->payload_max - p->used;
        if (n > bytes - *done)
            n = bytes - *done;
        memcpy(p->payload + p->used, data + *done, n);
        p->used += (uint32_t)n;
        *done += n;
    }
    return TL_PRODUCER_OK;
}

void tl_producer_end(struct tl_producer *p, enum tl_segment_ended ended)
{
    tl_producer_flush(p);
    atomic_store(&p->segment->ended, (uint32_t)ended);
    wake_job(p);
}

enum tl_producer_status tl_producer_goodbye_wait(struct tl_producer *p)
{
    enum tl_producer_status status;
    do
        status = sleep_on_socket(p);
    while (status == TL_PRODUCER_OK);
    if (status != TL_PRODUCER_GONE)
        return status;
    return atomic_load(&p->segment->goodbye) == TL_GOODBYE_TAKEN ? TL_PRODUCER_OK : TL_PRODUCER_GONE;
}
