#include "ring.h"

#include "slots.h"
#include "wait.h"

/* ---- bitmaps ---- */

uint32_t tl_bits_next(_Atomic uint64_t *bits, uint32_t count, uint32_t from)
{
    const uint32_t words = tl_bit_words(count);
    if (count == 0)
        return TL_NONE;
    if (from >= count)
        from = 0;
    uint64_t word = atomic_load(&bits[from / 64]) & (~UINT64_C(0) << (from % 64));
    for (uint32_t i = 0, w = from / 64;; i++) {
        if (word)
            return w * 64 + (uint32_t)__builtin_ctzll(word);
        if (i == words) /* the first word has been seen twice: above from, and below it */
            return TL_NONE;
        w = w + 1 == words ? 0 : w + 1;
        word = atomic_load(&bits[w]);
    }
}

int tl_bits_any(_Atomic uint64_t *bits, uint32_t count)
{
    for (uint32_t w = 0; w < tl_bit_words(count); w++)
        if (atomic_load(&bits[w]))
            return 1;
    return 0;
}

/* ---- agents that sleep ---- */

void tl_agent_wake(struct tl_agent *g, enum tl_sleep at_least)
{
    if (atomic_load(&g->sleeping) >= (uint32_t)at_least && atomic_exchange(&g->sleeping, TL_AWAKE) != TL_AWAKE) {
        atomic_fetch_add(&g->wake, 1);
        tl_wake_all(&g->wake);
    }
}

/* A block has come, the last of a full run or not. One that gathers is woken by the last block that it lacks alone. */
static void stir(struct tl_agent *g, enum tl_sleep at_least)
{
    if (atomic_load(&g->sleeping) != TL_SLEEP_GATHER)
        tl_agent_wake(g, at_least);
    else if (atomic_fetch_sub(&g->lacking, 1) == 1)
        tl_agent_wake(g, TL_SLEEP_GATHER);
}

/* ---- publishing ---- */

static int drop(const struct tl_arena *a, uint32_t slot)
{
    return atomic_fetch_sub(&tl_slot_of(a, slot)->refs, 1) == 1;
}

static void lock(struct tl_stream *s)
{
    uint32_t free = 0;
    while (!atomic_compare_exchange_strong(&s->lock, &free, 1)) {
        /* 2: somebody may sleep. Held for some hundred instructions, by a detaching thread at most once a job. */
        if (free == 2 || atomic_exchange(&s->lock, 2) != 0)
            tl_wait(&s->lock, 2, TL_FOREVER);
        else
            return;
        free = 0;
    }
}

static void unlock(struct tl_stream *s)
{
    if (atomic_exchange(&s->lock, 0) == 2)
        tl_wake_all(&s->lock);
}

static _Atomic uint32_t *ring_of(const struct tl_arena *a, const struct tl_stream *s)
{
    return tl_at(a, s->ring);
}

enum tl_ring_status tl_slot_publish(const struct tl_arena *a, uint32_t stream, uint32_t slot)
{
    struct tl_stream *s = tl_stream_of(a, stream);
    const uint32_t bytes = tl_slot_of(a, slot)->bytes;
    lock(s);
    const uint32_t attached = atomic_load(&s->attached);
    if (attached == 0) {
        unlock(s);
        tl_slot_return(a, stream, slot);
        return TL_RING_NO_READERS;
    }
    const uint64_t head = atomic_load_explicit(&s->head, memory_order_relaxed);
    atomic_store_explicit(&tl_slot_of(a, slot)->refs, attached, memory_order_relaxed);
    atomic_store_explicit(&ring_of(a, s)[head & s->mask], slot, memory_order_relaxed);
    atomic_store(&s->head, head + 1); /* publishes the slot's bytes, its meta data and the ring entry */
    unlock(s);

