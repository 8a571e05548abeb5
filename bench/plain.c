/* What the figures are measured against: the plainest loops that do the same to the same bytes, and a loop around the kernel
 * without anything else. Compiled together with csrc/, called without the GIL. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "arena.h"
#include "crc32c.h"
#include "device.h"
#include "interleave.h"
#include "ring.h"
#include "wait.h"

#define EXPORT __attribute__((visibility("default")))

/* ---- read + CRC32C ---- */

struct reader {
    pthread_t thread;
    const char *path;
    uint32_t request_bytes, repeats;
    uint64_t bytes;
    uint32_t crc;
    int error;
};

static void *read_file(void *argument)
{
    struct reader *r = argument;
    const struct tl_crc32c *crc = tl_crc32c_best();
    uint8_t *memory = aligned_alloc(4096, (r->request_bytes + 4095) / 4096 * 4096);
    const int fd = open(r->path, O_RDONLY | O_CLOEXEC);
    if (!memory || fd < 0) {
        r->error = memory ? errno : ENOMEM;
    } else {
        for (uint32_t i = 0; i < r->repeats && !r->error; i++) {
            off_t at = 0;
            ssize_t n;
            while ((n = pread(fd, memory, r->request_bytes, at)) > 0) {
                r->crc = crc->update(r->crc, memory, (size_t)n);
                at += n;
            }
            r->bytes += (uint64_t)at;
            r->error = n < 0 ? errno : 0;
        }
    }
    if (fd >= 0)
        close(fd);
    free(memory);
    return NULL;
}

/* Reads every file on a thread of its own, request by request into one piece of memory, and makes its CRC32C; `repeats` times.
 * 0 or an errno. */
EXPORT int plain_read_crc(const char *const *paths, uint32_t count, uint32_t request_bytes, uint32_t repeats, uint64_t *bytes)
{
    struct reader *readers = calloc(count, sizeof *readers);
    int error = readers ? 0 : ENOMEM;
    uint32_t begun = 0;
    *bytes = 0;
    for (; !error && begun < count; begun++) {
        readers[begun].path = paths[begun];
        readers[begun].request_bytes = request_bytes;
        readers[begun].repeats = repeats;
        error = pthread_create(&readers[begun].thread, NULL, read_file, &readers[begun]);
        if (error)
            break;
    }
    for (uint32_t i = 0; i < begun; i++) {
        pthread_join(readers[i].thread, NULL);
        *bytes += readers[i].bytes;
        if (!error)
            error = readers[i].error;
    }
    free(readers);
    return error;
}

/* ---- write ---- */

#define PIECES_MAX 64u

/* Writes *total* bytes from the beginning of the file on, `pieces` of `piece_bytes` a system call, out of `memory`, round and
 * round; then fdatasync. 0 or an errno. */
EXPORT int plain_write(int fd, uint8_t *memory, uint64_t memory_bytes, uint32_t piece_bytes, uint32_t pieces, uint64_t total)
{
    struct iovec iov[PIECES_MAX];
    uint64_t from = 0;
    for (uint64_t at = 0; at < total;) {
        uint32_t n = 0;
        size_t bytes = 0;
        for (; n < pieces && n < PIECES_MAX && at + bytes < total; n++) {
            iov[n] = (struct iovec){memory + from, piece_bytes};
            bytes += piece_bytes;
            from += piece_bytes;
            if (from + piece_bytes > memory_bytes)
                from = 0;
        }
        const ssize_t done = pwritev(fd, iov, (int)n, (off_t)at);
        if (done < 0 || (size_t)done != bytes)
            return done < 0 ? errno : EIO;
        at += bytes;
    }
    return fdatasync(fd) ? errno : 0;
}

/* ---- the kernel and nothing else ---- */

static int accept_all(void *device, const struct tl_vec *v, uint32_t n, uint32_t *done)
{
    (void)device, (void)v;
    *done = n;
    return TL_OK;
}

/* One thread publishes `run` blocks into each of `streams` buffers, lets one agent write them all into nothing, and again,
 * `rounds` times. The blocks are not looked at: slots are full as far as the kernel knows. */
EXPORT int kernel_cycle(uint32_t streams, uint32_t run, uint32_t rounds, int64_t *elapsed_ns)
{
    struct tl_stream_plan *stream = calloc(streams, sizeof *stream);
    struct tl_cursor_plan *cursor = calloc(streams, sizeof *cursor);
    const struct tl_agent_plan agent = {.first_cursor = 0, .cursors = streams, .run_blocks = run, .patience_ns = 0};
    for (uint32_t i = 0; i < streams; i++) {
        stream[i] = (struct tl_stream_plan){.quota = run, .cap = run};
        cursor[i] = (struct tl_cursor_plan){.stream = i, .agent = 0};
    }
    const struct tl_plan plan = {
        .slot_bytes = 4096, .streams = streams, .cursors = streams, .agents = 1,
        .stream = stream, .cursor = cursor, .agent = &agent,
    };
    const uint64_t bytes = tl_arena_bytes(&plan);
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct tl_run *runs = calloc((size_t)streams * 2 + 1, sizeof *runs);
    uint8_t **slot = calloc((size_t)streams * run, sizeof *slot);
    tl_arena_init(memory, &plan);
    struct tl_arena *arena = memory;
    for (uint32_t i = 0; i < arena->slots; i++)
        slot[i] = (uint8_t *)memory + arena->data_at + (uint64_t)i * arena->slot_bytes;
    const struct tl_view view = {.arena = arena, .slot = slot};
    const struct tl_device_ops ops = {.abi = TL_DEVICE_ABI, .batch_max = 1, .write = accept_all};
    struct tl_turn turn = {
        .ops = &ops, .runs = runs, .runs_max = streams * 2 + 1,
        .bytes_max = (uint64_t)streams * run * 4096, .deadline_ns = TL_FOREVER,
    };
    int well = 1;
    const int64_t begin = tl_now_ns();
    for (uint32_t round = 0; round < rounds && well; round++) {
        for (uint32_t s = 0; s < streams; s++) {
            for (uint32_t i = 0; i < run; i++) {
                uint32_t index;
                well &= tl_slot_reserve_nowait(arena, s, &index) == TL_RING_OK;
                struct tl_slot *meta = tl_slot_of(arena, index);
                meta->bytes = 4096;
                meta->object = s;
                meta->seq = (uint64_t)round * run + i;
                well &= tl_slot_publish(arena, s, index) == TL_RING_OK;
            }
        }
        tl_interleave(&view, 0, &turn);
        well &= turn.reason == TL_TURN_CHECKPOINT && turn.blocks == (uint64_t)streams * run;
    }
    *elapsed_ns = tl_now_ns() - begin;
    munmap(memory, bytes);
    free(slot);
    free(runs);
    free(cursor);
    free(stream);
    return well;
}
