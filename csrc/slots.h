/* Free slots: whose they are, who waits for them, and how they come home. ring.h has what producers call of it; this is for
 * ring.c. */
#ifndef TL_SLOTS_H
#define TL_SLOTS_H

#include "ring.h"

/* *s* lets go of a slot that nobody reads any more. Returns whether it was a common one; nobody is woken but another stream
 * whose quota it was. */
int tl_slot_go_home(const struct tl_arena *a, struct tl_stream *s, uint32_t slot);

/* Slots of *s* have come home, or its producer has another reason to look: it is woken, and for each of the common ones a
 * stream that sleeps for one. */
void tl_tell_of_freed(const struct tl_arena *a, struct tl_stream *s, uint32_t common);

#endif
