/* Random topologies on the ring: producers, agents with slow and refusing drives, a drive that feeds streams, producers' segments,
 * agents detached or handed over and jobs stopped at any moment. Checked: every reader sees every position once, in order, with the right
 * content; no slot is in two hands; every slot comes home; nobody sleeps for ever.
 *
 *     stress threads|processes FIRST_SEED SEEDS
 *
 * A seed draws the topology and what each thread does, but not how the threads meet: a failure may need more than one run to
 * show again. In processes mode the agents stand in one process and everything else in another. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "interleave.h"
#include "drain.h"

#define STREAMS_MAX 8
#define AGENTS_MAX 6 /* and as many dormant ones, each to take over from one of them */
#define CURSORS_MAX (2 * STREAMS_MAX * AGENTS_MAX)
#define SLOTS_MAX 256
#define SLOT_WORDS 16
#define SLOT_BYTES (SLOT_WORDS * 8)
#ifndef HANG_SECONDS
#define HANG_SECONDS 30
#endif
#define BEING_FILLED (1u << 31)

enum feed { FEED_THREAD, FEED_SEGMENT, FEED_DRIVE, FEED_POOL };

/* One topology and what is known of it, shared by all threads and both processes. */
struct world {
    uint64_t seed;
    struct tl_plan plan;
    struct tl_stream_plan stream[STREAMS_MAX];
    struct tl_cursor_plan cursor[CURSORS_MAX];
    struct tl_agent_plan agent[2 * AGENTS_MAX];
    enum feed feed[STREAMS_MAX];
    uint64_t blocks[STREAMS_MAX]; /* to publish */
    uint32_t slots;
    int drained[2 * AGENTS_MAX]; /* by tl_drain_next(), not by tl_interleave() */
    uint32_t twin[2 * AGENTS_MAX]; /* the agent that may take over from this one, or TL_NONE */
    uint32_t owner[2 * AGENTS_MAX]; /* the agent that this one may take over from, or TL_NONE */
    _Atomic int dawn[2 * AGENTS_MAX]; /* a dormant agent's thread: 0 sleeps, TAKEN_OVER, NEVER_NEEDED */
    int has_drive;
    uint64_t troubles_at[3 * AGENTS_MAX + 2]; /* after so many blocks published, in all streams: */
    int trouble[3 * AGENTS_MAX + 2]; /* detach this agent, hand over HAND_OVER less it, or stop the job in order or now */
    uint32_t troubles;

    _Atomic uint32_t hands[SLOTS_MAX]; /* readers that have the slot in hand, or BEING_FILLED */
    _Atomic uint64_t published;
    _Atomic uint64_t segment_used[STREAMS_MAX];
    _Atomic uint32_t feeders_running;
};
#define STOP_IN_ORDER (-1)
#define STOP_NOW (-2)
#define HAND_OVER (-3)
enum { TAKEN_OVER = 1, NEVER_NEEDED };

static struct world *world;
static struct tl_view view;

/* ---- chance ---- */

struct dice {
    uint64_t state;
};

static uint64_t roll(struct dice *d, uint64_t below)
{
    d->state += 0x9E3779B97F4A7C15u;
    uint64_t z = d->state;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return (z ^ z >> 31) % below;
}

static int one_in(struct dice *d, uint64_t n)
{
    return roll(d, n) == 0;
}

static struct dice dice_for(uint32_t who)
{
    struct dice d = {world->seed * 1000003u + who};
    roll(&d, 2);
    return d;
}

static void idle(struct dice *d)
{
    static const uint32_t most[] = {1, 1, 1, 1, 1, 1, 4, 32};
    for (uint64_t n = roll(d, most[roll(d, 8)]); n; n--)
        sched_yield();
}

/* ---- failing ---- */

