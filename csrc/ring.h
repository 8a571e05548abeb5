/* Handing slots from one producer to many readers, each at its own pace.
 *
 *     producer   tl_slot_reserve -> fill in place -> tl_slot_publish ... tl_stream_end
 *     reader     tl_claim -> use -> tl_release          (or tl_unclaim what was not used)
 *     anyone     tl_detach: takes a reader out; its waiting slots go home at once, those in its hands when it lets go
 *                tl_hand_over: the same, but another reader goes on with the waiting slots where this one stood
 *
 * A slot goes home when the last reader has passed it. All words live in shared memory; a producer and the readers may be
 * threads of different processes. No call allocates; waiting is in the functions whose names say wait. */
#ifndef TL_RING_H
#define TL_RING_H

#include "arena.h"
#include "wait.h"

enum tl_ring_status {
    TL_RING_OK = 0,
    TL_RING_AGAIN = 1,      /* nowait: no slot just now */
    TL_RING_STOPPED = 2,    /* the job stops */
    TL_RING_NO_READERS = 3, /* every reader has been detached */
};

/* A free slot for this stream: a common one while it holds fewer of them than its cap allows beside its quota, else one of its quota. */
enum tl_ring_status tl_slot_reserve_nowait(const struct tl_arena *a, uint32_t stream, uint32_t *slot);

/* The same; sleeps until there is one. While it sleeps, readers are told not to wait for full runs. STOPPED once the job
 * stops, but with *last* (the block that ends an object) only when it stops at once. */
enum tl_ring_status tl_slot_reserve_wait(const struct tl_arena *a, uint32_t stream, int last, uint32_t *slot);

/* Whether the stream's producer may go on: OK, STOPPED or NO_READERS. */
enum tl_ring_status tl_stream_status(const struct tl_arena *a, uint32_t stream);

/* For a stream with a segment, whose slots are handed out by a bridge and not reserved here: until unwatch, `freed_fd` becomes
 * readable as soon as a slot of the stream comes home, its last reader is detached, or the job stops. Look at the condition
 * once more between watch and sleep. With *wanting*, its producer has no slot left: readers are told not to wait for full runs,
 * and the time counts as a stall. */
void tl_freed_watch(const struct tl_arena *a, uint32_t stream, int wanting);
void tl_freed_unwatch(const struct tl_arena *a, uint32_t stream);

/* Gives back a reserved slot that was not published. */
void tl_slot_return(const struct tl_arena *a, uint32_t stream, uint32_t slot);

/* A reserved slot changes its stream: a drive reads into any free slot, and the block in it says whose it is. *to* has no
 * quota in the plan: its ring is long enough for any number of slots, and all of them come from the pool *from*, which stays
 * answerable for them: its cap counts them, and when it runs dry the readers of *to* are told not to wait for full runs. */
void tl_slot_move(const struct tl_arena *a, uint32_t slot, uint32_t from, uint32_t to);

/* Publishes a filled slot to all attached readers. NO_READERS: the slot went home. */
enum tl_ring_status tl_slot_publish(const struct tl_arena *a, uint32_t stream, uint32_t slot);

/* Nothing will follow. */
void tl_stream_end(const struct tl_arena *a, uint32_t stream);

/* Takes up to n positions into the reader's hands, which hold TL_HAND_MAX. Returns how many; *first is the first position. 0
 * when nothing waits or the cursor is detached. */
uint32_t tl_claim(const struct tl_arena *a, uint32_t cursor, uint32_t n, uint64_t *first);

/* Lets go of the first n positions in the reader's hands. */
void tl_release(const struct tl_arena *a, uint32_t cursor, uint32_t n);

/* Puts all positions in the reader's hands back to the waiting ones. Detached meanwhile, it lets go of them; handed over meanwhile,
 * it keeps them: whoever took over goes on behind them. */
void tl_unclaim(const struct tl_arena *a, uint32_t cursor);

/* The slot at a claimed position. */
uint32_t tl_slot_at(const struct tl_arena *a, uint32_t cursor, uint64_t position);

/* Positions that wait for this cursor; 0 when detached. */
uint64_t tl_waiting(const struct tl_arena *a, uint32_t cursor);

/* Whether nothing waits, is held or will come. */
int tl_drained(const struct tl_arena *a, uint32_t cursor);

void tl_detach(const struct tl_arena *a, uint32_t agent);

/* *to*, a dormant agent with a cursor over the same stream for each cursor of *from*, row by row, goes on where *from* stands: what
 * waits for *from*, and what will be published, is *to*'s, and *from* is detached with what it has in its hands. Nothing is
 * lost and nothing comes twice. Cursors of *from* that are detached already stay so on both sides. *to*'s thread starts after
 * this call. */
void tl_hand_over(const struct tl_arena *a, uint32_t from, uint32_t to);

/* By the thread of an agent that ends: lets go of what it still has in its hands. */
void tl_let_go(const struct tl_arena *a, uint32_t agent);

/* Says stop to everyone and wakes all. A stop is never taken back: of two, the stricter counts. */
void tl_stop_all(struct tl_arena *a, enum tl_stop how);

/* Wakes an agent that sleeps at least so deep: with TL_SLEEP_GATHER any that sleeps. */
void tl_agent_wake(struct tl_agent *g, enum tl_sleep at_least);

/* Blocks to come until the agent has gathered its start_blocks; 0 when it has, or must not wait for more: none of its streams goes
 * on, or a producer sleeps for want of a slot while some of its blocks wait here. So nobody who gathers holds what somebody else
 * sleeps for, and no circle of waiting goes through him: a producer that sleeps has woken all who have blocks of its stream, or
 * of its pool, and these wait for nothing but their devices until they have written them. */
uint64_t tl_agent_lacks(const struct tl_arena *a, const struct tl_agent *g);

/* Sleeps until the agent has what it sleeps for, an end, a stop, a detachment, or the deadline. */
void tl_agent_wait(const struct tl_arena *a, uint32_t agent, enum tl_sleep for_what, int64_t deadline_ns);

/* Bitmaps of an agent's cursors. next: the first set bit at or after from, going round; TL_NONE when none is set. */
uint32_t tl_bits_next(_Atomic uint64_t *bits, uint32_t count, uint32_t from);
int tl_bits_any(_Atomic uint64_t *bits, uint32_t count);

static inline void tl_bit_set(_Atomic uint64_t *bits, uint32_t bit)
{
    /* Reading first keeps the line shared while the bit is set already; sequential consistency on both sides makes sure that
     * either this read sees the reader's clearing, or the reader's look at head sees the new block. */
    if (!(atomic_load(&bits[bit / 64]) >> (bit % 64) & 1))
        atomic_fetch_or(&bits[bit / 64], UINT64_C(1) << (bit % 64));
}

static inline void tl_bit_clear(_Atomic uint64_t *bits, uint32_t bit)
{
    atomic_fetch_and(&bits[bit / 64], ~(UINT64_C(1) << (bit % 64)));
}

static inline _Atomic uint64_t *tl_full_bits(const struct tl_arena *a, const struct tl_agent *g)
{
    return tl_at(a, g->full);
}

static inline _Atomic uint64_t *tl_some_bits(const struct tl_arena *a, const struct tl_agent *g)
{
    return tl_at(a, g->some);
}

static inline uint32_t tl_bit_words(uint32_t count)
{
    return (count + 63) / 64;
}

#endif
