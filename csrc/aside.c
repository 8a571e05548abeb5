#include "aside.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "wait.h"

#define PAGE 4096u

struct region {
    uint8_t *base;
    uint64_t bytes; /* 0: not mapped */
};

struct tl_aside {
    struct tl_device_ops ops;
    struct tl_aside_page *page;
    uint8_t *bounce;
    int request_fd, answer_fd, process_fd;
    uint32_t block_bytes_max;
    struct region region[TL_ASIDE_REGIONS];
    bool in_regions; /* the request has blocks in memory that is not the aside's own */
    int error;       /* of the last call */
    bool ended;      /* the process has ended, or is not waited for */
    _Atomic uint32_t abandoned;
    _Atomic uint32_t call;
    _Atomic int64_t since_ns;
    _Atomic uint64_t calls, bounced_bytes;
};

static int failed(struct tl_aside *a)
{
    a->ended = true;
    a->error = EIO;
    return TL_ERR_IO;
}

static bool is_answered(const struct tl_aside *a)
{
    return atomic_load(&a->page->answered) == atomic_load_explicit(&a->page->asked, memory_order_relaxed);
}

/* Until there is an answer, or none is to come. True: there is one. */
static bool wait_answer(struct tl_aside *a)
{
    struct pollfd fds[2] = {{a->process_fd, POLLIN, 0}, {a->answer_fd, POLLIN, 0}};
    for (;;) {
        if (is_answered(a))
            return true;
        if (fds[0].revents) /* learnt before the answer was looked for: none will come */
            return false;
        const bool abandoned = atomic_load(&a->abandoned);
        if (abandoned && !a->in_regions)
            return false;
        /* Once abandoned, answer_fd has said all that it will: what counts is that the process is gone. */
        if (poll(fds, abandoned ? 1 : 2, -1) < 0 && errno != EINTR)
            return false;
        if (fds[1].revents && !atomic_load(&a->abandoned)) {
            uint64_t told;
            (void)!read(a->answer_fd, &told, sizeof told);
        }
    }
}

/* One request, laid down in the page. Its outcome stands there when this is not TL_ERR_IO for want of an answer. */
static int ask(struct tl_aside *a, enum tl_aside_call call)
{
    const uint64_t one = 1;
    struct tl_aside_page *p = a->page;
    if (a->ended || atomic_load(&a->abandoned))
        return failed(a);
    p->call = call;
    atomic_store(&a->since_ns, tl_now_ns());
    atomic_store(&a->call, call);
    atomic_fetch_add_explicit(&a->calls, 1, memory_order_relaxed);
    atomic_fetch_add(&p->asked, 1);
    const bool answered = write(a->request_fd, &one, sizeof one) == sizeof one && wait_answer(a);
    atomic_store(&a->call, TL_ASIDE_NOTHING);
    if (!answered)
        return failed(a);
    a->error = p->error;
    return p->status;
}

static int ask_number(struct tl_aside *a, enum tl_aside_call call, int64_t number)
{
    a->page->number = number;
    a->in_regions = false;
    return ask(a, call);
}

/* Where the serving side finds these bytes: in a region, or else at *used of the bounce memory. False: no room there. */
static bool place(const struct tl_aside *a, const struct tl_vec *v, uint32_t *used, struct tl_aside_vec *out)
{
    const uintptr_t at = (uintptr_t)v->data;
    const uint32_t room = v->room > v->bytes ? v->room : v->bytes;
    for (uint32_t i = 0; i < TL_ASIDE_REGIONS; i++) {
        const struct region *r = &a->region[i];
        const uint64_t offset = at - (uintptr_t)r->base;
        if (r->bytes && at >= (uintptr_t)r->base && offset < r->bytes && r->bytes - offset >= room) {
            *out = (struct tl_aside_vec){offset, i, v->bytes, v->room};
            return true;
        }
    }
    const uint32_t left = TL_ASIDE_BOUNCE_BYTES - *used;
    if (v->bytes > left)
        return false;
    const uint32_t pages = (v->bytes + PAGE - 1) / PAGE * PAGE; /* a multiple of it is left */
    *out = (struct tl_aside_vec){*used, TL_ASIDE_BOUNCED, v->bytes, pages};
    *used += pages;
    return true;
}

