/* Sleeping until another thread or process says otherwise: a futex on a 32-bit word in shared memory. */
#ifndef TL_WAIT_H
#define TL_WAIT_H

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define TL_FOREVER INT64_MAX

static inline int64_t tl_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Sleeps while *word == seen, until a wake-up, a signal or *deadline_ns* (CLOCK_MONOTONIC). May return early: the caller looks
 * at its condition again. The word is shared between processes, so no FUTEX_PRIVATE_FLAG. */
static inline void tl_wait(_Atomic uint32_t *word, uint32_t seen, int64_t deadline_ns)
{
    struct timespec t = {.tv_sec = deadline_ns / 1000000000, .tv_nsec = deadline_ns % 1000000000};
    syscall(SYS_futex, word, FUTEX_WAIT_BITSET, seen, deadline_ns == TL_FOREVER ? NULL : &t, NULL,
            FUTEX_BITSET_MATCH_ANY);
}

static inline void tl_wake_all(_Atomic uint32_t *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

#endif
