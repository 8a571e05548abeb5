#include "nulldev.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#define SECOND UINT64_C(1000000000)

struct tl_null {
    uint64_t rate, buffer;
    uint64_t position, file;
    uint64_t settled_at; /* when the tape will have taken all that it was given, ns of CLOCK_MONOTONIC */
    struct tl_null_counts counts;
};

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * SECOND + (uint64_t)now.tv_nsec;
}

/* The time that the tape takes for so many bytes. */
static uint64_t takes_ns(const struct tl_null *null, uint64_t bytes)
{
    return bytes / null->rate * SECOND + bytes % null->rate * SECOND / null->rate;
}

/* Waits until no more than `ahead` bytes are still to be written. An absolute time, so that waking up late is made
 * good by the next wait. */
static void wait_until_ahead(const struct tl_null *null, uint64_t ahead)
{
    uint64_t at = null->settled_at - takes_ns(null, ahead);
    struct timespec until = {.tv_sec = (time_t)(at / SECOND), .tv_nsec = (long)(at % SECOND)};

    if (null->settled_at < takes_ns(null, ahead))
        return;
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
        continue;
}

static int null_write(void *dev, const struct tl_vec *v, uint32_t n, uint32_t *done)
{
    struct tl_null *null = dev;
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < n; i++)
        bytes += v[i].bytes;
    null->counts.calls++;
    null->counts.blocks += n;
    null->counts.bytes += bytes;
    null->position += n;
    *done = n;
    if (null->rate > 0) {
        uint64_t now = now_ns();

        if (null->settled_at < now)
            null->settled_at = now; /* the tape ran dry and stood still */
        null->settled_at += takes_ns(null, bytes);
        if (null->settled_at - now > takes_ns(null, null->buffer))
            wait_until_ahead(null, null->buffer);
    }
    return TL_OK;
}

static int null_write_filemarks(void *dev, uint32_t count)
{
    struct tl_null *null = dev;

    if (count == 0)
        return TL_ERR_INVALID;
    if (null->rate > 0)
        wait_until_ahead(null, 0);
    null->counts.filemarks += count;
    null->position += count;
    null->file += count;
    return TL_OK;
}

static int null_read(void *dev, struct tl_vec *v, uint32_t n, uint32_t *done)
{
    (void)dev, (void)v, (void)n;
    *done = 0;
    return TL_END_OF_DATA;
}

/* A tape on which nothing stays is blank again as soon as it is left. */
static int null_rewind(void *dev)
{
    struct tl_null *null = dev;

    null->position = null->file = 0;
    return TL_OK;
}

static int null_locate(void *dev, uint64_t position)
{
    struct tl_null *null = dev;

    if (position == null->position)
        return TL_OK;
    null_rewind(dev);
    return position == 0 ? TL_OK : TL_END_OF_DATA;
}

static int null_to_end_of_data(void *dev)
{
    (void)dev;
    return TL_OK;
}

static int null_space(void *dev, int64_t count)
{
    if (count == 0)
        return TL_OK;
    if (count > 0)
        return TL_END_OF_DATA;
    null_rewind(dev);
    return TL_BEGIN_OF_TAPE;
}

static int null_position(void *dev, struct tl_position *out)
{
    struct tl_null *null = dev;

    *out = (struct tl_position){.position = null->position, .file = null->file, .end_of_data = null->position};
    return TL_OK;
}

static int null_last_errno(void *dev)
{
    (void)dev;
    return 0;
}

const struct tl_device_ops *tl_null_ops(void)
{
    static const struct tl_device_ops ops = {
        .abi = TL_DEVICE_ABI,
        .batch_max = 1, /* nothing is saved by more */
        .write = null_write,
        .write_filemarks = null_write_filemarks,
        .read = null_read,
        .rewind = null_rewind,
        .locate = null_locate,
        .to_end_of_data = null_to_end_of_data,
        .space_filemarks = null_space,
        .space_blocks = null_space,
        .position = null_position,
        .last_errno = null_last_errno,
    };
    return &ops;
}

struct tl_null *tl_null_new(uint64_t rate, uint64_t buffer)
{
    struct tl_null *null = calloc(1, sizeof *null);

    if (null) {
        null->rate = rate;
        null->buffer = buffer;
    }
    return null;
}

void tl_null_free(struct tl_null *null)
{
    free(null);
}

void tl_null_counts(const struct tl_null *null, struct tl_null_counts *out)
{
    *out = null->counts;
}
