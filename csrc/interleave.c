#include "interleave.h"

#include "wait.h"

static void add(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* Notes blocks in the run table. The caller has made sure of room for one entry more. */
static void note(struct tl_turn *t, const struct tl_slot *slot, uint64_t position)
{
    struct tl_run *last = t->run_count ? &t->runs[t->run_count - 1] : NULL;
    if (last && last->object == slot->object && last->seq + last->blocks == slot->seq &&
        last->position + last->blocks == position)
        last->blocks++;
    else
        t->runs[t->run_count++] = (struct tl_run){slot->object, slot->seq, 1, position};
}

/* One device call: up to n claimed blocks from *first* on. Returns how many are on tape. */
static uint32_t write_batch(const struct tl_view *view, struct tl_agent *g, uint32_t cursor, uint64_t first,
                            uint32_t n, struct tl_turn *t)
{
    const struct tl_arena *a = view->arena;
    struct tl_vec vec[TL_BATCH_MAX];
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t slot = tl_slot_at(a, cursor, first + i);
        vec[i] = (struct tl_vec){view->slot[slot], tl_slot_of(a, slot)->bytes, a->slot_bytes};
    }
    uint32_t done = 0;
    const int64_t begin = tl_now_ns();
    atomic_store_explicit(&g->in_call_since_ns, begin, memory_order_relaxed);
    t->status = t->ops->write(t->device, vec, n, &done);
    atomic_store_explicit(&g->in_call_since_ns, 0, memory_order_relaxed);
    add(&g->device_ns, (uint64_t)(tl_now_ns() - begin));
    add(&g->calls, 1);

    uint64_t bytes = 0;
    for (uint32_t i = 0; i < done; i++) {
        note(t, tl_slot_of(a, tl_slot_at(a, cursor, first + i)), t->position + i);
        bytes += vec[i].bytes;
    }
    t->position += done;
    t->blocks += done;
    t->bytes += bytes;
    add(&g->blocks, done);
    add(&g->bytes, bytes);
    return done;
}

/* Says in the bitmaps what still waits for this cursor, after its bits were cleared. A producer that sleeps has urged already, and
 * will not again if the device refused what it had: a refused block goes back to the waiting ones and frees nothing. */
static void rearm(const struct tl_arena *a, struct tl_agent *g, uint32_t cursor)
{
    struct tl_cursor *c = tl_cursor_of(a, cursor);
    struct tl_stream *s = tl_stream_of(a, c->stream);
    const uint32_t short_will_do = atomic_load(&s->ended) | atomic_load(&tl_taker_of(a, s)->waiting);
    const uint64_t waiting = tl_waiting(a, cursor);
    if (waiting)
        tl_bit_set(tl_some_bits(a, g), c->bit);
    if (waiting >= g->run_blocks || (waiting && short_will_do))
        tl_bit_set(tl_full_bits(a, g), c->bit);
    if (!c->finished && tl_drained(a, cursor)) {
        c->finished = 1;
        g->live--;
    }
}

/* Whether what the device said last, or a table that is full, ends the turn; the reason is set then. */
static int is_over(struct tl_turn *t)
{
    if (t->status == TL_EARLY_WARNING)
        t->reason = TL_TURN_EARLY_WARNING;
    else if (t->status == TL_END_OF_MEDIUM)
        t->reason = TL_TURN_END_OF_MEDIUM;
    else if (t->status != TL_OK)
        t->reason = TL_TURN_FAILED;
    else if (t->bytes >= t->bytes_max || t->run_count == t->runs_max)
        t->reason = TL_TURN_CHECKPOINT;
    else
        return 0;
    return 1;
}

/* What an agent that was handed over still has in its hands: a device refused it before. Returns nonzero when the turn is over for
 * another reason than that nothing is left. */
static int write_hands(const struct tl_view *view, struct tl_agent *g, struct tl_turn *t)
{
    const struct tl_arena *a = view->arena;
    for (uint32_t cursor = g->first_cursor; cursor < g->first_cursor + g->cursors; cursor++) {
        const struct tl_cursor *c = tl_cursor_of(a, cursor);
        const uint64_t end = atomic_load(&c->claim) & ~TL_DETACHED;
        for (uint64_t tail; (tail = atomic_load_explicit(&c->tail, memory_order_relaxed)) != end;) {
            const uint32_t left = (uint32_t)(end - tail), room = t->runs_max - t->run_count;
            tl_release(a, cursor, write_batch(view, g, cursor, tail, left < room ? left : room, t));
            if (is_over(t))
                return 1;
        }
    }
    return 0;
}

/* A drive may hang with all that a call gave it: one reader's share of the slots that are the stream's own, and the others, and the
 * producer, go on with the rest. Of a pool's, every agent may have some, of one stream or another, but only in one call each. A
 * stream that has none is somebody's alone. */
static uint32_t call_blocks_max(const struct tl_arena *a, uint32_t cursor)
{
    struct tl_stream *s = tl_stream_of(a, tl_cursor_of(a, cursor)->stream);
    const struct tl_stream *taker = tl_taker_of(a, s);
    const uint32_t own = taker->quota + taker->segment_slots;
    const uint32_t share = own / ((taker == s ? s->readers : a->agents) + 1);
    return own == 0 ? TL_BATCH_MAX : share == 0 ? 1 : share;
}

