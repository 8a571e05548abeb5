#include "slots.h"

#include <unistd.h>

#include "wait.h"

/* ---- free slots ---- */

static void push(const struct tl_arena *a, tl_stack *stack, uint32_t slot)
{
    uint64_t head = atomic_load(stack), next;
    do {
        atomic_store_explicit(&tl_slot_of(a, slot)->next, (uint32_t)head, memory_order_relaxed);
        next = ((head >> 32) + 1) << 32 | slot;
    } while (!atomic_compare_exchange_weak(stack, &head, next));
}

static int pop(const struct tl_arena *a, tl_stack *stack, uint32_t *slot)
{
    uint64_t head = atomic_load(stack), next;
    do {
        if ((uint32_t)head == TL_NONE)
            return 0;
        next = ((head >> 32) + 1) << 32 |
               atomic_load_explicit(&tl_slot_of(a, (uint32_t)head)->next, memory_order_relaxed);
    } while (!atomic_compare_exchange_weak(stack, &head, next));
    *slot = (uint32_t)head;
    return 1;
}

static int empty(tl_stack *stack)
{
    return (uint32_t)atomic_load(stack) == TL_NONE;
}

/* ---- waking ---- */

static void wake_producer(struct tl_stream *s)
{
    if (atomic_load(&s->waiting) && atomic_exchange(&s->waiting, 0)) {
        atomic_fetch_add(&s->wake, 1);
        tl_wake_all(&s->wake);
    }
}

static void wake_bridge(struct tl_stream *s)
{
    const uint64_t one = 1;
    if (atomic_load(&s->watched) && atomic_exchange(&s->watched, 0))
        (void)!write(s->freed_fd, &one, sizeof one);
}

static _Atomic uint64_t *hungry_bits(const struct tl_arena *a)
{
    return tl_at(a, a->hungry_at);
}

/* A common slot is free: one of the streams that sleep for one may have it, in turn. */
static void wake_hungry(const struct tl_arena *a)
{
    struct tl_arena *arena = (struct tl_arena *)a;
    for (;;) {
        uint32_t i = tl_bits_next(hungry_bits(a), a->streams, atomic_load(&arena->hungry_next));
        if (i == TL_NONE)
            return;
        atomic_store(&arena->hungry_next, i + 1);
        tl_bit_clear(hungry_bits(a), i);
        if (atomic_load(&tl_stream_of(a, i)->waiting)) {
            wake_producer(tl_stream_of(a, i));
            return;
        }
    }
}

/* ---- slots going home ---- */

int tl_slot_go_home(const struct tl_arena *a, struct tl_stream *s, uint32_t slot)
{
    if (slot >= a->slots_own) {
        atomic_fetch_add(&s->freed, 1);
        return 0;
    }
    const uint32_t home = tl_slot_of(a, slot)->home;
    struct tl_stream *of = home == TL_NONE ? NULL : tl_stream_of(a, home);
    struct tl_stream *taker = tl_taker_of(a, s);
    push(a, of ? &of->free : &((struct tl_arena *)a)->common, slot);
    atomic_fetch_sub(&s->held, 1);
    if (!of)
        atomic_fetch_sub(&taker->held_common, 1);
    if (of && of != taker)
        wake_producer(of);
    return !of;
}

void tl_tell_of_freed(const struct tl_arena *a, struct tl_stream *s, uint32_t common)
{
    wake_producer(tl_taker_of(a, s));
    wake_bridge(s);
    while (common-- && !empty(&((struct tl_arena *)a)->common))
        wake_hungry(a);
}

/* ---- the producer ---- */

/* A common slot is taken before one of the quota: whoever let go of the last one, its memory is still in the cache. */
static int may_take_common(const struct tl_stream *s)
{
    return atomic_load(&s->held_common) < s->cap - s->quota;
}

enum tl_ring_status tl_slot_reserve_nowait(const struct tl_arena *a, uint32_t stream, uint32_t *slot)
{
    struct tl_stream *s = tl_stream_of(a, stream);
    if (may_take_common(s) && pop(a, &((struct tl_arena *)a)->common, slot))
        atomic_fetch_add(&s->held_common, 1);
    else if (!pop(a, &s->free, slot))
        return TL_RING_AGAIN;
    atomic_fetch_add(&s->held, 1);
    tl_slot_of(a, *slot)->stream = stream;
    return TL_RING_OK;
}

/* What the readers of a stream have must do, a full run or not. */
static void urge_readers_of(const struct tl_arena *a, const struct tl_stream *s)
{
    const uint32_t *readers = (const uint32_t *)tl_at(a, a->readers_at) + s->first_reader;
    for (uint32_t i = 0; i < s->readers; i++) {
        const struct tl_cursor *c = tl_cursor_of(a, readers[i]);
        struct tl_agent *g = tl_agent_of(a, c->agent);
        if (tl_waiting(a, readers[i])) {
            tl_bit_set(tl_full_bits(a, g), c->bit);
            tl_agent_wake(g, TL_SLEEP_GATHER);
        }
    }
}

