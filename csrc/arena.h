/* The shared memory of one job: tables first, then the slots.
 *
 * Everything is sized from the schedule before the first byte moves. Tables refer to one another by index, and the arena to its
 * parts by offsets from its own beginning, so any process may map it anywhere. */
#ifndef TL_ARENA_H
#define TL_ARENA_H

#include <stdatomic.h>
#include <stdint.h>

#define TL_ARENA_ABI 1u
#define TL_NONE UINT32_MAX
#define TL_LINE 64 /* bytes of a cache line: words written by different threads keep apart */
#define TL_START_MAX (UINT64_C(1) << 29) /* blocks that an agent may gather */
#define TL_HAND_MAX 32u /* positions of one cursor that an agent may have in its hands at once */

enum tl_stop {
    TL_RUN = 0,
    TL_STOP_IN_ORDER = 1, /* sources break off, agents write what is buffered */
    TL_STOP_NOW = 2,      /* agents return at once */
};

/* A slot's state. The slot itself is slot_bytes of memory that holds one block. */
struct tl_slot {
    _Alignas(TL_LINE) _Atomic uint32_t refs; /* cursors that have still to pass it */
    _Atomic uint32_t next;                   /* in a stack of free slots */
    uint32_t home;                           /* the stream whose quota it is, or TL_NONE: common */
    uint32_t stream;                         /* the stream that holds it now */
    uint32_t bytes;                          /* length of the block in it */
    uint32_t object;                         /* the job's number of the block's object */
    uint64_t seq;
};

/* Free slots as a stack; the upper half counts changes, so that a pop never mistakes a head that went and came back. */
typedef _Atomic uint64_t tl_stack;

/* One sequence of slots with one producer. ring[position & mask] is the slot at that position. */
struct tl_stream {
    _Alignas(TL_LINE) _Atomic uint64_t head; /* positions below it are published */
    _Atomic uint32_t ended;                  /* nothing will follow head */
    _Atomic uint32_t lock;                   /* publishing against detaching */
    _Atomic uint32_t attached;               /* cursors still attached; changes under lock */
    uint32_t quota, cap;
    uint32_t first_reader, readers; /* rows of the readers table: the cursors over this stream */
    uint32_t mask;
    uint32_t first_segment, segment_slots; /* slots of a producer's segment */
    uint64_t ring; /* offset of _Atomic uint32_t ring[mask + 1] */
    int32_t freed_fd; /* with a segment: an eventfd of this process alone that hears of slots coming home; else -1 */

    _Alignas(TL_LINE) tl_stack free; /* of its quota */
    _Atomic uint32_t pool;           /* the stream that its slots were taken for, by row + 1; 0: its producer takes them for it */
    _Atomic uint32_t held;           /* slots of the arena that it holds now, quota and common */
    _Atomic uint32_t held_common;    /* common ones that its producer has taken, also for others: up to cap - quota */
    _Atomic uint64_t freed;          /* slots of the producer's segment that came home, in whatever order */
    _Atomic uint32_t watched;        /* a bridge sleeps on freed_fd */
    _Atomic uint32_t waiting;        /* its producer sleeps on wake, wanting a slot */
    _Atomic uint32_t wake;
    _Atomic int64_t waiting_since_ns;

    /* statistics, written by the producer */
    _Atomic uint64_t blocks, bytes, stalls, stall_ns;
};

#define TL_DETACHED (UINT64_C(1) << 63)

/* One buffer of one agent: its place in a stream. The agent claims positions before it uses them and releases them behind it:
 * [tail, claim) is in its hands, [claim, head) waits. The slots in its hands stand in `hand`, for once it is detached the ring
 * goes round without it. */
struct tl_cursor {
    _Alignas(TL_LINE) _Atomic uint64_t claim; /* top bit: detached */
    _Atomic uint64_t tail;
    uint32_t stream, agent;
    uint32_t bit; /* its number among the agent's cursors */
    uint32_t finished;          /* written by the agent only, like what follows */
    uint32_t hand[TL_HAND_MAX]; /* hand[position % TL_HAND_MAX] is the slot at a claimed position */
};

/* Who drives the cursors [first_cursor, first_cursor + cursors). */
struct tl_agent {
    _Alignas(TL_LINE) _Atomic uint32_t wake;
    _Atomic uint32_t sleeping; /* enum tl_sleep */
    _Atomic uint32_t detached;
    uint32_t first_cursor, cursors, run_blocks;
    uint32_t next;          /* where the visiting goes on */
    uint32_t live;          /* cursors not finished */
    int64_t patience_ns;    /* how long shorter runs may wait to become full ones */
    uint64_t full, some;    /* offsets of bitmaps, a bit a cursor: a full run waits; anything waits */
    _Atomic uint32_t handed_over; /* detached by tl_hand_over(): writes what it has in its hands before it goes */
    _Atomic int32_t lacking; /* while it gathers and sleeps: blocks to come until it has enough */

