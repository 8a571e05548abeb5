#include "drain.h"

#include "wait.h"

enum tl_drain_status tl_drain_nowait(const struct tl_arena *a, uint32_t cursor, uint32_t *slot)
{
    uint64_t position;
    if (atomic_load(&a->stop) == TL_STOP_NOW)
        return TL_DRAIN_STOPPED;
    if (!tl_claim(a, cursor, 1, &position))
        return TL_DRAIN_END;
    *slot = tl_slot_at(a, cursor, position);
    return TL_DRAIN_BLOCK;
}

enum tl_drain_status tl_drain_next(const struct tl_arena *a, uint32_t cursor, uint32_t *slot)
{
    return tl_drain_until(a, cursor, slot, TL_FOREVER);
}

enum tl_drain_status tl_drain_until(const struct tl_arena *a, uint32_t cursor, uint32_t *slot, int64_t deadline_ns)
{
    const struct tl_cursor *c = tl_cursor_of(a, cursor);
    struct tl_agent *g = tl_agent_of(a, c->agent);
    uint64_t position;
    for (;;) {
        if (atomic_load(&a->stop) == TL_STOP_NOW)
            return TL_DRAIN_STOPPED;
        tl_bit_clear(tl_full_bits(a, g), c->bit);
        tl_bit_clear(tl_some_bits(a, g), c->bit);
        if (tl_claim(a, cursor, 1, &position)) {
            *slot = tl_slot_at(a, cursor, position);
            return TL_DRAIN_BLOCK;
        }
        if (tl_drained(a, cursor))
            return TL_DRAIN_END;
        if (atomic_load(&g->detached))
            return TL_DRAIN_STOPPED;
        if (deadline_ns != TL_FOREVER && tl_now_ns() >= deadline_ns)
            return TL_DRAIN_LATE;
        tl_agent_wait(a, c->agent, TL_SLEEP_ANY, deadline_ns);
    }
}