    atomic_fetch_add_explicit(&s->blocks, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&s->bytes, bytes, memory_order_relaxed);
    const uint32_t *readers = (const uint32_t *)tl_at(a, a->readers_at) + s->first_reader;
    for (uint32_t i = 0; i < s->readers; i++) {
        const struct tl_cursor *c = tl_cursor_of(a, readers[i]);
        const uint64_t claim = atomic_load(&c->claim);
        if (claim & TL_DETACHED)
            continue;
        struct tl_agent *g = tl_agent_of(a, c->agent);
        tl_bit_set(tl_some_bits(a, g), c->bit);
        if (head + 1 - claim >= g->run_blocks) {
            tl_bit_set(tl_full_bits(a, g), c->bit);
            stir(g, TL_SLEEP_FULL);
        } else {
            stir(g, TL_SLEEP_ANY);
        }
    }
    return TL_RING_OK;
}

void tl_stream_end(const struct tl_arena *a, uint32_t stream)
{
    struct tl_stream *s = tl_stream_of(a, stream);
    atomic_store(&s->ended, 1);
    const uint32_t *readers = (const uint32_t *)tl_at(a, a->readers_at) + s->first_reader;
    for (uint32_t i = 0; i < s->readers; i++) {
        const struct tl_cursor *c = tl_cursor_of(a, readers[i]);
        struct tl_agent *g = tl_agent_of(a, c->agent);
        tl_bit_set(tl_full_bits(a, g), c->bit);
        tl_agent_wake(g, TL_SLEEP_GATHER);
    }
}

/* ---- readers ---- */

uint32_t tl_claim(const struct tl_arena *a, uint32_t cursor, uint32_t n, uint64_t *first)
{
    struct tl_cursor *c = tl_cursor_of(a, cursor);
    const struct tl_stream *s = tl_stream_of(a, c->stream);
    const uint64_t head = atomic_load(&s->head);
    const uint64_t hand_ends = atomic_load_explicit(&c->tail, memory_order_relaxed) + TL_HAND_MAX;
    uint64_t claim = atomic_load(&c->claim);
    do {
        if (claim & TL_DETACHED)
            return 0;
        const uint64_t end = head < hand_ends ? head : hand_ends;
        if (end - claim < n)
            n = (uint32_t)(end - claim);
        if (n == 0)
            return 0;
        /* Before the exchange: until it the ring keeps these entries, from a detachment on it does not. */
        for (uint32_t i = 0; i < n; i++)
            c->hand[(claim + i) % TL_HAND_MAX] =
                atomic_load_explicit(&ring_of(a, s)[(claim + i) & s->mask], memory_order_relaxed);
    } while (!atomic_compare_exchange_weak(&c->claim, &claim, claim + n));
    *first = claim;
    return n;
}

void tl_release(const struct tl_arena *a, uint32_t cursor, uint32_t n)
{
    struct tl_cursor *c = tl_cursor_of(a, cursor);
    struct tl_stream *s = tl_stream_of(a, c->stream);
    const uint64_t tail = atomic_load_explicit(&c->tail, memory_order_relaxed);
    uint32_t freed = 0, common = 0;
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t slot = c->hand[(tail + i) % TL_HAND_MAX];
        if (drop(a, slot)) {
            freed++;
            common += (uint32_t)tl_slot_go_home(a, s, slot);
        }
    }
    atomic_store(&c->tail, tail + n);
    if (freed)
        tl_tell_of_freed(a, s, common);
}

void tl_unclaim(const struct tl_arena *a, uint32_t cursor)
{
    struct tl_cursor *c = tl_cursor_of(a, cursor);
    const uint64_t tail = atomic_load_explicit(&c->tail, memory_order_relaxed);
    uint64_t claim = atomic_load(&c->claim);
    while (!(claim & TL_DETACHED))
        if (atomic_compare_exchange_weak(&c->claim, &claim, tail))
            return;
    /* Set before claim was marked. */
    if (!atomic_load(&tl_agent_of(a, c->agent)->handed_over))
        tl_release(a, cursor, (uint32_t)((claim & ~TL_DETACHED) - tail));
}