    /* statistics, written by the agent's thread */
    _Alignas(TL_LINE) _Atomic uint64_t blocks, bytes, calls, runs, short_runs, sleeps, sleep_ns, device_ns;
    _Atomic int64_t in_call_since_ns;  /* 0 when not inside the device */
    _Atomic int64_t starving_since_ns; /* it had nothing to write, and has not written since; 0: it has */
    _Atomic uint64_t starvations;      /* how often that began once it had written something */

    /* A drive that stops when it is fed too little, and takes long to start again: at first and whenever it has nothing left, the
     * agent gathers so many blocks before it writes the next one. 0: it does not. */
    uint64_t start_blocks;
    uint32_t gathering; /* the agent's own */
};

/* How deep: each is woken by what wakes those before it, and by more. */
enum tl_sleep {
    TL_AWAKE = 0,
    TL_SLEEP_GATHER = 1, /* until there is enough, or it must not wait for more */
    TL_SLEEP_FULL = 2,   /* until a full run waits */
    TL_SLEEP_ANY = 3,    /* until anything does */
};

struct tl_arena {
    uint32_t abi;
    uint32_t slots, slot_bytes; /* slots includes those of producers' segments, which stand behind the arena's own */
    uint32_t slots_own;
    uint32_t streams, cursors, agents;
    uint64_t slot_at, stream_at, cursor_at, agent_at, readers_at, hungry_at, data_at; /* offsets */
    uint64_t total_bytes;
    _Alignas(TL_LINE) _Atomic uint32_t stop;
    _Alignas(TL_LINE) tl_stack common;
    _Atomic uint32_t hungry_next; /* where the search for a stream that waits for a common slot goes on */
};

/* How a process sees an arena: its own addresses. Private to the process. */
struct tl_view {
    struct tl_arena *arena;
    uint8_t **slot; /* address of each slot, of the arena's and of the producers' segments */
};

static inline void *tl_at(const struct tl_arena *arena, uint64_t offset)
{
    return (uint8_t *)arena + offset;
}

static inline struct tl_slot *tl_slot_of(const struct tl_arena *a, uint32_t i)
{
    return (struct tl_slot *)tl_at(a, a->slot_at) + i;
}

static inline struct tl_stream *tl_stream_of(const struct tl_arena *a, uint32_t i)
{
    return (struct tl_stream *)tl_at(a, a->stream_at) + i;
}

static inline struct tl_cursor *tl_cursor_of(const struct tl_arena *a, uint32_t i)
{
    return (struct tl_cursor *)tl_at(a, a->cursor_at) + i;
}

static inline struct tl_agent *tl_agent_of(const struct tl_arena *a, uint32_t i)
{
    return (struct tl_agent *)tl_at(a, a->agent_at) + i;
}

/* Who takes slots for this stream, and sleeps when there are none: the stream itself, or the pool that a drive reads into. */
static inline struct tl_stream *tl_taker_of(const struct tl_arena *a, struct tl_stream *s)
{
    const uint32_t pool = atomic_load_explicit(&s->pool, memory_order_relaxed);
    return pool ? tl_stream_of(a, pool - 1) : s;
}

/* What the schedule says of one row; field by field as in tapeloom.schedule. */
struct tl_stream_plan {
    uint32_t quota, cap;
    uint32_t segment_slots; /* slots of a producer's own segment, beside quota; 0: none */
};
struct tl_cursor_plan {
    uint32_t stream, agent;
};
struct tl_agent_plan {
    uint32_t first_cursor, cursors, run_blocks;
    uint32_t dormant; /* its cursors begin detached, until tl_hand_over() gives them another agent's places */
    int64_t patience_ns;
    uint64_t start_blocks;
};

struct tl_plan {
    uint32_t slot_bytes, slots_common;
    uint32_t streams, cursors, agents;
    const struct tl_stream_plan *stream;
    const struct tl_cursor_plan *cursor;
    const struct tl_agent_plan *agent;
};

/* Bytes that an arena for this plan takes: the tables alone, or tables and slots. */
uint64_t tl_arena_control_bytes(const struct tl_plan *plan);
uint64_t tl_arena_bytes(const struct tl_plan *plan);

/* Lays the arena out in *memory*: tl_arena_bytes() of zeros, page-aligned. Every slot free, every cursor attached at 0, but
 * for those of dormant agents. */
void tl_arena_init(void *memory, const struct tl_plan *plan);

#endif
