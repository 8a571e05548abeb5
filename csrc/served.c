/* The serving side of csrc/aside.h. */

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "aside.h"

struct region {
    uint8_t *base;
    uint64_t bytes; /* 0: not mapped */
};

struct tl_served {
    struct tl_aside_page *page;
    int request_fd, answer_fd;
    struct region region[TL_ASIDE_REGIONS];
    struct region bounce;
};

/* The vectors of a request with addresses of this process. 0: one of them lies outside of its region. */
static int translate(const struct tl_served *s, uint32_t n, struct tl_vec *v)
{
    if (n > TL_ASIDE_VECS)
        return 0;
    for (uint32_t i = 0; i < n; i++) {
        const struct tl_aside_vec from = s->page->vec[i];
        if (from.region != TL_ASIDE_BOUNCED && from.region >= TL_ASIDE_REGIONS)
            return 0;
        const struct region *r = from.region == TL_ASIDE_BOUNCED ? &s->bounce : &s->region[from.region];
        const uint32_t most = from.room > from.bytes ? from.room : from.bytes;
        if (from.offset > r->bytes || most > r->bytes - from.offset)
            return 0;
        v[i] = (struct tl_vec){r->base + from.offset, from.bytes, from.room};
    }
    return 1;
}

static int write_blocks(const struct tl_served *s, const struct tl_device_ops *ops, void *dev)
{
    struct tl_vec v[TL_ASIDE_VECS];
    const uint32_t n = s->page->n;
    uint32_t done = 0;
    const int status = translate(s, n, v) ? ops->write(dev, v, n, &done) : TL_ERR_INVALID;
    s->page->done = done;
    return status;
}

static int read_blocks(const struct tl_served *s, const struct tl_device_ops *ops, void *dev)
{
    struct tl_vec v[TL_ASIDE_VECS];
    const uint32_t n = s->page->n;
    uint32_t done = 0;
    const int status = translate(s, n, v) ? ops->read(dev, v, n, &done) : TL_ERR_INVALID;
    for (uint32_t i = 0; i < done; i++)
        s->page->vec[i].bytes = v[i].bytes;
    s->page->done = done;
    return status;
}

static int control(const struct tl_served *s, const struct tl_device_ops *ops, void *dev)
{
    const uint32_t bytes = s->page->n;
    if (!ops->control)
        return TL_ERR_UNSUPPORTED;
    return bytes > TL_ASIDE_CONTROL_BYTES_MAX ? TL_ERR_INVALID : ops->control(dev, s->page->op, s->bounce.base, bytes);
}

static int answer(const struct tl_served *s, const struct tl_device_ops *ops, void *dev)
{
    const int64_t number = s->page->number;
    switch (s->page->call) {
    case TL_ASIDE_WRITE: return write_blocks(s, ops, dev);
    case TL_ASIDE_WRITE_FILEMARKS: return ops->write_filemarks(dev, (uint32_t)number);
    case TL_ASIDE_READ: return read_blocks(s, ops, dev);
    case TL_ASIDE_REWIND: return ops->rewind(dev);
    case TL_ASIDE_LOCATE: return ops->locate(dev, (uint64_t)number);
    case TL_ASIDE_TO_END_OF_DATA: return ops->to_end_of_data(dev);
    case TL_ASIDE_SPACE_FILEMARKS: return ops->space_filemarks(dev, number);
    case TL_ASIDE_SPACE_BLOCKS: return ops->space_blocks(dev, number);
    case TL_ASIDE_POSITION: return ops->position(dev, &s->page->position);
    case TL_ASIDE_CONTROL: return control(s, ops, dev);
    default: return TL_ERR_INVALID;
    }
}

struct tl_served *tl_served_new(int memory_fd, int request_fd, int answer_fd)
{
    void *memory = mmap(NULL, TL_ASIDE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, memory_fd, 0);
    struct tl_served *s;
    if (memory == MAP_FAILED)
        return NULL;
    s = calloc(1, sizeof *s);
    if (!s) {
        munmap(memory, TL_ASIDE_BYTES);
        errno = ENOMEM;
        return NULL;
    }
    s->page = memory;
    s->bounce = (struct region){(uint8_t *)memory + TL_ASIDE_HEAD_BYTES, TL_ASIDE_BOUNCE_BYTES};
    s->request_fd = request_fd;
    s->answer_fd = answer_fd;
    return s;
}

int tl_served_map(struct tl_served *s, int fd, uint64_t offset, uint64_t bytes)
{
    for (uint32_t i = 0; i < TL_ASIDE_REGIONS; i++) {
        if (s->region[i].bytes)
            continue;
        void *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)offset);
        if (base == MAP_FAILED)
            return -1 - errno;
#ifdef MADV_POPULATE_WRITE
        /* Its pages are there already: so that none has to be looked up when a block is on its way. A kernel that does not
         * know the word looks them up then. */
        (void)madvise(base, bytes, MADV_POPULATE_WRITE);
#endif
        s->region[i] = (struct region){base, bytes};
        return (int)i;
    }
    return -1 - ENOSPC;
}

void tl_served_unmap(struct tl_served *s, uint32_t region)
{
    if (region < TL_ASIDE_REGIONS && s->region[region].bytes) {
        munmap(s->region[region].base, s->region[region].bytes);
        s->region[region].bytes = 0;
    }
}

int tl_served_run(struct tl_served *s, const struct tl_device_ops *ops, void *dev)
{
    const uint64_t one = 1;
    struct tl_aside_page *p = s->page;
    for (uint64_t told;;) {
        if (read(s->request_fd, &told, sizeof told) != sizeof told) {
            if (errno == EINTR)
                continue;
            return errno;
        }
        const uint32_t asked = atomic_load(&p->asked);
        p->status = answer(s, ops, dev);
        p->error = ops->last_errno(dev);
        atomic_store(&p->answered, asked);
        if (write(s->answer_fd, &one, sizeof one) != sizeof one)
            return errno;
    }
}