static void show(void)
{
    const struct tl_arena *a = view.arena;
    fprintf(stderr, "seed %llu, published %llu, stop %u\n", (unsigned long long)world->seed,
            (unsigned long long)world->published, atomic_load(&a->stop));
    for (uint32_t i = 0; i < a->streams; i++) {
        const struct tl_stream *s = tl_stream_of(a, i);
        fprintf(stderr, "stream %u: feed %d, quota %u, cap %u, head %llu of %llu, held %u, attached %u, ended %u, waiting %u\n", i,
                world->feed[i], s->quota, s->cap, (unsigned long long)s->head, (unsigned long long)world->blocks[i], s->held,
                s->attached, s->ended, s->waiting);
    }
    for (uint32_t i = 0; i < a->agents; i++) {
        struct tl_agent *g = tl_agent_of(a, i);
        fprintf(stderr, "agent %u: detached %u, sleeping %u, live %u, run %u, start %llu, gathering %u, lacking %d, full %llx, some %llx\n", i,
                g->detached, g->sleeping, g->live, g->run_blocks, (unsigned long long)g->start_blocks, g->gathering, g->lacking, (unsigned long long)tl_full_bits(a, g)[0], (unsigned long long)tl_some_bits(a, g)[0]);
    }
    for (uint32_t i = 0; i < a->cursors; i++) {
        const struct tl_cursor *c = tl_cursor_of(a, i);
        fprintf(stderr, "cursor %u: stream %u, agent %u, tail %llu, claim %llx\n", i, c->stream, c->agent,
                (unsigned long long)c->tail, (unsigned long long)c->claim);
    }
}

#define CHECK(condition, ...)                                                                                          \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "FAILED: " __VA_ARGS__);                                                                   \
            fprintf(stderr, " (%s)\n", #condition);                                                                    \
            show();                                                                                                    \
            _exit(1);                                                                                                  \
        }                                                                                                              \
    } while (0)

static void on_alarm(int signal)
{
    (void)signal;
    fprintf(stderr, "HANG: somebody sleeps for ever\n");
    show();
    _exit(3);
}

/* ---- slots and what is in them ---- */

static uint32_t index_of(const void *data)
{
    return (uint32_t)(((const uint8_t *)data - view.slot[0]) / SLOT_BYTES);
}

static void fill(uint32_t slot, uint32_t stream, uint64_t position)
{
    const uint32_t before = atomic_exchange(&world->hands[slot], BEING_FILLED);
    CHECK(before == 0, "slot %u is filled while it is in %x hands", slot, before);
    uint64_t *words = (uint64_t *)view.slot[slot];
    for (uint32_t i = 0; i < SLOT_WORDS; i++)
        words[i] = (uint64_t)stream << 48 | position;
    struct tl_slot *meta = tl_slot_of(view.arena, slot);
    meta->bytes = SLOT_BYTES;
    meta->object = stream;
    meta->seq = position;
    atomic_store(&world->hands[slot], 0);
}

static void take_in_hand(uint32_t slot)
{
    const uint32_t before = atomic_fetch_add(&world->hands[slot], 1);
    CHECK(!(before & BEING_FILLED), "slot %u is read while it is filled", slot);
}

static void check_content(const void *data, uint64_t *next)
{
    const uint64_t *words = data;
    const uint64_t first = words[0];
    for (uint32_t i = 1; i < SLOT_WORDS; i++)
        CHECK(words[i] == first, "torn slot: %llx, %llx", (unsigned long long)first, (unsigned long long)words[i]);
    const uint32_t stream = (uint32_t)(first >> 48);
    CHECK(stream < world->plan.streams, "content of no stream");
    CHECK((first & 0xFFFFFFFFFFFF) == next[stream], "stream %u: position %llu came, %llu was due", stream,
          (unsigned long long)(first & 0xFFFFFFFFFFFF), (unsigned long long)next[stream]);
    next[stream]++;
}

/* ---- agents ---- */

struct drive {
    struct dice dice;
    uint64_t next[STREAMS_MAX]; /* position due of each stream */
};

