#include "split.h"

#include <string.h>

#include "wait.h"

/* Blocks come in runs: the object found last is tried first. */
static const struct tl_want *wanted(const struct tl_split *s, const uint8_t *object, uint32_t *last)
{
    if (*last < s->wants && memcmp(s->want[*last].object, object, 16) == 0)
        return &s->want[*last];
    uint32_t low = 0, high = s->wants;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        const int order = memcmp(s->want[middle].object, object, 16);
        if (order == 0) {
            *last = middle;
            return &s->want[middle];
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static void fault(struct tl_split *s, uint64_t position, uint32_t verdict, const struct tl_header *h, uint32_t bytes)
{
    struct tl_fault *f = &s->faults[s->fault_count++];
    *f = (struct tl_fault){.position = position, .verdict = verdict, .bytes = bytes};
    if (verdict == TL_BLOCK_PAYLOAD || verdict == TL_FAULT_MISPLACED) {
        f->seq = h->seq;
        memcpy(f->object, h->object, 16);
    }
}

/* Hands on the block that stands *ahead* blocks behind the position. Returns nonzero when its slot is still the caller's
 * (nobody wanted it). */
static int hand_on(const struct tl_view *view, const struct tl_crc32c *crc, struct tl_split *s, uint32_t slot,
                   uint32_t bytes, uint32_t ahead, uint32_t *last)
{
    const uint64_t position = s->position + ahead;
    struct tl_arena *a = view->arena;
    const struct tl_header *h = (const struct tl_header *)view->slot[slot];
    const enum tl_block_verdict verdict = tl_block_check(crc, h, bytes);
    if (verdict != TL_BLOCK_OK) {
        fault(s, position, verdict, h, bytes);
        return 1;
    }
    if (s->expect && (memcmp(h->object, s->expect, 16) != 0 || h->seq != s->expect_seq + ahead)) {
        fault(s, position, TL_FAULT_MISPLACED, h, bytes);
        return 1;
    }
    if (h->kind == TL_KIND_RECORD && s->stop_at_records) {
        s->reason = TL_SPLIT_RECORD;
        s->record = slot;
        s->record_bytes = bytes;
        return 0;
    }
    const struct tl_want *w = h->kind == TL_KIND_OBJECT ? wanted(s, h->object, last) : NULL;
    if (!w)
        return 1;
    struct tl_slot *meta = tl_slot_of(a, slot);
    meta->bytes = bytes;
    meta->object = w->number;
    meta->seq = h->seq;
    tl_slot_move(a, slot, s->pool, w->stream);
    s->blocks_wanted++;
    tl_slot_publish(a, w->stream, slot); /* NO_READERS: gone home; the caller finds out by any_reader() */
    return 0;
}

static int any_reader(const struct tl_view *view, const struct tl_split *s)
{
    if (s->wants == 0)
        return 1;
    for (uint32_t i = 0; i < s->wants; i++)
        if (atomic_load(&tl_stream_of(view->arena, s->want[i].stream)->attached))
            return 1;
    return 0;
}

/* Free slots for the next call: at least one, more as far as they are there without waiting. */
static uint32_t free_slots(const struct tl_view *view, const struct tl_split *s, uint32_t most, uint32_t *slots)
{
    if (tl_slot_reserve_wait(view->arena, s->pool, 0, &slots[0]) == TL_RING_STOPPED)
        return 0;
    uint32_t n = 1;
    while (n < most && tl_slot_reserve_nowait(view->arena, s->pool, &slots[n]) == TL_RING_OK)
        n++;
    return n;
}

#define SPLIT_BATCH 8u

static void add(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* One device call, on the books of the agent that it is for. */
static int read_batch(const struct tl_arena *a, const struct tl_split *s, struct tl_vec *vec, uint32_t n,
                          uint32_t *done)
{
    if (s->agent == TL_NONE)
        return s->ops->read(s->device, vec, n, done);
    struct tl_agent *g = tl_agent_of(a, s->agent);
    const int64_t begin = tl_now_ns();
    atomic_store_explicit(&g->in_call_since_ns, begin, memory_order_relaxed);
    const int status = s->ops->read(s->device, vec, n, done);
    atomic_store_explicit(&g->in_call_since_ns, 0, memory_order_relaxed);
    add(&g->device_ns, (uint64_t)(tl_now_ns() - begin));
    add(&g->calls, 1);
    add(&g->blocks, *done);
    for (uint32_t i = 0; i < *done; i++)
        add(&g->bytes, vec[i].bytes);
    return status;
}

void tl_split_run(const struct tl_view *view, const struct tl_crc32c *crc, struct tl_split *s)
{
    struct tl_arena *a = view->arena;
    uint32_t last = 0;
    s->blocks = s->bytes = s->blocks_wanted = 0;
    s->fault_count = 0;
    s->status = TL_OK;
    s->reason = TL_SPLIT_DONE;
    while (s->blocks < s->blocks_max && s->reason == TL_SPLIT_DONE) {
        if (atomic_load(&a->stop)) {
            s->reason = TL_SPLIT_STOPPED;
            return;
        }
        if (!any_reader(view, s)) {
            s->reason = TL_SPLIT_NO_READERS;
            return;
        }
        uint64_t most = s->blocks_max - s->blocks;
        if (most > s->ops->batch_max)
            most = s->ops->batch_max;
        if (most > SPLIT_BATCH)
            most = SPLIT_BATCH;
        if (s->stop_at_records)
            most = 1; /* what was read beyond a record would have to be held back */
        uint32_t slots[SPLIT_BATCH], done = 0;
        struct tl_vec vec[SPLIT_BATCH];
        const uint32_t n = free_slots(view, s, (uint32_t)most, slots);
        if (n == 0) {
            s->reason = TL_SPLIT_STOPPED;
            return;
        }
        for (uint32_t i = 0; i < n; i++)
            vec[i] = (struct tl_vec){view->slot[slots[i]], a->slot_bytes, a->slot_bytes};
        s->status = read_batch(a, s, vec, n, &done);
        uint32_t taken = 0; /* what came behind the last fault that may be noted is left for the next call */
        for (uint32_t i = 0; i < n; i++) {
            int mine = 1;
            if (i < done && s->fault_count < s->faults_max) {
                mine = hand_on(view, crc, s, slots[i], vec[i].bytes, i, &last);
                s->bytes += vec[i].bytes;
                taken++;
            }
            if (mine)
                tl_slot_return(a, s->pool, slots[i]);
        }
        s->position += taken;
        s->blocks += taken;
        s->expect_seq += taken;
        if (s->fault_count == s->faults_max) {
            s->reason = TL_SPLIT_FAULTS_FULL;
            return;
        }
        if (s->status == TL_FILEMARK) {
            s->position++;
            s->reason = TL_SPLIT_FILEMARK;
        } else if (s->status == TL_END_OF_DATA) {
            s->reason = TL_SPLIT_END_OF_DATA;
        } else if (s->status != TL_OK) {
            s->reason = TL_SPLIT_FAILED;
        }
    }
}