/* One run of one buffer. Returns nonzero when the turn is over. */
static int write_run(const struct tl_view *view, struct tl_agent *g, uint32_t cursor, struct tl_turn *t)
{
    const struct tl_arena *a = view->arena;
    uint32_t batch = t->ops->batch_max < TL_BATCH_MAX ? t->ops->batch_max : TL_BATCH_MAX;
    if (batch > call_blocks_max(a, cursor))
        batch = call_blocks_max(a, cursor);
    uint32_t left = g->run_blocks;
    int over = 0;
    while (left && !over) {
        uint64_t first;
        uint32_t most = left < batch ? left : batch;
        if (most > t->runs_max - t->run_count)
            most = t->runs_max - t->run_count;
        const uint32_t n = tl_claim(a, cursor, most, &first);
        if (n == 0)
            break;
        const uint32_t done = write_batch(view, g, cursor, first, n, t);
        tl_release(a, cursor, done);
        if (done < n)
            tl_unclaim(a, cursor);
        left -= done;
        over = is_over(t);
    }
    if (left < g->run_blocks) {
        if (atomic_load_explicit(&g->starving_since_ns, memory_order_relaxed))
            atomic_store_explicit(&g->starving_since_ns, 0, memory_order_relaxed);
        add(&g->runs, 1);
        if (left)
            add(&g->short_runs, 1);
    }
    return over;
}

/* Nothing waits, and the drive has to. */
static void starve(const struct tl_arena *a, struct tl_agent *g, int64_t now)
{
    g->gathering = g->start_blocks && tl_agent_lacks(a, g);
    if (atomic_load_explicit(&g->starving_since_ns, memory_order_relaxed))
        return;
    atomic_store_explicit(&g->starving_since_ns, now, memory_order_relaxed);
    if (atomic_load_explicit(&g->blocks, memory_order_relaxed))
        add(&g->starvations, 1);
}

/* Everything that waits may be written now, full run or not. */
static void promote_some(const struct tl_arena *a, struct tl_agent *g)
{
    for (uint32_t w = 0; w < tl_bit_words(g->cursors); w++) {
        const uint64_t word = atomic_load(&tl_some_bits(a, g)[w]);
        if (word)
            atomic_fetch_or(&tl_full_bits(a, g)[w], word);
    }
}

/* One sleep of an agent that gathers. A checkpoint is to cover what waits when it is due: returns how many blocks these are. */
static uint64_t gather(const struct tl_arena *a, uint32_t agent, int64_t now, int64_t deadline_ns)
{
    struct tl_agent *g = tl_agent_of(a, agent);
    if (tl_agent_lacks(a, g) && now < deadline_ns) {
        tl_agent_wait(a, agent, TL_SLEEP_GATHER, deadline_ns);
        return 0;
    }
    g->gathering = 0;
    if (now < deadline_ns)
        return 0;
    promote_some(a, g);
    uint64_t blocks = 0;
    for (uint32_t cursor = g->first_cursor; cursor < g->first_cursor + g->cursors; cursor++)
        blocks += tl_waiting(a, cursor);
    return blocks;
}

void tl_interleave(const struct tl_view *view, uint32_t agent, struct tl_turn *t)
{
    const struct tl_arena *a = view->arena;
    struct tl_agent *g = tl_agent_of(a, agent);
    _Atomic uint64_t *full = tl_full_bits(a, g), *some = tl_some_bits(a, g);
    uint64_t due = 0; /* blocks of this turn that the deadline waits for */
    t->run_count = 0;
    t->blocks = t->bytes = 0;
    t->status = TL_OK;

    /* A short run waits for its patience at most: this is when the oldest one's is up. */
    int64_t patience_ends = 0;
    for (;;) {
        if (atomic_load(&a->stop) == TL_STOP_NOW) {
            t->reason = TL_TURN_STOPPED;
            return;
        }
        if (atomic_load(&g->detached)) {
            if (!t->runs_max || !write_hands(view, g, t))
                t->reason = TL_TURN_DETACHED;
            return;
        }
        if (g->live == 0) {
            atomic_store_explicit(&g->starving_since_ns, 0, memory_order_relaxed);
            t->reason = TL_TURN_ENDED;
            return;
        }
        uint32_t bit = g->gathering ? TL_NONE : tl_bits_next(full, g->cursors, g->next);
        if (bit == TL_NONE) {
            const int64_t now = tl_now_ns();
            if (g->gathering) {
                due = t->blocks + gather(a, agent, now, t->deadline_ns);
                continue;
            }
            if (now >= t->deadline_ns) {
                t->reason = TL_TURN_CHECKPOINT;
                return;
            }
            if (!tl_bits_any(some, g->cursors)) {
                patience_ends = 0;
                starve(a, g, now);
                if (!g->gathering)
                    tl_agent_wait(a, agent, TL_SLEEP_ANY, t->deadline_ns);
            } else if (patience_ends == 0) {
                patience_ends = now + g->patience_ns;
            } else if (now >= patience_ends) {
                promote_some(a, g);
                patience_ends = 0;
            } else {
                tl_agent_wait(a, agent, TL_SLEEP_FULL,
                              patience_ends < t->deadline_ns ? patience_ends : t->deadline_ns);
            }
            continue;
        }
        g->next = bit + 1 == g->cursors ? 0 : bit + 1;
        tl_bit_clear(full, bit);
        tl_bit_clear(some, bit);
        const uint32_t cursor = g->first_cursor + bit;
        int over;
        if (t->runs_max) {
            over = write_run(view, g, cursor, t);
        } else {
            over = tl_waiting(a, cursor) != 0;
            t->reason = TL_TURN_CHECKPOINT;
        }
        rearm(a, g, cursor);
        if (over)
            return;
        if (t->deadline_ns != TL_FOREVER && t->blocks >= due && tl_now_ns() >= t->deadline_ns) {
            t->reason = TL_TURN_CHECKPOINT;
            return;
        }
    }
}