static int drive_write(void *dev, const struct tl_vec *v, uint32_t n, uint32_t *done)
{
    struct drive *drive = dev;
    struct dice *d = &drive->dice;
    for (uint32_t i = 0; i < n; i++)
        take_in_hand(index_of(v[i].data));
    uint32_t take = one_in(d, 8) ? (uint32_t)roll(d, n) : n;
    const uint64_t published = atomic_load(&world->published);
    if (one_in(d, 100)) /* so long that the rings go round without it, if it is detached meanwhile */
        for (int i = 0; i < 300 && atomic_load(&world->published) < published + 2 * SLOTS_MAX; i++)
            sched_yield();
    else
        idle(d);
    for (uint32_t i = 0; i < n; i++) {
        CHECK(v[i].bytes == SLOT_BYTES, "a block of %u bytes", v[i].bytes);
        if (i < take)
            check_content(v[i].data, drive->next);
    }
    for (uint32_t i = 0; i < n; i++)
        atomic_fetch_sub(&world->hands[index_of(v[i].data)], 1);
    *done = take;
    if (take < n)
        return one_in(d, 2) ? TL_END_OF_MEDIUM : TL_EARLY_WARNING;
    return one_in(d, 16) ? TL_EARLY_WARNING : TL_OK;
}

static const struct tl_device_ops drive_ops = {.abi = TL_DEVICE_ABI, .batch_max = 7, .write = drive_write};

static void check_runs(const struct tl_turn *t, uint64_t *noted, uint64_t *position)
{
    uint64_t blocks = 0;
    for (uint32_t i = 0; i < t->run_count; i++) {
        const struct tl_run *run = &t->runs[i];
        CHECK(run->object < world->plan.streams && run->seq == noted[run->object] && run->position == *position,
              "run %u: %llu blocks of %llu from %llu at %llu", i, (unsigned long long)run->blocks,
              (unsigned long long)run->object, (unsigned long long)run->seq, (unsigned long long)run->position);
        noted[run->object] += run->blocks;
        *position += run->blocks;
        blocks += run->blocks;
    }
    CHECK(blocks == t->blocks && *position == t->position, "the run table has %llu blocks, %llu were written",
          (unsigned long long)blocks, (unsigned long long)t->blocks);
}

static void check_all_seen(uint32_t agent, const uint64_t *next)
{
    const struct tl_agent_plan *p = &world->agent[agent];
    for (uint32_t i = 0; i < p->cursors; i++) {
        const uint32_t stream = world->cursor[p->first_cursor + i].stream;
        CHECK(next[stream] == atomic_load(&tl_stream_of(view.arena, stream)->head), "agent %u has %llu blocks of stream %u", agent,
              (unsigned long long)next[stream], stream);
    }
}

/* What a dormant agent finds at its dawn is where its owner's claims stood. */
static void begin_where_another_stood(uint32_t agent, uint64_t *next, uint64_t *noted)
{
    const struct tl_agent_plan *p = &world->agent[agent];
    for (uint32_t i = 0; i < p->cursors; i++) {
        const struct tl_cursor *c = tl_cursor_of(view.arena, p->first_cursor + i);
        next[c->stream] = noted[c->stream] = atomic_load(&c->tail);
    }
}

/* One that was handed over goes only when it has written everything before the place where the other began. */
static void check_hands_written(uint32_t agent, const uint64_t *next)
{
    const struct tl_agent_plan *p = &world->agent[agent];
    if (!atomic_load(&tl_agent_of(view.arena, agent)->handed_over))
        return;
    for (uint32_t i = 0; i < p->cursors; i++) {
        const struct tl_cursor *c = tl_cursor_of(view.arena, p->first_cursor + i);
        CHECK(next[c->stream] == (atomic_load(&c->claim) & ~TL_DETACHED), "agent %u leaves %llu of stream %u in its hands", agent,
              (unsigned long long)next[c->stream], c->stream);
    }
}

static void run_drain(uint32_t agent)
{
    struct dice d = dice_for(100 + agent);
    const uint32_t cursor = world->agent[agent].first_cursor;
    uint64_t next[STREAMS_MAX] = {0};
    for (;;) {
        uint32_t slot;
        const enum tl_drain_status status = tl_drain_next(view.arena, cursor, &slot);
        if (status == TL_DRAIN_END)
            check_all_seen(agent, next);
        if (status != TL_DRAIN_BLOCK)
            return;
        take_in_hand(slot);
        idle(&d);
        check_content(view.slot[slot], next);
        atomic_fetch_sub(&world->hands[slot], 1);
        tl_release(view.arena, cursor, 1);
    }
}