void tl_let_go(const struct tl_arena *a, uint32_t agent)
{
    const struct tl_agent *g = tl_agent_of(a, agent);
    for (uint32_t i = g->first_cursor; i < g->first_cursor + g->cursors; i++) {
        const struct tl_cursor *c = tl_cursor_of(a, i);
        const uint64_t claim = atomic_load(&c->claim) & ~TL_DETACHED;
        const uint64_t tail = atomic_load_explicit(&c->tail, memory_order_relaxed);
        if (claim != tail)
            tl_release(a, i, (uint32_t)(claim - tail));
    }
}

uint32_t tl_slot_at(const struct tl_arena *a, uint32_t cursor, uint64_t position)
{
    return tl_cursor_of(a, cursor)->hand[position % TL_HAND_MAX];
}

uint64_t tl_waiting(const struct tl_arena *a, uint32_t cursor)
{
    const struct tl_cursor *c = tl_cursor_of(a, cursor);
    const uint64_t claim = atomic_load(&c->claim);
    /* claim first: it never passes a head that was read after it */
    return claim & TL_DETACHED ? 0 : atomic_load(&tl_stream_of(a, c->stream)->head) - claim;
}

int tl_drained(const struct tl_arena *a, uint32_t cursor)
{
    const struct tl_cursor *c = tl_cursor_of(a, cursor);
    const struct tl_stream *s = tl_stream_of(a, c->stream);
    /* ended first: head does not move after it */
    return atomic_load(&s->ended) && atomic_load(&c->tail) == atomic_load(&s->head);
}

static void detach_cursor(const struct tl_arena *a, uint32_t cursor)
{
    struct tl_cursor *c = tl_cursor_of(a, cursor);
    struct tl_stream *s = tl_stream_of(a, c->stream);
    uint32_t freed = 0, common = 0;
    lock(s);
    const uint64_t claim = atomic_fetch_or(&c->claim, TL_DETACHED);
    if (!(claim & TL_DETACHED)) {
        atomic_fetch_sub(&s->attached, 1);
        const uint64_t head = atomic_load(&s->head);
        for (uint64_t p = claim; p < head; p++) {
            const uint32_t slot = atomic_load_explicit(&ring_of(a, s)[p & s->mask], memory_order_relaxed);
            if (drop(a, slot)) {
                freed++;
                common += (uint32_t)tl_slot_go_home(a, s, slot);
            }
        }
    }
    unlock(s);
    if (freed || atomic_load(&s->attached) == 0)
        tl_tell_of_freed(a, s, common);
}

void tl_detach(const struct tl_arena *a, uint32_t agent)
{
    struct tl_agent *g = tl_agent_of(a, agent);
    atomic_store(&g->detached, 1);
    for (uint32_t i = 0; i < g->cursors; i++)
        detach_cursor(a, g->first_cursor + i);
    tl_agent_wake(g, TL_SLEEP_GATHER);
}

static void hand_over_cursor(const struct tl_arena *a, uint32_t from, uint32_t to)
{
    struct tl_cursor *old = tl_cursor_of(a, from), *new = tl_cursor_of(a, to);
    struct tl_stream *s = tl_stream_of(a, old->stream);
    lock(s);
    const uint64_t claim = atomic_fetch_or(&old->claim, TL_DETACHED);
    if (!(claim & TL_DETACHED)) {
        /* One goes and one comes: as many are attached as before, and every waiting slot's references are as many as its readers. */
        atomic_store(&new->tail, claim);
        atomic_store(&new->claim, claim);
    }
    unlock(s);
    /* A publisher that was before us under the lock may have looked at the claims when *new* was still dormant, and an end is said
     * without the lock. Too many bits cost one look. */
    struct tl_agent *g = tl_agent_of(a, new->agent);
    tl_bit_set(tl_some_bits(a, g), new->bit);
    tl_bit_set(tl_full_bits(a, g), new->bit);
}

