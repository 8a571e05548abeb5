#include "nulldev.h"

#include <stdlib.h>

struct tl_null {
    uint64_t position, file;
    uint64_t bytes_before;
    struct tl_null_counts counts;
};

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
    null->bytes_before += bytes;
    *done = n;
    return TL_OK;
}

static int null_write_filemarks(void *dev, uint32_t count)
{
    struct tl_null *null = dev;

    if (count == 0)
        return TL_ERR_INVALID;
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

    null->position = null->file = null->bytes_before = 0;
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

struct tl_null *tl_null_new(void)
{
    return calloc(1, sizeof(struct tl_null));
}

void tl_null_free(struct tl_null *null)
{
    free(null);
}

void tl_null_counts(const struct tl_null *null, struct tl_null_counts *out)
{
    *out = null->counts;
}

uint64_t tl_null_bytes_before(const void *null)
{
    return ((const struct tl_null *)null)->bytes_before;
}
