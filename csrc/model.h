/* A drive that takes its time: a table of functions around another drive's, which does the work at once.
 *
 * What a drive's time is made of. Between host and tape is a buffer. What is *due* are the bytes that the tape has yet
 * to work off: while writing, what was given and is not on tape; while reading, the room that could be read ahead into.
 * Either way the host adds to it (it gives, or it takes), the tape takes from it, the host waits while more is due
 * than the buffer holds, and the tape stops when nothing is: it goes back, which takes `backhitch`, and starts again
 * with the next byte that is due. The tape runs at the slowest of its steps until the buffer is three quarters due,
 * from there on the faster the more is due, and at the last step when it is waited for.
 *
 * A filemark waits until all is on tape, and takes `filemark` more. Going elsewhere, by whichever call, takes `locate`
 * and the part of `locate_end` that the way along the tape is of its length: a wrap of `wrap_bytes` leads there, the
 * next one back. tapeloom.timing predicts by the same rules, and has the numbers. */
#ifndef TL_MODEL_H
#define TL_MODEL_H

#include <stdint.h>

#include "device.h"

#define TL_MODEL_STEPS_MAX 16u

struct tl_model_drive {
    uint32_t step_count;
    double steps[TL_MODEL_STEPS_MAX]; /* bytes a second, rising; at least one */
    double buffer_bytes;              /* more than 0 */
    double backhitch, filemark, locate, locate_end; /* seconds */
    double wrap_bytes; /* 0: all ways are equal */
    double feed;       /* bytes a second that the host gives and takes at most; 0: no limit */
};

/* What the drive's time went into, in seconds; `held` is the host's, who waited. */
struct tl_model_counts {
    uint64_t bytes, backhitches, moves, filemarks;
    double streaming, hitching, starved, moving, marking, changing;
    double held;
};

/* Time in seconds. wait: returns when it is `until`, or later. */
struct tl_clock {
    double (*now)(void *self);
    void (*wait)(void *self, double until);
    void *self;
};

struct tl_model;

/* bytes_before: how many bytes of the tape lie before the place where the inner drive stands. clock: NULL counts the
 * time from 0 on instead of passing it. The inner drive stays the caller's, and must outlive this one. NULL: no memory.
 */
struct tl_model *tl_model_new(const struct tl_device_ops *inner_ops, void *inner,
                              uint64_t (*bytes_before)(const void *inner), const struct tl_model_drive *drive,
                              const struct tl_clock *clock);
void tl_model_free(struct tl_model *model);

/* Valid as long as the model is. */
const struct tl_device_ops *tl_model_ops(const struct tl_model *model);

/* The cartridge was changed, put in or taken out: so many seconds, and the tape stands with nothing in the buffer. */
void tl_model_change(struct tl_model *model, double seconds);

/* By the drive's clock. */
double tl_model_now(const struct tl_model *model);
void tl_model_counts(const struct tl_model *model, struct tl_model_counts *out);

/* CLOCK_MONOTONIC. */
const struct tl_clock *tl_clock_real(void);

#endif