/* Lays down as many of n vectors as one request takes, at least one: none is longer than the bounce memory. */
static uint32_t lay_down(struct tl_aside *a, const struct tl_vec *v, uint32_t n, bool copies)
{
    uint32_t used = 0, i = 0;
    a->in_regions = false;
    for (; i < n && i < TL_ASIDE_VECS; i++) {
        struct tl_aside_vec *to = &a->page->vec[i];
        if (!place(a, &v[i], &used, to))
            break;
        if (to->region != TL_ASIDE_BOUNCED)
            a->in_regions = true;
        else if (copies) {
            memcpy(a->bounce + to->offset, v[i].data, v[i].bytes);
            atomic_fetch_add_explicit(&a->bounced_bytes, v[i].bytes, memory_order_relaxed);
        }
    }
    a->page->n = i;
    return i;
}

static int aside_write(void *dev, const struct tl_vec *v, uint32_t n, uint32_t *done)
{
    struct tl_aside *a = dev;
    int status = TL_OK;
    *done = 0;
    for (uint32_t i = 0; i < n; i++)
        if (v[i].bytes == 0 || v[i].bytes > a->block_bytes_max) {
            a->error = 0;
            return TL_ERR_BLOCK_SIZE;
        }
    while (status == TL_OK && *done < n) {
        const uint32_t laid = lay_down(a, v + *done, n - *done, true);
        status = ask(a, TL_ASIDE_WRITE);
        if (a->ended)
            return status;
        const uint32_t put = a->page->done;
        if (put > laid)
            return failed(a);
        *done += put;
        if (put < laid)
            break;
    }
    return status;
}

/* Takes over what came for one vector. False: an answer that makes no sense. */
static bool take(struct tl_aside *a, struct tl_vec *v, const struct tl_aside_vec *from)
{
    const uint32_t came = from->bytes;
    if (came > v->bytes)
        return false;
    if (from->region == TL_ASIDE_BOUNCED) {
        memcpy(v->data, a->bounce + from->offset, came);
        atomic_fetch_add_explicit(&a->bounced_bytes, came, memory_order_relaxed);
    }
    v->bytes = came;
    return true;
}

static int aside_read(void *dev, struct tl_vec *v, uint32_t n, uint32_t *done)
{
    struct tl_aside *a = dev;
    int status = TL_OK;
    *done = 0;
    while (status == TL_OK && *done < n) {
        struct tl_vec first = v[*done]; /* of a longer room than any block needs only that much is told */
        const bool clipped = first.bytes > TL_ASIDE_BOUNCE_BYTES;
        if (clipped)
            first.bytes = first.room = TL_ASIDE_BOUNCE_BYTES;
        const uint32_t laid = lay_down(a, clipped ? &first : v + *done, clipped ? 1 : n - *done, false);
        status = ask(a, TL_ASIDE_READ);
        if (a->ended)
            return status;
        const uint32_t came = a->page->done;
        if (came > laid)
            return failed(a);
        for (uint32_t i = 0; i < came; i++)
            if (!take(a, &v[*done + i], &a->page->vec[i]))
                return failed(a);
        *done += came;
        if (came < laid)
            break;
    }
    return status;
}

static int aside_write_filemarks(void *dev, uint32_t count)
{
    return ask_number(dev, TL_ASIDE_WRITE_FILEMARKS, count);
}

static int aside_rewind(void *dev)
{
    return ask_number(dev, TL_ASIDE_REWIND, 0);
}

static int aside_locate(void *dev, uint64_t position)
{
    return ask_number(dev, TL_ASIDE_LOCATE, (int64_t)position);
}

static int aside_to_end_of_data(void *dev)
{
    return ask_number(dev, TL_ASIDE_TO_END_OF_DATA, 0);
}

static int aside_space_filemarks(void *dev, int64_t count)
{
    return ask_number(dev, TL_ASIDE_SPACE_FILEMARKS, count);
}

static int aside_space_blocks(void *dev, int64_t count)
{
    return ask_number(dev, TL_ASIDE_SPACE_BLOCKS, count);
}

static int aside_position(void *dev, struct tl_position *out)
{
    struct tl_aside *a = dev;
    const int status = ask_number(a, TL_ASIDE_POSITION, 0);
    if (!a->ended)
        *out = a->page->position;
    return status;
}

