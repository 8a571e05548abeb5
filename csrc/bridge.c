#include "bridge.h"

#include <errno.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>

#define GO_ON ((enum tl_bridge_end) - 1)

static const struct tl_arena *arena_of(const struct tl_bridge *b)
{
    return b->feeder->view->arena;
}

static struct tl_stream *stream_of(const struct tl_bridge *b)
{
    return tl_stream_of(arena_of(b), b->feeder->stream);
}

static enum tl_bridge_end lied(struct tl_bridge *b, enum tl_bridge_word word, uint64_t value)
{
    b->word = word;
    b->value = value;
    return TL_BRIDGE_LIED;
}

static enum tl_bridge_end system_failed(struct tl_bridge *b, int error)
{
    b->error = error;
    return TL_BRIDGE_SYSTEM;
}

/* Puts the segment's memory behind the slot's header page, or (from -1) takes it away. 0, or an errno. */
static int map_payload(struct tl_bridge *b, uint32_t slot, int from)
{
    const struct tl_stream *s = stream_of(b);
    const uint32_t payload_max = b->feeder->payload_max;
    uint8_t *payload = b->feeder->view->slot[s->first_segment + slot] + TL_HEADER_PAGE;
    const int flags = from < 0 ? MAP_ANONYMOUS | MAP_NORESERVE : 0;
    const off_t at = from < 0 ? 0 : (off_t)tl_segment_payload_at(s->segment_slots, payload_max, slot);
    if (mmap(payload, payload_max, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | flags, from, at) == MAP_FAILED)
        return errno;
    b->slot[slot].mapped = from >= 0;
    return 0;
}

/* The last reader has passed it: what it did with the payload is done. */
static int is_home(const struct tl_bridge *b, uint32_t slot)
{
    return atomic_load(&tl_slot_of(arena_of(b), stream_of(b)->first_segment + slot)->refs) == 0;
}

static int grant(struct tl_bridge *b, uint32_t slot)
{
    const uint32_t slots = stream_of(b)->segment_slots;
    const int error = b->slot[slot].mapped ? 0 : map_payload(b, slot, b->memory);
    if (error)
        return error;
    b->slot[slot].place = TL_GRANTED;
    b->slot[b->granted % slots].order = slot;
    atomic_store_explicit(tl_segment_grant(b->segment, slots, b->granted), slot, memory_order_relaxed);
    b->granted++;
    return 0;
}

