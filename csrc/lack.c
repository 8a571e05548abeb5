#include "lack.h"

/* Blocks that a cursor has not passed yet, waiting or in its agent's hands. */
static uint64_t behind(const struct tl_arena *a, uint32_t cursor)
{
    const struct tl_cursor *c = tl_cursor_of(a, cursor);
    const uint64_t claim = atomic_load(&c->claim), tail = atomic_load(&c->tail);
    return claim & TL_DETACHED ? (claim & ~TL_DETACHED) - tail : atomic_load(&tl_stream_of(a, c->stream)->head) - tail;
}

static uint32_t holder_of(const struct tl_arena *a, uint32_t agent, uint32_t stream)
{
    const struct tl_stream *taker = tl_taker_of(a, tl_stream_of(a, stream));
    uint32_t holder = TL_NONE;
    uint64_t most = 0;
    if (atomic_load(&taker->waiting_since_ns) == 0)
        return TL_NONE;
    for (uint32_t i = 0; i < a->cursors; i++) {
        const struct tl_cursor *c = tl_cursor_of(a, i);
        if (c->agent == agent || tl_taker_of(a, tl_stream_of(a, c->stream)) != taker)
            continue;
        const uint64_t blocks = behind(a, i);
        if (blocks > most) {
            most = blocks;
            holder = c->agent;
        }
    }
    return holder;
}

uint32_t tl_agent_lack(const struct tl_arena *a, uint32_t agent, struct tl_lack *lack, uint32_t max)
{
    const struct tl_agent *g = tl_agent_of(a, agent);
    uint64_t least = UINT64_MAX;
    uint32_t rows = 0;
    if (atomic_load(&g->sleeping) == TL_AWAKE || atomic_load(&g->detached))
        return 0;
    for (uint32_t i = g->first_cursor; i < g->first_cursor + g->cursors; i++) {
        const struct tl_cursor *c = tl_cursor_of(a, i);
        const uint64_t waiting = tl_waiting(a, i);
        if (atomic_load(&tl_stream_of(a, c->stream)->ended) || waiting > least)
            continue;
        if (waiting < least)
            rows = 0;
        least = waiting;
        if (rows < max)
            lack[rows++] = (struct tl_lack){c->stream, TL_NONE};
    }
    for (uint32_t i = 0; i < rows; i++)
        lack[i].holder = holder_of(a, agent, lack[i].stream);
    return rows;
}
