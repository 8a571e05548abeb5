#include "spooldev.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#define PAGE 4096u
#define BATCH_MAX 8u

struct entry {
    uint32_t place, bytes;
};

struct tl_spool {
    int fd;
    uint32_t place_bytes, places;
    uint64_t blocks_max;
    uint32_t next;           /* the writer's: where it looks for a free place first */
    uint64_t at;             /* the reader's position */
    _Atomic uint64_t written; /* entries below it are there for the reader */
    _Atomic uint32_t in_use, most;
    _Atomic int error;
    struct entry *entries;    /* by position */
    _Atomic uint8_t *taken;   /* by place: set by the writer, cleared by the reader */
};

struct tl_spool *tl_spool_new(int fd, uint32_t place_bytes, uint32_t places, uint64_t blocks_max)
{
    struct tl_spool *spool = calloc(1, sizeof *spool);

    if (!spool)
        return NULL;
    *spool = (struct tl_spool){.fd = fd, .place_bytes = place_bytes, .places = places, .blocks_max = blocks_max};
    spool->entries = calloc(blocks_max + 1, sizeof *spool->entries);
    spool->taken = calloc((size_t)places + 1, sizeof *spool->taken);
    if (!spool->entries || !spool->taken) {
        tl_spool_free(spool);
        return NULL;
    }
    return spool;
}

void tl_spool_free(struct tl_spool *spool)
{
    free(spool->entries);
    free((void *)spool->taken);
    free(spool);
}

static uint32_t pages(uint32_t bytes)
{
    return (bytes + PAGE - 1) / PAGE * PAGE;
}

static int failed(struct tl_spool *spool, int error)
{
    atomic_store(&spool->error, error);
    return error == ENOSPC || error == EDQUOT ? TL_ERR_HOST_FULL : TL_ERR_IO;
}

/* Moves all of `bytes`, a multiple of the page, between memory and a place. A file that ends early is no good. */
static int move(struct tl_spool *spool, int writes, char *data, uint32_t bytes, uint32_t place)
{
    const off_t start = (off_t)place * spool->place_bytes;

    for (uint32_t moved = 0; moved < bytes;) {
        const ssize_t n = writes ? pwrite(spool->fd, data + moved, bytes - moved, start + moved)
                                 : pread(spool->fd, data + moved, bytes - moved, start + moved);
        if (n > 0)
            moved += (uint32_t)n;
        else if (n == 0 || errno != EINTR)
            return failed(spool, n == 0 ? EIO : errno);
    }
    return TL_OK;
}

/* The writer's next free place, or `places` where there is none. */
static uint32_t free_place(const struct tl_spool *spool)
{
    for (uint32_t i = 0; i < spool->places; i++) {
        const uint32_t place = (spool->next + i) % spool->places;
        if (!atomic_load(&spool->taken[place]))
            return place;
    }
    return spool->places;
}

static int put(struct tl_spool *spool, const struct tl_vec *v)
{
    const uint64_t position = atomic_load(&spool->written);
    const uint32_t place = free_place(spool);

    if (v->bytes == 0 || v->bytes > spool->place_bytes || v->room < pages(v->bytes))
        return TL_ERR_BLOCK_SIZE;
    if (place == spool->places || position == spool->blocks_max)
        return failed(spool, ENOSPC);
    const int status = move(spool, 1, v->data, pages(v->bytes), place);
    if (status != TL_OK)
        return status;
    const uint32_t in_use = atomic_fetch_add(&spool->in_use, 1) + 1;
    if (in_use > atomic_load(&spool->most))
        atomic_store(&spool->most, in_use);
    atomic_store(&spool->taken[place], 1);
    spool->entries[position] = (struct entry){place, v->bytes};
    spool->next = (place + 1) % spool->places;
    atomic_store(&spool->written, position + 1);
    return TL_OK;
}

static int spool_write(void *dev, const struct tl_vec *v, uint32_t n, uint32_t *done)
{
    int status = TL_OK;

    for (*done = 0; *done < n && (status = put(dev, &v[*done])) == TL_OK;)
        ++*done;
    return status;
}

static int spool_read(void *dev, struct tl_vec *v, uint32_t n, uint32_t *done)
{
    struct tl_spool *spool = dev;

    for (*done = 0; *done < n; ++*done, spool->at++) {
        struct tl_vec *into = &v[*done];
        if (spool->at >= atomic_load(&spool->written))
            return TL_END_OF_DATA;
        const struct entry *entry = &spool->entries[spool->at];
        if (entry->bytes == 0)
            return TL_ERR_INVALID; /* forgotten */
        if (into->room < pages(entry->bytes))
            return TL_ERR_ROOM;
        const int status = move(spool, 0, into->data, pages(entry->bytes), entry->place);
        if (status != TL_OK)
            return status;
        into->bytes = entry->bytes;
    }
    return TL_OK;
}

static int spool_locate(void *dev, uint64_t position)
{
    struct tl_spool *spool = dev;
    const uint64_t written = atomic_load(&spool->written);

    spool->at = position < written ? position : written;
    return position > written ? TL_END_OF_DATA : TL_OK;
}

static int spool_rewind(void *dev)
{
    return spool_locate(dev, 0);
}

static int spool_to_end_of_data(void *dev)
{
    struct tl_spool *spool = dev;

    return spool_locate(dev, atomic_load(&spool->written));
}

static int spool_position(void *dev, struct tl_position *out)
{
    struct tl_spool *spool = dev;

    *out = (struct tl_position){.position = spool->at, .file = 0, .end_of_data = atomic_load(&spool->written)};
    return TL_OK;
}

static int no_filemarks(void *dev, uint32_t count)
{
    (void)dev;
    (void)count;
    return TL_ERR_UNSUPPORTED;
}

static int no_spacing(void *dev, int64_t count)
{
    (void)dev;
    (void)count;
    return TL_ERR_UNSUPPORTED;
}

static int spool_last_errno(void *dev)
{
    struct tl_spool *spool = dev;

    return atomic_load(&spool->error);
}

const struct tl_device_ops *tl_spool_ops(void)
{
    static const struct tl_device_ops ops = {
        .abi = TL_DEVICE_ABI,
        .batch_max = BATCH_MAX,
        .write = spool_write,
        .write_filemarks = no_filemarks,
        .read = spool_read,
        .rewind = spool_rewind,
        .locate = spool_locate,
        .to_end_of_data = spool_to_end_of_data,
        .space_filemarks = no_spacing,
        .space_blocks = no_spacing,
        .position = spool_position,
        .last_errno = spool_last_errno,
    };
    return &ops;
}

void tl_spool_forget(struct tl_spool *spool, uint64_t position, uint64_t blocks)
{
    for (uint64_t at = position; at < position + blocks; at++) {
        struct entry *entry = &spool->entries[at];
        if (entry->bytes == 0)
            continue;
        entry->bytes = 0;
        atomic_fetch_sub(&spool->in_use, 1); /* before the place is free: the count is never above the places */
        atomic_store(&spool->taken[entry->place], 0);
    }
}

uint32_t tl_spool_most(const struct tl_spool *spool)
{
    return atomic_load(&spool->most);
}