/* Sends the producer the one byte that wakes it. A producer that never reads has enough of them waiting. */
static void wake_producer(struct tl_bridge *b)
{
    if (atomic_load(&b->segment->producer_sleeping) && atomic_exchange(&b->segment->producer_sleeping, 0))
        (void)!send(b->socket, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* Grants the slots that have come home. *gave: how many. Slots come home in any order: a detached reader may still have an old
 * one in its hands. */
static int give(struct tl_bridge *b, uint32_t *gave)
{
    const struct tl_stream *s = stream_of(b);
    const uint64_t freed = atomic_load(&s->freed);
    *gave = 0;
    for (uint32_t i = 0; i < s->segment_slots && b->homecomings != freed; i++) {
        const uint32_t slot = b->next;
        b->next = slot + 1 == s->segment_slots ? 0 : slot + 1;
        if (b->slot[slot].place != TL_OUT || !is_home(b, slot))
            continue;
        const int error = grant(b, slot);
        if (error)
            return error;
        b->homecomings++;
        ++*gave;
    }
    b->homecomings = freed; /* one that was found at home before it was counted leaves the count behind */
    if (*gave) {
        atomic_store(&b->segment->granted, b->granted);
        wake_producer(b);
    }
    return 0;
}

static int begin(struct tl_bridge *b)
{
    const struct tl_stream *s = stream_of(b);
    /* Counted before looking: a slot that comes home meanwhile is found here or by give(). */
    b->homecomings = atomic_load(&s->freed);
    for (uint32_t slot = 0; slot < s->segment_slots; slot++) {
        b->slot[slot].place = TL_OUT;
        if (is_home(b, slot)) {
            const int error = grant(b, slot);
            if (error)
                return error;
        }
    }
    atomic_store(&b->segment->granted, b->granted);
    wake_producer(b);
    return 0;
}

/* Publishes the next filled slot. */
static enum tl_bridge_end take(struct tl_bridge *b)
{
    const struct tl_stream *s = stream_of(b);
    const uint32_t bytes =
        atomic_load_explicit(tl_segment_bytes(b->segment, s->segment_slots, b->taken), memory_order_relaxed);
    if (bytes == 0 || bytes > b->feeder->payload_max)
        return lied(b, TL_WORD_BYTES, bytes);
    const uint32_t slot = b->slot[b->taken % s->segment_slots].order;
    b->slot[slot].place = TL_OUT;
    b->taken++;
    return tl_feed_slot(b->feeder, s->first_segment + slot, bytes) == TL_RING_OK ? GO_ON : TL_BRIDGE_NO_READERS;
}

/* Reads what the producer has sent: nothing but wake-ups, at most one for each time this side slept. */
static enum tl_bridge_end hear(struct tl_bridge *b)
{
    uint8_t byte;
    ssize_t n;
    while ((n = recv(b->socket, &byte, 1, MSG_DONTWAIT)) > 0)
        if (++b->heard > b->slept)
            return lied(b, TL_WORD_SOCKET, b->heard);
    if (n == 0 || (errno != EAGAIN && errno != EINTR))
        b->gone = 1;
    return GO_ON;
}

/* Until the producer or a reader has moved, or one of them is gone. */
static enum tl_bridge_end sleep_until_moved(struct tl_bridge *b)
{
    const struct tl_arena *a = arena_of(b);
    struct tl_stream *s = stream_of(b);
    enum tl_bridge_end end = GO_ON;
    struct pollfd fds[3] = {{s->freed_fd, POLLIN, 0}, {b->socket, POLLIN, 0}, {b->process, POLLIN, 0}};
    b->slept++;
    atomic_store(&b->segment->job_sleeping, 1);
    tl_freed_watch(a, b->feeder->stream, b->granted == b->taken);
    /* The last look before sleeping. Nothing is concluded from what it sees but that it is not time to sleep. */
    if (atomic_load(&b->segment->filled) == b->taken && atomic_load(&b->segment->ended) == TL_SEGMENT_OPEN &&
        atomic_load(&s->freed) == b->homecomings && tl_stream_status(a, b->feeder->stream) == TL_RING_OK &&
        poll(fds, 3, -1) < 0)
        end = errno == EINTR ? TL_BRIDGE_INTERRUPTED : system_failed(b, errno);
    tl_freed_unwatch(a, b->feeder->stream);
    atomic_store(&b->segment->job_sleeping, 0);
    if (fds[2].revents)
        b->gone = 1;
    if (fds[1].revents && end == GO_ON)
        end = hear(b);
    return end;
}

static enum tl_bridge_end step(struct tl_bridge *b)
{
    switch (tl_stream_status(arena_of(b), b->feeder->stream)) {
    case TL_RING_STOPPED: return TL_BRIDGE_STOPPED;
    case TL_RING_NO_READERS: return TL_BRIDGE_NO_READERS;
    default: break;
    }
    /* Each word once, and `ended` first: what was filled before it was said is counted in `filled`. */
    const uint32_t ended = atomic_load(&b->segment->ended);
    const uint64_t filled = atomic_load(&b->segment->filled);
    if (ended > TL_SEGMENT_BROKEN)
        return lied(b, TL_WORD_ENDED, ended);
    if (filled < b->taken || filled > b->granted)
        return lied(b, TL_WORD_FILLED, filled);

    const int idle = filled == b->taken;
    if (idle && ended)
        return ended == TL_SEGMENT_WHOLE ? TL_BRIDGE_WHOLE : TL_BRIDGE_BROKEN;
    if (idle && b->gone) /* learnt before `filled` was read: nothing more will come */
        return TL_BRIDGE_DIED;
    if (!idle) {
        const enum tl_bridge_end end = take(b);
        if (end != GO_ON)
            return end;
    }
    uint32_t gave;
    const int error = give(b, &gave);
    if (error)
        return system_failed(b, error);
    return idle && !gave ? sleep_until_moved(b) : GO_ON;
}

enum tl_bridge_end tl_bridge_run(struct tl_bridge *b)
{
    if (b->granted == 0) {
        const int error = begin(b);
        if (error)
            return system_failed(b, error);
    }
    enum tl_bridge_end end;
    do
        end = step(b);
    while (end == GO_ON);
    return end;
}

int tl_bridge_close(struct tl_bridge *b)
{
    int first_error = 0;
    for (uint32_t slot = 0; slot < stream_of(b)->segment_slots; slot++)
        if (b->slot[slot].mapped && is_home(b, slot)) {
            const int error = map_payload(b, slot, -1);
            if (error && !first_error)
                first_error = error;
        }
    return first_error;
}