static void run_interleaver(uint32_t agent)
{
    struct drive drive = {.dice = dice_for(100 + agent)};
    uint64_t noted[STREAMS_MAX] = {0}, position = 0;
    struct tl_run runs[50];
    struct tl_turn t = {.ops = &drive_ops, .device = &drive, .runs = runs};
    if (world->owner[agent] != TL_NONE)
        begin_where_another_stood(agent, drive.next, noted);
    do {
        t.runs_max = 1 + (uint32_t)roll(&drive.dice, 50);
        t.bytes_max = one_in(&drive.dice, 3) ? UINT64_MAX : 1 + roll(&drive.dice, 100 * SLOT_BYTES);
        t.deadline_ns = one_in(&drive.dice, 3) ? tl_now_ns() + (int64_t)roll(&drive.dice, 2000000) : TL_FOREVER;
        tl_interleave(&view, agent, &t);
        check_runs(&t, noted, &position);
        idle(&drive.dice); /* a filemark, a change of cartridge */
    } while (t.reason != TL_TURN_ENDED && t.reason != TL_TURN_DETACHED && t.reason != TL_TURN_STOPPED);
    tl_let_go(view.arena, agent);
    if (t.reason == TL_TURN_ENDED)
        check_all_seen(agent, drive.next);
    if (t.reason == TL_TURN_DETACHED)
        check_hands_written(agent, drive.next);
}

static void *run_agent(void *arg)
{
    const uint32_t agent = (uint32_t)(uintptr_t)arg;
    while (world->owner[agent] != TL_NONE && atomic_load(&world->dawn[agent]) == 0)
        sched_yield();
    if (atomic_load(&world->dawn[agent]) == NEVER_NEEDED)
        return NULL;
    if (world->drained[agent])
        run_drain(agent);
    else
        run_interleaver(agent);
    return NULL;
}

/* ---- what fills the streams ---- */

static void feeder_ends(void)
{
    atomic_fetch_sub(&world->feeders_running, 1);
}

/* A slot of the producer's segment that is at home, as a bridge waits for it: on the eventfd. */
static enum tl_ring_status segment_slot(uint32_t stream, uint32_t *slot)
{
    const struct tl_arena *a = view.arena;
    struct tl_stream *s = tl_stream_of(a, stream);
    for (;;) {
        const uint64_t freed = atomic_load(&s->freed);
        for (uint32_t i = 0; i < s->segment_slots; i++) {
            *slot = s->first_segment + i;
            if (atomic_load(&tl_slot_of(a, *slot)->refs) == 0)
                return TL_RING_OK;
        }
        const enum tl_ring_status status = tl_stream_status(a, stream);
        if (status != TL_RING_OK)
            return status;
        struct pollfd readable = {s->freed_fd, POLLIN, 0};
        tl_freed_watch(a, stream, 1);
        if (atomic_load(&s->freed) == freed && tl_stream_status(a, stream) == TL_RING_OK)
            CHECK(poll(&readable, 1, -1) == 1 || errno == EINTR, "poll");
        tl_freed_unwatch(a, stream);
    }
}

static enum tl_ring_status some_slot(uint32_t stream, uint64_t position, struct dice *d, uint32_t *slot)
{
    if (world->feed[stream] == FEED_SEGMENT)
        return segment_slot(stream, slot);
    if (one_in(d, 4) && tl_slot_reserve_nowait(view.arena, stream, slot) == TL_RING_OK)
        return TL_RING_OK;
    return tl_slot_reserve_wait(view.arena, stream, position + 1 == world->blocks[stream], slot);
}

static void *run_producer(void *arg)
{
    const uint32_t stream = (uint32_t)(uintptr_t)arg;
    struct dice d = dice_for(200 + stream);
    for (uint64_t position = 0; position < world->blocks[stream];) {
        uint32_t slot;
        if (some_slot(stream, position, &d, &slot) != TL_RING_OK)
            break;
        fill(slot, stream, position);
        if (world->feed[stream] == FEED_SEGMENT)
            atomic_fetch_add(&world->segment_used[stream], 1);
        if (one_in(&d, 50)) {
            tl_slot_return(view.arena, stream, slot);
            continue;
        }
        if (tl_slot_publish(view.arena, stream, slot) != TL_RING_OK)
            break;
        atomic_fetch_add(&world->published, 1);
        position++;
        idle(&d);
    }
    tl_stream_end(view.arena, stream);
    feeder_ends();
    return NULL;
}