static int aside_last_errno(void *dev)
{
    const struct tl_aside *a = dev;
    return a->error;
}

static int aside_control(void *dev, uint32_t op, void *arg, uint32_t arg_bytes)
{
    struct tl_aside *a = dev;
    if (arg_bytes > TL_ASIDE_CONTROL_BYTES_MAX) {
        a->error = E2BIG;
        return TL_ERR_INVALID;
    }
    if (arg_bytes)
        memcpy(a->bounce, arg, arg_bytes);
    a->page->op = op;
    a->page->n = arg_bytes;
    a->in_regions = false;
    const int status = ask(a, TL_ASIDE_CONTROL);
    if (!a->ended && arg_bytes)
        memcpy(arg, a->bounce, arg_bytes);
    return status;
}

struct tl_aside *tl_aside_new(int memory_fd, int request_fd, int answer_fd, int process_fd, uint32_t batch_max,
                              uint32_t block_bytes_max)
{
    void *memory = mmap(NULL, TL_ASIDE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, memory_fd, 0);
    if (memory == MAP_FAILED)
        return NULL;
    struct tl_aside *a = calloc(1, sizeof *a);
    if (!a) {
        munmap(memory, TL_ASIDE_BYTES);
        errno = ENOMEM;
        return NULL;
    }
    a->page = memory;
    a->page->abi = TL_ASIDE_ABI;
    a->bounce = (uint8_t *)memory + TL_ASIDE_HEAD_BYTES;
    a->request_fd = request_fd;
    a->answer_fd = answer_fd;
    a->process_fd = process_fd;
    a->block_bytes_max = block_bytes_max < TL_ASIDE_BOUNCE_BYTES ? block_bytes_max : TL_ASIDE_BOUNCE_BYTES;
    a->ops = (struct tl_device_ops){
        .abi = TL_DEVICE_ABI,
        .batch_max = batch_max,
        .write = aside_write,
        .write_filemarks = aside_write_filemarks,
        .read = aside_read,
        .rewind = aside_rewind,
        .locate = aside_locate,
        .to_end_of_data = aside_to_end_of_data,
        .space_filemarks = aside_space_filemarks,
        .space_blocks = aside_space_blocks,
        .position = aside_position,
        .last_errno = aside_last_errno,
        .control = aside_control,
    };
    return a;
}

void tl_aside_free(struct tl_aside *a)
{
    munmap(a->page, TL_ASIDE_BYTES);
    free(a);
}

const struct tl_device_ops *tl_aside_ops(const struct tl_aside *a)
{
    return &a->ops;
}

int tl_aside_map(struct tl_aside *a, uint32_t region, void *base, uint64_t bytes)
{
    if (region >= TL_ASIDE_REGIONS || bytes == 0)
        return TL_ERR_INVALID;
    a->region[region] = (struct region){base, bytes};
    return TL_OK;
}

void tl_aside_forget(struct tl_aside *a, uint32_t region)
{
    a->region[region].bytes = 0;
}

void tl_aside_abandon(struct tl_aside *a)
{
    const uint64_t one = 1;
    atomic_store(&a->abandoned, 1);
    (void)!write(a->answer_fd, &one, sizeof one);
}

int tl_aside_gone(const struct tl_aside *a, uint32_t milliseconds)
{
    struct pollfd process = {a->process_fd, POLLIN, 0};
    const int64_t until = tl_now_ns() + (int64_t)milliseconds * 1000000;
    for (;;) {
        const int64_t left = until - tl_now_ns();
        const int n = poll(&process, 1, left > 0 ? (int)((left + 999999) / 1000000) : 0);
        if (n >= 0 || errno != EINTR)
            return n > 0;
    }
}

uint32_t tl_aside_in_call(const struct tl_aside *a, int64_t *since_ns)
{
    *since_ns = atomic_load(&a->since_ns);
    return atomic_load(&a->call);
}

void tl_aside_counts(const struct tl_aside *a, uint64_t *calls, uint64_t *bounced_bytes)
{
    *calls = atomic_load_explicit(&a->calls, memory_order_relaxed);
    *bounced_bytes = atomic_load_explicit(&a->bounced_bytes, memory_order_relaxed);
}