void tl_hand_over(const struct tl_arena *a, uint32_t from, uint32_t to)
{
    struct tl_agent *f = tl_agent_of(a, from), *t = tl_agent_of(a, to);
    atomic_store(&f->handed_over, 1);
    for (uint32_t i = 0; i < f->cursors; i++)
        hand_over_cursor(a, f->first_cursor + i, t->first_cursor + i);
    atomic_store(&f->detached, 1);
    tl_agent_wake(f, TL_SLEEP_GATHER);
}

void tl_stop_all(struct tl_arena *a, enum tl_stop how)
{
    uint32_t before = atomic_load(&a->stop);
    while (before < (uint32_t)how && !atomic_compare_exchange_weak(&a->stop, &before, (uint32_t)how))
        ;
    for (uint32_t i = 0; i < a->streams; i++)
        tl_tell_of_freed(a, tl_stream_of(a, i), 0);
    for (uint32_t i = 0; i < a->agents; i++)
        tl_agent_wake(tl_agent_of(a, i), TL_SLEEP_GATHER);
}

/* ---- waiting ---- */

uint64_t tl_agent_lacks(const struct tl_arena *a, const struct tl_agent *g)
{
    uint64_t gathered = 0;
    int more = 0;
    for (uint32_t i = g->first_cursor; i < g->first_cursor + g->cursors; i++) {
        const struct tl_cursor *c = tl_cursor_of(a, i);
        struct tl_stream *s = tl_stream_of(a, c->stream);
        if (c->finished || atomic_load(&c->claim) & TL_DETACHED)
            continue;
        const uint32_t ended = atomic_load(&s->ended); /* first: head does not move after it */
        const uint64_t waiting = tl_waiting(a, i);
        if (waiting && atomic_load(&tl_taker_of(a, s)->waiting))
            return 0;
        gathered += waiting;
        more |= !ended;
    }
    return more && gathered < g->start_blocks ? g->start_blocks - gathered : 0;
}

/* More than an agent gathers: until it knows what it lacks, what comes counts and wakes nobody. */
#define PLENTY ((int32_t)(2 * TL_START_MAX))

/* Whether the agent has what it is about to sleep for. It has said already that it sleeps: what comes from now on wakes it. */
static int has(const struct tl_arena *a, struct tl_agent *g, enum tl_sleep for_what)
{
    if (for_what == TL_SLEEP_GATHER) {
        const uint64_t lacks = tl_agent_lacks(a, g);
        const int32_t plenty = PLENTY - (int32_t)lacks;
        /* What came after it had been counted has been subtracted before. */
        return lacks == 0 || atomic_fetch_sub(&g->lacking, plenty) - plenty <= 0;
    }
    return tl_bits_any(tl_full_bits(a, g), g->cursors) ||
           (for_what == TL_SLEEP_ANY && tl_bits_any(tl_some_bits(a, g), g->cursors));
}

void tl_agent_wait(const struct tl_arena *a, uint32_t agent, enum tl_sleep for_what, int64_t deadline_ns)
{
    struct tl_agent *g = tl_agent_of(a, agent);
    const uint32_t seen = atomic_load(&g->wake);
    atomic_store(&g->lacking, PLENTY);
    atomic_store(&g->sleeping, (uint32_t)for_what);
    if (!has(a, g, for_what) && !atomic_load(&g->detached) && atomic_load(&a->stop) != TL_STOP_NOW) {
        const int64_t begin = tl_now_ns();
        tl_wait(&g->wake, seen, deadline_ns);
        atomic_fetch_add_explicit(&g->sleeps, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&g->sleep_ns, (uint64_t)(tl_now_ns() - begin), memory_order_relaxed);
    }
    atomic_store(&g->sleeping, TL_AWAKE);
}