/* A restore drive: reads into slots of its pool, and each block turns out to belong to some stream. */
static void *run_drive(void *arg)
{
    const uint32_t pool = (uint32_t)(uintptr_t)arg;
    struct tl_arena *a = view.arena;
    struct dice d = dice_for(200 + pool);
    uint64_t position[STREAMS_MAX] = {0};
    for (uint64_t left = world->blocks[pool]; left; left--) {
        uint32_t slot, stream;
        if (tl_slot_reserve_wait(a, pool, 0, &slot) != TL_RING_OK)
            break;
        do
            stream = (uint32_t)roll(&d, world->plan.streams);
        while (world->feed[stream] != FEED_DRIVE);
        fill(slot, stream, position[stream]);
        tl_slot_move(a, slot, pool, stream);
        if (tl_slot_publish(a, stream, slot) == TL_RING_OK) {
            position[stream]++;
            atomic_fetch_add(&world->published, 1);
        }
        idle(&d);
    }
    for (uint32_t i = 0; i < world->plan.streams; i++)
        if (world->feed[i] == FEED_DRIVE)
            tl_stream_end(a, i);
    feeder_ends();
    return NULL;
}

static void hand_over(uint32_t agent)
{
    tl_hand_over(view.arena, agent, world->twin[agent]);
    atomic_store(&world->dawn[world->twin[agent]], TAKEN_OVER);
}

static void detach(uint32_t agent)
{
    tl_detach(view.arena, agent);
    if (world->twin[agent] != TL_NONE)
        tl_detach(view.arena, world->twin[agent]);
}

static void *run_trouble(void *arg)
{
    (void)arg;
    for (uint32_t i = 0; i < world->troubles; i++) {
        while (atomic_load(&world->published) < world->troubles_at[i] && atomic_load(&world->feeders_running))
            sched_yield();
        if (world->trouble[i] == STOP_IN_ORDER)
            tl_stop_all(view.arena, TL_STOP_IN_ORDER);
        else if (world->trouble[i] == STOP_NOW)
            tl_stop_all(view.arena, TL_STOP_NOW);
        else if (world->trouble[i] <= HAND_OVER)
            hand_over((uint32_t)(HAND_OVER - world->trouble[i]));
        else
            detach((uint32_t)world->trouble[i]);
    }
    for (uint32_t g = 0; g < world->plan.agents; g++) {
        int sleeps = 0;
        if (world->owner[g] != TL_NONE)
            atomic_compare_exchange_strong(&world->dawn[g], &sleeps, NEVER_NEEDED);
    }
    return NULL;
}

/* ---- one topology ---- */

static void draw_streams(struct dice *d, int apart)
{
    struct tl_plan *plan = &world->plan;
    plan->streams = 1 + (uint32_t)roll(d, STREAMS_MAX);
    plan->slots_common = one_in(d, 3) ? 0 : (uint32_t)roll(d, 24);
#if defined(__SANITIZE_THREAD__)
    /* ThreadSanitizer sees one process: a slot that two producers fill, one after the other, must not come by way of another. */
    if (apart)
        plan->slots_common = 0;
#else
    (void)apart;
#endif
    world->slots = plan->slots_common;
    world->has_drive = plan->streams >= 2 && one_in(d, 3);
    for (uint32_t i = 0; i < plan->streams; i++) {
        struct tl_stream_plan *s = &world->stream[i];
        world->blocks[i] = one_in(d, 10) ? roll(d, 2) : roll(d, 600);
        world->feed[i] = one_in(d, 4) ? FEED_SEGMENT : FEED_THREAD;
        if (world->has_drive && i == 0)
            world->feed[i] = FEED_POOL;
        else if (world->has_drive && (i == 1 || one_in(d, 2)))
            world->feed[i] = FEED_DRIVE;
        s->quota = world->feed[i] == FEED_DRIVE ? 0 : 1 + (uint32_t)roll(d, 6);
        s->cap = s->quota + (uint32_t)roll(d, 20);
        s->segment_slots = world->feed[i] == FEED_SEGMENT ? 1 + (uint32_t)roll(d, 9) : 0;
        world->slots += s->quota + s->segment_slots;
    }
}

