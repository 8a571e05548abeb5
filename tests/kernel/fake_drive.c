/* A drive in memory that does what a test says: keeps what is written, refuses or hangs at a chosen block, reads a prepared tape. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "device.h"

struct block {
    uint8_t *data;
    uint32_t bytes;
    uint32_t call;
};

struct fake {
    struct tl_device_ops ops;
    struct block *written, *tape; /* a tape block of 0 bytes is a filemark */
    uint32_t written_count, tape_count, at, calls;
    uint32_t trouble_at; /* number of the written block at which `trouble` is the answer, once */
    int trouble;
    uint32_t read_trouble_at;
    int read_trouble;
    uint32_t hang_at;
    int hung, released;
    pthread_mutex_t mutex;
    pthread_cond_t moved;
};

static void append(struct block **list, uint32_t *count, const void *data, uint32_t bytes, uint32_t call)
{
    *list = realloc(*list, (*count + 1) * sizeof **list);
    struct block *block = &(*list)[(*count)++];
    *block = (struct block){malloc(bytes + 1), bytes, call};
    memcpy(block->data, data, bytes);
}

static void hang(struct fake *f)
{
    pthread_mutex_lock(&f->mutex);
    f->hung = 1;
    pthread_cond_broadcast(&f->moved);
    while (!f->released)
        pthread_cond_wait(&f->moved, &f->mutex);
    pthread_mutex_unlock(&f->mutex);
}

static int fake_write(void *dev, const struct tl_vec *v, uint32_t n, uint32_t *done)
{
    struct fake *f = dev;
    const uint32_t call = f->calls++;
    for (*done = 0; *done < n; ++*done) {
        if (f->written_count == f->hang_at)
            hang(f);
        const int troubled = f->written_count == f->trouble_at;
        if (troubled)
            f->trouble_at = UINT32_MAX;
        if (troubled && f->trouble != TL_EARLY_WARNING)
            return f->trouble;
        append(&f->written, &f->written_count, v[*done].data, v[*done].bytes, call);
        if (troubled) {
            ++*done;
            return f->trouble;
        }
    }
    return TL_OK;
}

static int fake_read(void *dev, struct tl_vec *v, uint32_t n, uint32_t *done)
{
    struct fake *f = dev;
    for (*done = 0; *done < n; ++*done) {
        if (f->at == f->read_trouble_at)
            return f->read_trouble;
        if (f->at == f->tape_count)
            return TL_END_OF_DATA;
        const struct block *block = &f->tape[f->at++];
        if (block->bytes == 0)
            return TL_FILEMARK;
        if (block->bytes > v[*done].room)
            return TL_ERR_ROOM;
        memcpy(v[*done].data, block->data, block->bytes);
        v[*done].bytes = block->bytes;
    }
    return TL_OK;
}

struct fake *fake_new(uint32_t batch_max)
{
    struct fake *f = calloc(1, sizeof *f);
    f->ops = (struct tl_device_ops){.abi = TL_DEVICE_ABI, .batch_max = batch_max, .write = fake_write, .read = fake_read};
    f->trouble_at = f->read_trouble_at = f->hang_at = UINT32_MAX;
    pthread_mutex_init(&f->mutex, NULL);
    pthread_cond_init(&f->moved, NULL);
    return f;
}

void fake_free(struct fake *f)
{
    for (uint32_t i = 0; i < f->written_count; i++)
        free(f->written[i].data);
    for (uint32_t i = 0; i < f->tape_count; i++)
        free(f->tape[i].data);
    free(f->written);
    free(f->tape);
    free(f);
}

void fake_trouble(struct fake *f, uint32_t at, int status)
{
    f->trouble_at = at;
    f->trouble = status;
}

void fake_read_trouble(struct fake *f, uint32_t at, int status)
{
    f->read_trouble_at = at;
    f->read_trouble = status;
}

void fake_hang(struct fake *f, uint32_t at)
{
    f->hang_at = at;
}

void fake_wait_hung(struct fake *f)
{
    pthread_mutex_lock(&f->mutex);
    while (!f->hung)
        pthread_cond_wait(&f->moved, &f->mutex);
    pthread_mutex_unlock(&f->mutex);
}

void fake_release(struct fake *f)
{
    pthread_mutex_lock(&f->mutex);
    f->released = 1;
    pthread_cond_broadcast(&f->moved);
    pthread_mutex_unlock(&f->mutex);
}

uint32_t fake_written(const struct fake *f)
{
    return f->written_count;
}

const uint8_t *fake_block(const struct fake *f, uint32_t i, uint32_t *bytes, uint32_t *call)
{
    *bytes = f->written[i].bytes;
    *call = f->written[i].call;
    return f->written[i].data;
}

void fake_put(struct fake *f, const void *data, uint32_t bytes)
{
    append(&f->tape, &f->tape_count, data, bytes, 0);
}
