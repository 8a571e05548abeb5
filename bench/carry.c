/* The plainest ways to get blocks from one file to others: what copying is measured against. Compiled and called with plain.c. */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "crc32c.h"

#define EXPORT __attribute__((visibility("default")))

#define BLOCKS_MAX 64u
#define TARGETS_MAX 8u

/* One read: so many blocks from here on. */
struct request {
    uint64_t offset;
    uint64_t blocks;
};

struct carry {
    uint8_t *memory;      /* a ring of `slots` blocks */
    uint64_t slots;
    uint32_t block_bytes;
    int source;
    const struct request *requests;
    uint32_t request_count;
    uint32_t write_blocks; /* of each write */
    uint32_t check;        /* make the CRC32C of each block */
    uint64_t total;        /* blocks */
    uint32_t targets;

    pthread_mutex_t lock;
    pthread_cond_t moved;
    uint64_t head, tail[TARGETS_MAX]; /* blocks read, and written by each */
    int error;
    uint32_t crc;
};

struct writer {
    pthread_t thread;
    struct carry *carry;
    uint32_t number;
    int fd;
};

static void vector(const struct carry *c, struct iovec *iov, uint64_t first, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        iov[i] = (struct iovec){c->memory + (first + i) % c->slots * c->block_bytes, c->block_bytes};
}

static int put(struct carry *c, int fd, uint64_t first, uint32_t n)
{
    struct iovec iov[BLOCKS_MAX];
    vector(c, iov, first, n);
    const ssize_t done = pwritev(fd, iov, (int)n, (off_t)(first * c->block_bytes));
    return done == (ssize_t)n * c->block_bytes ? 0 : done < 0 ? errno : EIO;
}

static int get(struct carry *c, const struct request *r, uint64_t first)
{
    struct iovec iov[BLOCKS_MAX];
    const uint32_t n = (uint32_t)r->blocks;
    vector(c, iov, first, n);
    const ssize_t done = preadv(c->source, iov, (int)n, (off_t)r->offset);
    if (done != (ssize_t)n * c->block_bytes)
        return done < 0 ? errno : EIO;
    if (c->check) {
        const struct tl_crc32c *crc = tl_crc32c_best();
        for (uint32_t i = 0; i < n; i++)
            c->crc ^= crc->update(0, iov[i].iov_base, c->block_bytes);
    }
    return 0;
}

static uint64_t slowest(const struct carry *c)
{
    uint64_t tail = c->tail[0];
    for (uint32_t i = 1; i < c->targets; i++)
        if (c->tail[i] < tail)
            tail = c->tail[i];
    return tail;
}

static void moved(struct carry *c, uint64_t *place, uint64_t by, int error)
{
    pthread_mutex_lock(&c->lock);
    *place += by;
    if (error && !c->error)
        c->error = error;
    pthread_cond_broadcast(&c->moved);
    pthread_mutex_unlock(&c->lock);
}

static void *write_all(void *argument)
{
    struct writer *w = argument;
    struct carry *c = w->carry;
    uint64_t *tail = &c->tail[w->number];
    while (*tail < c->total) {
        const uint64_t left = c->total - *tail;
        const uint32_t n = left < c->write_blocks ? (uint32_t)left : c->write_blocks;
        pthread_mutex_lock(&c->lock);
        while (c->head - *tail < n && !c->error)
            pthread_cond_wait(&c->moved, &c->lock);
        const int broken = c->error;
        pthread_mutex_unlock(&c->lock);
        if (broken)
            return NULL;
        const int error = put(c, w->fd, *tail, n);
        moved(c, tail, error ? 0 : n, error);
    }
    if (fdatasync(w->fd))
        moved(c, tail, 0, errno);
    return NULL;
}

static void read_all(struct carry *c)
{
    for (uint32_t i = 0; i < c->request_count; i++) {
        const struct request *r = &c->requests[i];
        pthread_mutex_lock(&c->lock);
        while (c->slots - (c->head - slowest(c)) < r->blocks && !c->error)
            pthread_cond_wait(&c->moved, &c->lock);
        const int broken = c->error;
        pthread_mutex_unlock(&c->lock);
        if (broken)
            return;
        const int error = get(c, r, c->head);
        moved(c, &c->head, error ? 0 : r->blocks, error);
        if (error)
            return;
    }
}

static void side_by_side(struct carry *c, const int *fds)
{
    struct writer writers[TARGETS_MAX];
    uint32_t begun = 0;
    for (; begun < c->targets; begun++) {
        writers[begun] = (struct writer){.carry = c, .number = begun, .fd = fds[begun]};
        const int error = pthread_create(&writers[begun].thread, NULL, write_all, &writers[begun]);
        if (error) {
            moved(c, &c->head, 0, error);
            break;
        }
    }
    read_all(c);
    for (uint32_t i = 0; i < begun; i++)
        pthread_join(writers[i].thread, NULL);
}

static void in_turn(struct carry *c, const int *fds)
{
    uint64_t written = 0;
    for (uint32_t i = 0; i < c->request_count && !c->error; i++) {
        c->error = get(c, &c->requests[i], c->head);
        c->head += c->requests[i].blocks;
        while (!c->error && (c->head - written >= c->write_blocks || (c->head == c->total && written < c->total))) {
            const uint64_t left = c->head - written;
            const uint32_t n = left < c->write_blocks ? (uint32_t)left : c->write_blocks;
            for (uint32_t t = 0; t < c->targets && !c->error; t++)
                c->error = put(c, fds[t], written, n);
            written += n;
        }
    }
    for (uint32_t t = 0; t < c->targets && !c->error; t++)
        c->error = fdatasync(fds[t]) ? errno : 0;
}

/* Reads every request out of *source*, block after block into a ring of memory, and writes all of it to the beginning of each
 * target, `write_blocks` a call; then fdatasync. With `threads` the reader and each writer have a thread of their own, else one
 * does everything in turn. 0 or an errno. */
EXPORT int plain_carry(int source, const struct request *requests, uint32_t request_count, const int *fds, uint32_t targets,
                       uint8_t *memory, uint64_t memory_bytes, uint32_t block_bytes, uint32_t write_blocks, uint32_t check,
                       uint32_t threads)
{
    struct carry c = {
        .memory = memory, .slots = memory_bytes / block_bytes, .block_bytes = block_bytes, .source = source,
        .requests = requests, .request_count = request_count, .write_blocks = write_blocks, .check = check,
        .targets = targets, .lock = PTHREAD_MUTEX_INITIALIZER, .moved = PTHREAD_COND_INITIALIZER,
    };
    if (targets == 0 || targets > TARGETS_MAX || write_blocks == 0 || write_blocks > BLOCKS_MAX)
        return EINVAL;
    for (uint32_t i = 0; i < request_count; i++) {
        if (requests[i].blocks > BLOCKS_MAX || requests[i].blocks + write_blocks > c.slots)
            return EINVAL;
        c.total += requests[i].blocks;
    }
    if (threads)
        side_by_side(&c, fds);
    else
        in_turn(&c, fds);
    return c.error;
}