/* A producer is about to sleep: whoever holds slots that it took is to let go of them. It is as with the slots of any stream: a
 * reader waits for nothing that another slot of the pool would have to bring, but for its device, so each urged one frees what it
 * has, and the pool's quota comes back to the pool alone. */
static void urge_readers(const struct tl_arena *a, const struct tl_stream *taker)
{
    urge_readers_of(a, taker);
    if (taker->readers == 0)
        for (uint32_t i = 0; i < a->streams; i++)
            if (tl_taker_of(a, tl_stream_of(a, i)) == taker)
                urge_readers_of(a, tl_stream_of(a, i));
}

static enum tl_ring_status why_not(const struct tl_arena *a, const struct tl_stream *s, int last)
{
    const uint32_t stop = atomic_load(&a->stop);
    if (stop == TL_STOP_NOW || (stop && !last))
        return TL_RING_STOPPED;
    return s->readers == 0 || atomic_load(&s->attached) ? TL_RING_OK : TL_RING_NO_READERS;
}

enum tl_ring_status tl_slot_reserve_wait(const struct tl_arena *a, uint32_t stream, int last, uint32_t *slot)
{
    struct tl_stream *s = tl_stream_of(a, stream);
    enum tl_ring_status status = why_not(a, s, last);
    if (status != TL_RING_OK)
        return status;
    if (tl_slot_reserve_nowait(a, stream, slot) == TL_RING_OK)
        return TL_RING_OK;

    const int64_t begin = tl_now_ns();
    atomic_store(&s->waiting_since_ns, begin);
    for (;;) {
        const uint32_t seen = atomic_load(&s->wake);
        atomic_store(&s->waiting, 1);
        if (may_take_common(s))
            tl_bit_set(hungry_bits(a), stream);
        status = why_not(a, s, last);
        if (status != TL_RING_OK || tl_slot_reserve_nowait(a, stream, slot) == TL_RING_OK)
            break;
        urge_readers(a, s);
        tl_wait(&s->wake, seen, TL_FOREVER);
    }
    atomic_store(&s->waiting, 0);
    tl_bit_clear(hungry_bits(a), stream);
    atomic_store(&s->waiting_since_ns, 0);
    atomic_fetch_add(&s->stalls, 1);
    atomic_fetch_add(&s->stall_ns, (uint64_t)(tl_now_ns() - begin));
    /* The wake-up for a common slot may have come to this stream while it took one of its own: pass it on. */
    if (!empty(&((struct tl_arena *)a)->common))
        wake_hungry(a);
    return status;
}

enum tl_ring_status tl_stream_status(const struct tl_arena *a, uint32_t stream)
{
    return why_not(a, tl_stream_of(a, stream), 0);
}

void tl_freed_watch(const struct tl_arena *a, uint32_t stream, int wanting)
{
    struct tl_stream *s = tl_stream_of(a, stream);
    uint64_t count;
    (void)!read(s->freed_fd, &count, sizeof count); /* what an earlier watch was told */
    atomic_store(&s->watched, 1);
    if (wanting) {
        atomic_store(&s->waiting_since_ns, tl_now_ns());
        atomic_store(&s->waiting, 1);
        urge_readers(a, s);
    }
}

void tl_freed_unwatch(const struct tl_arena *a, uint32_t stream)
{
    struct tl_stream *s = tl_stream_of(a, stream);
    atomic_store(&s->watched, 0);
    atomic_store(&s->waiting, 0);
    const int64_t since = atomic_exchange(&s->waiting_since_ns, 0);
    if (since) {
        atomic_fetch_add(&s->stalls, 1);
        atomic_fetch_add(&s->stall_ns, (uint64_t)(tl_now_ns() - since));
    }
}

void tl_slot_return(const struct tl_arena *a, uint32_t stream, uint32_t slot)
{
    struct tl_stream *s = tl_stream_of(a, stream);
    tl_tell_of_freed(a, s, (uint32_t)tl_slot_go_home(a, s, slot));
}

void tl_slot_move(const struct tl_arena *a, uint32_t slot, uint32_t from, uint32_t to)
{
    atomic_store_explicit(&tl_stream_of(a, to)->pool, from + 1, memory_order_relaxed);
    atomic_fetch_add(&tl_stream_of(a, to)->held, 1);
    atomic_fetch_sub(&tl_stream_of(a, from)->held, 1);
    tl_slot_of(a, slot)->stream = to;
}
