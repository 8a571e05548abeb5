/* What an agent that sleeps waits for. For reports: any thread looks now and then, and what it sees may be a moment old. */
#ifndef TL_LACK_H
#define TL_LACK_H

#include "ring.h"

struct tl_lack {
    uint32_t stream; /* no other that goes on has fewer blocks for the agent */
    uint32_t holder; /* the agent that has most of the blocks whose slots its producer sleeps for; TL_NONE: it is at work */
};

/* Fills in at most *max* rows and says how many; 0 when the agent does not sleep. */
uint32_t tl_agent_lack(const struct tl_arena *a, uint32_t agent, struct tl_lack *lack, uint32_t max);

#endif
