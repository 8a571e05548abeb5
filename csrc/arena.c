#include "arena.h"

#include "ring.h"

#define PAGE 4096u

/* Where each table begins; the sum of all is the arena. */
struct layout {
    uint64_t slot, stream, cursor, agent, readers, hungry, rings, bits, control, data, total;
    uint32_t slots, slots_own, ring_entries;
};

static uint64_t take(uint64_t *at, uint64_t bytes)
{
    uint64_t begin = *at;
    *at += (bytes + TL_LINE - 1) / TL_LINE * TL_LINE;
    return begin;
}

/* A power of two that holds every slot the stream can have at once. One without slots of its own is fed by a drive, with slots
 * that tl_slot_move() brings from anywhere. */
static uint32_t ring_entries(const struct tl_plan *plan, const struct tl_stream_plan *stream, uint32_t slots_own)
{
    uint32_t most = stream->cap > stream->quota ? stream->cap : stream->quota;
    if (most > stream->quota + plan->slots_common)
        most = stream->quota + plan->slots_common;
    if (stream->quota == 0)
        most = slots_own;
    most += stream->segment_slots;
    uint32_t entries = 1;
    while (entries < most)
        entries *= 2;
    return entries;
}

static struct layout layout_of(const struct tl_plan *plan)
{
    struct layout l = {.slots_own = plan->slots_common};
    uint64_t rings = 0, bits = 0;
    for (uint32_t i = 0; i < plan->streams; i++) {
        l.slots_own += plan->stream[i].quota;
        l.slots += plan->stream[i].segment_slots;
    }
    for (uint32_t i = 0; i < plan->streams; i++)
        take(&rings, ring_entries(plan, &plan->stream[i], l.slots_own) * sizeof(uint32_t));
    l.slots += l.slots_own;
    for (uint32_t i = 0; i < plan->agents; i++)
        take(&bits, 2 * tl_bit_words(plan->agent[i].cursors) * sizeof(uint64_t));

    uint64_t at = 0;
    take(&at, sizeof(struct tl_arena));
    l.slot = take(&at, l.slots * sizeof(struct tl_slot));
    l.stream = take(&at, plan->streams * sizeof(struct tl_stream));
    l.cursor = take(&at, plan->cursors * sizeof(struct tl_cursor));
    l.agent = take(&at, plan->agents * sizeof(struct tl_agent));
    l.readers = take(&at, plan->cursors * sizeof(uint32_t));
    l.hungry = take(&at, tl_bit_words(plan->streams) * sizeof(uint64_t));
    l.rings = take(&at, rings);
    l.bits = take(&at, bits);
    l.control = (at + PAGE - 1) / PAGE * PAGE;
    l.data = l.control;
    l.total = l.data + (uint64_t)l.slots_own * plan->slot_bytes;
    return l;
}

uint64_t tl_arena_control_bytes(const struct tl_plan *plan)
{
    return layout_of(plan).control;
}

uint64_t tl_arena_bytes(const struct tl_plan *plan)
{
    return layout_of(plan).total;
}

static void push_free(struct tl_arena *a, tl_stack *stack, uint32_t slot)
{
    uint64_t head = atomic_load_explicit(stack, memory_order_relaxed);
    atomic_store_explicit(&tl_slot_of(a, slot)->next, (uint32_t)head, memory_order_relaxed);
    atomic_store_explicit(stack, (head >> 32 << 32) | slot, memory_order_relaxed);
}

void tl_arena_init(void *memory, const struct tl_plan *plan)
{
    const struct layout l = layout_of(plan);
    struct tl_arena *a = memory;
    a->abi = TL_ARENA_ABI;
    a->slots = l.slots;
    a->slots_own = l.slots_own;
    a->slot_bytes = plan->slot_bytes;
    a->streams = plan->streams;
    a->cursors = plan->cursors;
    a->agents = plan->agents;
    a->slot_at = l.slot;
    a->stream_at = l.stream;
    a->cursor_at = l.cursor;
    a->agent_at = l.agent;
    a->readers_at = l.readers;
    a->hungry_at = l.hungry;
    a->data_at = l.data;
    a->total_bytes = l.total;
    atomic_store(&a->common, TL_NONE);

    uint64_t ring_at = l.rings;
    uint32_t next_slot = 0, next_segment = l.slots_own, next_reader = 0;
    uint32_t *readers = tl_at(a, a->readers_at);
    for (uint32_t i = 0; i < plan->streams; i++) {
        struct tl_stream *s = tl_stream_of(a, i);
        const struct tl_stream_plan *p = &plan->stream[i];
        s->quota = p->quota;
        s->cap = p->cap < p->quota ? p->quota : p->cap;
        s->mask = ring_entries(plan, p, l.slots_own) - 1;
        s->ring = take(&ring_at, (s->mask + 1) * sizeof(uint32_t));
        s->freed_fd = -1;
        atomic_store(&s->free, TL_NONE);
        for (uint32_t k = 0; k < p->quota; k++, next_slot++) {
            tl_slot_of(a, next_slot)->home = i;
            push_free(a, &s->free, next_slot);
        }
        s->first_segment = next_segment;
        s->segment_slots = p->segment_slots;
        for (uint32_t k = 0; k < p->segment_slots; k++, next_segment++) {
            tl_slot_of(a, next_segment)->home = i;
            tl_slot_of(a, next_segment)->stream = i;
        }
        s->first_reader = next_reader;
        uint32_t attached = 0;
        for (uint32_t c = 0; c < plan->cursors; c++)
            if (plan->cursor[c].stream == i) {
                readers[next_reader++] = c;
                attached += !plan->agent[plan->cursor[c].agent].dormant;
            }
        s->readers = next_reader - s->first_reader;
        atomic_store(&s->attached, attached);
    }
    for (; next_slot < l.slots_own; next_slot++) {
        tl_slot_of(a, next_slot)->home = TL_NONE;
        push_free(a, &a->common, next_slot);
    }

    uint64_t bits_at = l.bits;
    for (uint32_t i = 0; i < plan->agents; i++) {
        struct tl_agent *g = tl_agent_of(a, i);
        const struct tl_agent_plan *p = &plan->agent[i];
        const uint64_t bitmap_bytes = tl_bit_words(p->cursors) * sizeof(uint64_t);
        g->first_cursor = p->first_cursor;
        g->cursors = p->cursors;
        g->live = p->cursors;
        g->run_blocks = p->run_blocks;
        g->patience_ns = p->patience_ns;
        g->start_blocks = p->start_blocks < TL_START_MAX ? p->start_blocks : TL_START_MAX;
        g->gathering = g->start_blocks != 0;
        g->full = take(&bits_at, 2 * bitmap_bytes);
        g->some = g->full + bitmap_bytes;
        for (uint32_t k = 0; k < p->cursors; k++) {
            struct tl_cursor *c = tl_cursor_of(a, p->first_cursor + k);
            c->stream = plan->cursor[p->first_cursor + k].stream;
            c->agent = i;
            c->bit = k;
            if (p->dormant)
                atomic_store(&c->claim, TL_DETACHED);
        }
    }
}