/* Every stream but the pool has a reader at least; an agent may have one buffer of each stream. */
static void draw_agents(struct dice *d)
{
    struct tl_plan *plan = &world->plan;
    plan->agents = 1 + (uint32_t)roll(d, AGENTS_MAX);
    for (uint32_t g = 0; g < plan->agents; g++) {
        struct tl_agent_plan *agent = &world->agent[g];
        agent->first_cursor = plan->cursors;
        for (uint32_t s = 0; s < plan->streams; s++)
            if (world->feed[s] != FEED_POOL && (s % plan->agents == g || one_in(d, 3)))
                world->cursor[plan->cursors++] = (struct tl_cursor_plan){.stream = s, .agent = g};
        agent->cursors = plan->cursors - agent->first_cursor;
        agent->run_blocks = 1 + (uint32_t)roll(d, one_in(d, 4) ? 100 : 8);
        /* With endless patience only a full run, an end, or a producer that wants a slot brings an agent to write. A restore drive
         * cannot say whose reader holds what it wants. */
        agent->patience_ns = !world->has_drive && one_in(d, 3) ? INT64_C(1) << 40 : (int64_t)roll(d, 500000);
        agent->start_blocks = one_in(d, 3) ? 1 + roll(d, one_in(d, 4) ? 10000 : 40) : 0;
        world->drained[g] = agent->cursors == 1 && one_in(d, 2);
    }
    const uint32_t awake = plan->agents;
    for (uint32_t g = 0; g < awake; g++) {
        const struct tl_agent_plan *owner = &world->agent[g];
        world->owner[g] = world->twin[g] = TL_NONE;
        if (world->drained[g] || !one_in(d, 2))
            continue;
        const uint32_t twin = world->twin[g] = plan->agents++;
        world->agent[twin] = *owner;
        world->agent[twin].first_cursor = plan->cursors;
        world->agent[twin].dormant = 1;
        world->owner[twin] = g;
        world->twin[twin] = TL_NONE;
        for (uint32_t i = 0; i < owner->cursors; i++)
            world->cursor[plan->cursors++] = (struct tl_cursor_plan){world->cursor[owner->first_cursor + i].stream, twin};
    }
}

static void draw_troubles(struct dice *d)
{
    uint64_t blocks = 1;
    for (uint32_t i = 0; i < world->plan.streams; i++)
        blocks += world->feed[i] == FEED_DRIVE ? 0 : world->blocks[i];
    for (uint32_t g = 0; g < world->plan.agents; g++) {
        if (world->twin[g] != TL_NONE && one_in(d, 2))
            world->trouble[world->troubles++] = HAND_OVER - (int)g;
        if (one_in(d, 3))
            world->trouble[world->troubles++] = (int)g;
    }
    if (one_in(d, 5))
        world->trouble[world->troubles++] = STOP_IN_ORDER;
    if (one_in(d, 8))
        world->trouble[world->troubles++] = STOP_NOW;
    uint64_t at = 0;
    for (uint32_t i = 0; i < world->troubles; i++)
        world->troubles_at[i] = at += roll(d, 1 + blocks / 2);
}

static uint32_t stack_length(tl_stack *stack)
{
    uint32_t n = 0;
    for (uint32_t slot = (uint32_t)atomic_load(stack); slot != TL_NONE; slot = atomic_load(&tl_slot_of(view.arena, slot)->next))
        n++;
    return n;
}

/* When all have returned and every agent is detached, nothing is under way any more. */
static void check_all_home(void)
{
    struct tl_arena *a = view.arena;
    for (uint32_t i = 0; i < a->streams; i++) {
        struct tl_stream *s = tl_stream_of(a, i);
        CHECK(s->held == 0, "stream %u still holds %u slots", i, s->held);
        CHECK(stack_length(&s->free) == s->quota, "stream %u has %u slots at home", i, stack_length(&s->free));
        CHECK(s->freed == world->segment_used[i], "stream %u: %llu slots of its segment came home of %llu", i,
              (unsigned long long)s->freed, (unsigned long long)world->segment_used[i]);
    }
    CHECK(stack_length(&a->common) == world->plan.slots_common, "%u common slots at home", stack_length(&a->common));
    for (uint32_t i = 0; i < a->cursors; i++)
        CHECK((tl_cursor_of(a, i)->claim & ~TL_DETACHED) == tl_cursor_of(a, i)->tail, "cursor %u has something in hand", i);
}

