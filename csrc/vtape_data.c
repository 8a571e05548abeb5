#include "vtape_data.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/stat.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define DETOUR_BYTES (256u * 1024u)
#define BOUNCE_BYTES (TL_VTAPE_BATCH * TL_PAGE)

uint32_t tl_data_direct_align(int fd)
{
#ifdef STATX_DIOALIGN
    struct statx sx;

    if (syscall(SYS_statx, fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &sx) == 0 && (sx.stx_mask & STATX_DIOALIGN)) {
        if (sx.stx_dio_offset_align == 0 || sx.stx_dio_offset_align > TL_PAGE || sx.stx_dio_mem_align > TL_PAGE)
            return 0;
        return sx.stx_dio_mem_align;
    }
#else
    (void)fd;
#endif
    return TL_PAGE; /* the kernel does not say: a page is enough everywhere */
}

int tl_data_init(struct tl_data *data)
{
    void *memory = aligned_alloc(TL_PAGE, BOUNCE_BYTES + DETOUR_BYTES);

    if (!memory)
        return ENOMEM;
    *data = (struct tl_data){.fd = -1, .bounce = memory, .detour = (uint8_t *)memory + BOUNCE_BYTES};
    return 0;
}

void tl_data_free(struct tl_data *data)
{
    free(data->bounce);
    data->bounce = NULL;
}

/* Moves all of iov, which is spent on the way. Returns 0 or an errno; *moved: bytes that came through. */
static int transfer(int fd, struct iovec *iov, uint32_t n, uint64_t at, bool put, uint64_t *moved)
{
    *moved = 0;
    while (n > 0) {
        off_t offset = (off_t)(at + *moved);
        ssize_t got = put ? pwritev(fd, iov, (int)n, offset) : preadv(fd, iov, (int)n, offset);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got < 0 ? errno : EIO; /* 0: the file ends before the index does */
        *moved += (uint64_t)got;
        for (; n > 0 && (size_t)got >= iov->iov_len; n--, iov++)
            got -= (ssize_t)iov->iov_len;
        if (n > 0) {
            iov->iov_base = (uint8_t *)iov->iov_base + got;
            iov->iov_len -= (size_t)got;
        }
    }
    return 0;
}

static bool aligned(const struct tl_data *data, const struct tl_vec *v)
{
    return ((uintptr_t)v->data & (data->memory_align - 1)) == 0;
}

/* One block by way of our own memory, piece by piece. */
static int detour(struct tl_data *data, uint8_t *block, uint32_t bytes, uint64_t at, bool put)
{
    for (uint32_t gone = 0; gone < bytes; gone += DETOUR_BYTES) {
        uint32_t piece = bytes - gone < DETOUR_BYTES ? bytes - gone : DETOUR_BYTES;
        struct iovec iov = {data->detour, tl_pages(piece)};
        uint64_t moved;
        int error;

        if (put) {
            memcpy(data->detour, block + gone, piece);
            memset(data->detour + piece, 0, iov.iov_len - piece);
        }
        error = transfer(data->fd, &iov, 1, at + gone, put, &moved);
        if (error)
            return error;
        if (!put)
            memcpy(block + gone, data->detour, piece);
    }
    return 0;
}

/* The pieces of one aligned block: its whole pages where they are, and its end in a page of ours, unless `whole` says
 * that the last page may be touched to its end. */
static uint32_t pieces(struct iovec *iov, void *block, uint32_t bytes, void *page, bool whole)
{
    uint32_t straight = whole ? (uint32_t)tl_pages(bytes) : bytes / TL_PAGE * TL_PAGE;
    uint32_t n = 0;

    if (straight > 0)
        iov[n++] = (struct iovec){block, straight};
    if (straight < bytes)
        iov[n++] = (struct iovec){page, TL_PAGE};
    return n;
}

/* How many of the blocks, `bytes` long, are complete after so many bytes. */
static uint32_t complete(const struct tl_vec *v, const uint32_t *lengths, uint32_t n, uint64_t moved)
{
    uint32_t i = 0;

    for (; i < n; i++) {
        uint64_t bytes = tl_pages(lengths ? lengths[i] : v[i].bytes);

        if (bytes > moved)
            break;
        moved -= bytes;
    }
    return i;
}

int tl_data_put(struct tl_data *data, const struct tl_vec *v, uint32_t n, uint64_t at, uint32_t *done)
{
    struct iovec iov[2 * TL_VTAPE_BATCH];

    *done = 0;
    while (*done < n) {
        uint32_t first = *done, next = first, used = 0, whole;
        uint64_t moved;
        int error;

        for (; next < n && aligned(data, &v[next]); next++) {
            uint32_t bytes = v[next].bytes, tail = bytes % TL_PAGE;
            uint8_t *page = data->bounce + (next - first) * TL_PAGE;

            memcpy(page, (const uint8_t *)v[next].data + (bytes - tail), tail);
            memset(page + tail, 0, TL_PAGE - tail);
            used += pieces(iov + used, v[next].data, bytes, page, false);
        }
        if (next == first) {
            error = detour(data, v[first].data, v[first].bytes, at, true);
            whole = error ? 0 : 1;
        } else {
            error = transfer(data->fd, iov, used, at, true, &moved);
            whole = complete(v + first, NULL, next - first, moved);
        }
        for (uint32_t i = 0; i < whole; i++)
            at += tl_pages(v[first + i].bytes);
        *done += whole;
        if (error)
            return error;
    }
    return 0;
}

int tl_data_get(struct tl_data *data, struct tl_vec *v, const uint32_t *bytes, uint32_t n, uint64_t at, uint32_t *done)
{
    struct iovec iov[2 * TL_VTAPE_BATCH];

    *done = 0;
    while (*done < n) {
        uint32_t first = *done, next = first, used = 0, whole;
        uint64_t moved;
        int error;

        for (; next < n && aligned(data, &v[next]); next++)
            used += pieces(iov + used, v[next].data, bytes[next], data->bounce + (next - first) * TL_PAGE,
                           v[next].room >= tl_pages(bytes[next]));
        if (next == first) {
            error = detour(data, v[first].data, bytes[first], at, false);
            whole = error ? 0 : 1;
        } else {
            error = transfer(data->fd, iov, used, at, false, &moved);
            whole = complete(NULL, bytes + first, next - first, moved);
        }
        for (uint32_t i = first; i < first + whole; i++) {
            uint32_t tail = bytes[i] % TL_PAGE;

            if (next > first && v[i].room < tl_pages(bytes[i]))
                memcpy((uint8_t *)v[i].data + (bytes[i] - tail), data->bounce + (i - first) * TL_PAGE, tail);
            v[i].bytes = bytes[i];
            at += tl_pages(bytes[i]);
        }
        *done += whole;
        if (error)
            return error;
    }
    return 0;
}
