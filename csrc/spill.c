#include "spill.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define BUFFER_BYTES (256u << 10)
#define RUN_BUFFER_BYTES (32u << 10)
#define HEAD_BYTES 3u /* length of the name as 16 bits, type */

int tl_spill_file(const char *folder)
{
    int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    for (unsigned attempt = 0; fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EEXIST) && attempt < 100; attempt++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/tapeloom-names-%ld-%p-%u", folder, (long)getpid(), (void *)&fd, attempt);
        fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd >= 0)
            unlink(path);
    }
    return fd;
}

static int write_all(int fd, const uint8_t *data, size_t bytes, uint64_t at)
{
    while (bytes) {
        const ssize_t n = pwrite(fd, data, bytes, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno;
        data += n;
        bytes -= (size_t)n;
        at += (uint64_t)n;
    }
    return 0;
}

/* Adds a name to the buffer, which is written behind *at* when it is full. */
static int put(struct tl_spill *s, uint64_t *at, struct tl_text name, uint8_t type)
{
    const uint16_t bytes = (uint16_t)name.bytes;
    if (!tl_bytes_add(&s->buffer, &bytes, sizeof bytes) || !tl_bytes_add(&s->buffer, &type, 1) ||
        !tl_bytes_add(&s->buffer, name.data, name.bytes))
        return ENOMEM;
    if (s->buffer.used < BUFFER_BYTES)
        return 0;
    const int error = write_all(s->fd, s->buffer.data, s->buffer.used, *at);
    *at += s->buffer.used;
    s->buffer.used = 0;
    return error;
}

static int flush(struct tl_spill *s, uint64_t *at)
{
    const int error = write_all(s->fd, s->buffer.data, s->buffer.used, *at);
    *at += s->buffer.used;
    s->buffer.used = 0;
    return error;
}

int tl_spill_run(struct tl_spill *s, struct tl_listing *l, const char *folder)
{
    if (s->end == NULL && (s->fd = tl_spill_file(folder)) < 0)
        return errno;
    uint64_t *end = realloc(s->end, (s->runs + 1) * sizeof *end);
    if (end != NULL)
        s->end = end;
    if (end == NULL || !tl_listing_sort(l))
        return ENOMEM;
    uint64_t at = s->runs ? end[s->runs - 1] : 0;
    int error = 0;
    for (uint32_t i = 0; i < l->count && !error; i++)
        error = put(s, &at, tl_name_text(l, i), l->name[i].type);
    if (!error)
        error = flush(s, &at);
    end[s->runs++] = at;
    l->count = 0;
    l->text.used = 0;
    return error;
}

/* One run being merged. */
struct run {
    uint64_t at, end;
    uint8_t data[RUN_BUFFER_BYTES];
    size_t used, taken;
    struct tl_text name; /* its first name that is left; NULL: none */
    uint8_t type;
};

static int run_next(int fd, struct run *r)
{
    uint16_t bytes = 0;
    for (;;) {
        const size_t left = r->used - r->taken;
        if (left >= HEAD_BYTES) {
            memcpy(&bytes, r->data + r->taken, sizeof bytes);
            if (left >= HEAD_BYTES + bytes)
                break;
        }
        if (r->at == r->end) {
            r->name.data = NULL;
            return left ? EIO : 0;
        }
        memmove(r->data, r->data + r->taken, left);
        r->used = left;
        r->taken = 0;
        size_t want = sizeof r->data - left;
        if (want > r->end - r->at)
            want = (size_t)(r->end - r->at);
        const ssize_t n = pread(fd, r->data + left, want, (off_t)r->at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? errno : EIO;
        r->used += (size_t)n;
        r->at += (uint64_t)n;
    }
    r->type = r->data[r->taken + 2];
    r->name = (struct tl_text){r->data + r->taken + HEAD_BYTES, bytes};
    r->taken += HEAD_BYTES + bytes;
    return 0;
}

/* Whether run *a* gives its name before run *b*. */
static int earlier(const struct run *a, const struct run *b)
{
    if (a->name.data == NULL || b->name.data == NULL)
        return b->name.data == NULL && a->name.data != NULL;
    return tl_text_order(a->name, b->name) < 0;
}

/* Lets the run at *i* sink in the heap to where it belongs. */
static void sink(struct run **heap, uint32_t count, uint32_t i)
{
    for (;;) {
        uint32_t least = i;
        for (uint32_t below = 2 * i + 1; below <= 2 * i + 2 && below < count; below++)
            if (earlier(heap[below], heap[least]))
                least = below;
        if (least == i)
            return;
        struct run *swap = heap[i];
        heap[i] = heap[least];
        heap[least] = swap;
        i = least;
    }
}

int tl_spill_merge(struct tl_spill *s)
{
    struct run *runs = calloc(s->runs, sizeof *runs);
    struct run **heap = calloc(s->runs, sizeof *heap);
    int error = runs == NULL || heap == NULL ? ENOMEM : 0;
    uint64_t at = s->begin = s->at = s->end[s->runs - 1];
    for (uint32_t i = 0; i < s->runs && !error; i++) {
        runs[i].at = i ? s->end[i - 1] : 0;
        runs[i].end = s->end[i];
        heap[i] = &runs[i];
        error = run_next(s->fd, heap[i]);
    }
    for (uint32_t i = s->runs / 2; i-- && !error;)
        sink(heap, s->runs, i);
    while (!error && heap[0]->name.data != NULL) {
        error = put(s, &at, heap[0]->name, heap[0]->type);
        if (!error)
            error = run_next(s->fd, heap[0]);
        sink(heap, s->runs, 0);
    }
    if (!error)
        error = flush(s, &at);
    s->stop = at;
    free(runs);
    free(heap);
    return error;
}

int tl_spill_read(struct tl_spill *s, struct tl_listing *l, uint32_t names_max)
{
    for (uint32_t names = 0; names < names_max;) {
        const size_t left = s->buffer.used - s->taken;
        uint16_t bytes = 0;
        if (left >= HEAD_BYTES)
            memcpy(&bytes, s->buffer.data + s->taken, sizeof bytes);
        if (left >= HEAD_BYTES && left >= HEAD_BYTES + bytes) {
            const uint8_t *head = s->buffer.data + s->taken;
            if (tl_listing_add(l, (struct tl_text){head + HEAD_BYTES, bytes}, head[2]) == NULL)
                return ENOMEM;
            s->taken += HEAD_BYTES + bytes;
            names++;
            continue;
        }
        if (s->at == s->stop)
            return left ? EIO : 0;
        if (left)
            memmove(s->buffer.data, s->buffer.data + s->taken, left);
        s->buffer.used = left;
        s->taken = 0;
        size_t want = s->stop - s->at < BUFFER_BYTES ? (size_t)(s->stop - s->at) : BUFFER_BYTES;
        uint8_t *to = tl_bytes_room(&s->buffer, want);
        const ssize_t n = to == NULL ? -1 : pread(s->fd, to, want, (off_t)s->at);
        if (n <= 0)
            return to == NULL ? ENOMEM : n < 0 ? errno : EIO;
        s->buffer.used += (size_t)n;
        s->at += (uint64_t)n;
    }
    return 0;
}

void tl_spill_rewind(struct tl_spill *s)
{
    s->at = s->begin;
    s->taken = s->buffer.used = 0;
}

void tl_spill_close(struct tl_spill *s)
{
    if (s->end != NULL)
        close(s->fd);
    free(s->end);
    tl_bytes_free(&s->buffer);
    *s = (struct tl_spill){0};
}