static pthread_t started[2 * STREAMS_MAX + 2 * AGENTS_MAX + 1];
static uint32_t threads;

static void start(void *(*body)(void *), uint32_t who)
{
    CHECK(pthread_create(&started[threads++], NULL, body, (void *)(uintptr_t)who) == 0, "pthread_create");
}

static void start_agents(void)
{
    for (uint32_t g = 0; g < world->plan.agents; g++)
        start(run_agent, g);
}

static void join(void)
{
    while (threads)
        pthread_join(started[--threads], NULL);
}

static void *map_shared(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        perror("mmap");
        exit(1);
    }
    return memory;
}

static void run_seed(uint64_t seed, int apart)
{
    struct dice d = {seed};
    world = map_shared(sizeof *world);
    world->seed = seed;
    draw_streams(&d, apart);
    draw_agents(&d);
    draw_troubles(&d);
    struct tl_plan *plan = &world->plan;
    plan->slot_bytes = SLOT_BYTES;
    plan->stream = world->stream;
    plan->cursor = world->cursor;
    plan->agent = world->agent;
    /* Segments stand behind the arena here, so that one multiplication finds every slot. */
    const uint64_t bytes = tl_arena_bytes(plan) + (uint64_t)world->slots * SLOT_BYTES;
    uint8_t *slots[SLOTS_MAX];
    view = (struct tl_view){map_shared(bytes), slots};
    tl_arena_init(view.arena, plan);
    for (uint32_t i = 0; i < view.arena->slots; i++)
        slots[i] = (uint8_t *)view.arena + view.arena->data_at + (uint64_t)i * SLOT_BYTES;
    for (uint32_t i = 0; i < plan->streams; i++)
        if (world->feed[i] == FEED_SEGMENT)
            tl_stream_of(view.arena, i)->freed_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        else if (world->feed[i] == FEED_DRIVE)
            world->blocks[i] = 0;
    for (uint32_t i = 0; i < plan->streams; i++)
        world->feeders_running += world->feed[i] != FEED_DRIVE;

    alarm(HANG_SECONDS);
    pid_t child = 0;
    if (apart && (child = fork()) == 0) {
        alarm(HANG_SECONDS);
        start_agents();
        join();
        _exit(0);
    }
    if (!apart)
        start_agents();
    for (uint32_t i = 0; i < plan->streams; i++)
        if (world->feed[i] == FEED_POOL)
            start(run_drive, i);
        else if (world->feed[i] != FEED_DRIVE)
            start(run_producer, i);
    start(run_trouble, 0);
    join();
    if (child) {
        int status;
        while (waitpid(child, &status, 0) < 0)
            CHECK(errno == EINTR, "waitpid");
        if (!WIFEXITED(status) || WEXITSTATUS(status)) {
            fprintf(stderr, "the agents' process ended with status %x, seed %llu\n", (unsigned)status, (unsigned long long)seed);
            _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
        }
    }
    for (uint32_t g = 0; g < plan->agents; g++)
        tl_detach(view.arena, g);
    check_all_home();
    alarm(0);

    for (uint32_t i = 0; i < plan->streams; i++)
        if (tl_stream_of(view.arena, i)->freed_fd >= 0)
            close(tl_stream_of(view.arena, i)->freed_fd);
    munmap(view.arena, bytes);
    munmap(world, sizeof *world);
}

int main(int argc, char **argv)
{
    if (argc != 4 || (strcmp(argv[1], "threads") != 0 && strcmp(argv[1], "processes") != 0)) {
        fprintf(stderr, "usage: stress threads|processes FIRST_SEED SEEDS\n");
        return 2;
    }
    signal(SIGALRM, on_alarm);
    const uint64_t first = strtoull(argv[2], NULL, 10), count = strtoull(argv[3], NULL, 10);
    for (uint64_t seed = first; seed < first + count; seed++)
        run_seed(seed, argv[1][0] == 'p');
    printf("%llu topologies\n", (unsigned long long)count);
    return 0;
}
