#include "feed.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

void tl_feed_init(struct tl_feeder *f, const struct tl_view *view, const struct tl_crc32c *crc, uint32_t stream)
{
    *f = (struct tl_feeder){.view = view, .crc = crc, .stream = stream, .slot = TL_NONE};
}

void tl_feed_begin(struct tl_feeder *f, const struct tl_header *header, uint32_t object)
{
    f->header = *header;
    f->header.kind = TL_KIND_OBJECT;
    f->header.codec = TL_CODEC_NONE;
    f->header.seq = 0;
    f->header.offset = 0;
    f->object = object;
    f->filled = 0;
    f->payload_max = f->view->arena->slot_bytes - header->header_bytes;
}

/* Publishes the slot: its payload is there, and its header but for the checksums. */
static enum tl_ring_status hand_over(struct tl_feeder *f)
{
    struct tl_header *h = (struct tl_header *)f->view->slot[f->slot];
    tl_block_seal(f->crc, h);

    struct tl_slot *slot = tl_slot_of(f->view->arena, f->slot);
    slot->bytes = h->header_bytes + h->payload_bytes;
    slot->object = f->object;
    slot->seq = h->seq;
    f->header.seq++;
    f->header.offset += h->sequence_bytes;
    f->filled = 0;
    const uint32_t index = f->slot;
    f->slot = TL_NONE;
    return tl_slot_publish(f->view->arena, f->stream, index);
}

static enum tl_ring_status publish(struct tl_feeder *f, uint16_t flags)
{
    f->header.flags = flags;
    f->header.payload_bytes = f->filled;
    f->header.sequence_bytes = f->filled;
    memcpy(f->view->slot[f->slot], &f->header, sizeof f->header);
    return hand_over(f);
}

static void say(struct tl_header *h, const struct tl_coded *coded)
{
    h->seq = coded->seq;
    h->offset = coded->offset;
    h->payload_bytes = coded->payload_bytes;
    h->sequence_bytes = coded->sequence_bytes;
    h->flags = coded->flags;
    h->codec = coded->codec;
}

void tl_feed_header(const struct tl_feeder *f, const struct tl_coded *coded, void *to)
{
    struct tl_header *h = to;
    /* Another thread may be in tl_feed_coded(): of all this, seq and offset alone move there. */
    const size_t moving = offsetof(struct tl_header, seq), still = offsetof(struct tl_header, as_of);
    memcpy(h, &f->header, moving);
    memcpy((uint8_t *)h + still, (const uint8_t *)&f->header + still, sizeof f->header - still);
    say(h, coded);
    h->header_crc = h->payload_crc = 0;
    tl_block_complete(h);
}

enum tl_ring_status tl_feed_coded(struct tl_feeder *f, const struct tl_coded *coded, const void *payload, int ending)
{
    const enum tl_ring_status status = tl_slot_reserve_wait(f->view->arena, f->stream, ending, &f->slot);
    if (status != TL_RING_OK)
        return status;
    uint8_t *block = f->view->slot[f->slot];
    memcpy(block, &f->header, sizeof f->header);
    say((struct tl_header *)block, coded);
    memcpy(block + f->header.header_bytes, payload, coded->payload_bytes);
    return hand_over(f);
}

enum tl_ring_status tl_feed_room(struct tl_feeder *f, uint8_t **data, uint32_t *bytes)
{
    enum tl_ring_status status = TL_RING_OK;
    if (f->slot != TL_NONE && f->filled == f->payload_max)
        status = publish(f, 0);
    if (status == TL_RING_OK && f->slot == TL_NONE)
        status = tl_slot_reserve_wait(f->view->arena, f->stream, 0, &f->slot);
    if (status != TL_RING_OK)
        return status;
    *data = f->view->slot[f->slot] + f->header.header_bytes + f->filled;
    *bytes = f->payload_max - f->filled;
    return TL_RING_OK;
}

void tl_feed_filled(struct tl_feeder *f, uint32_t bytes)
{
    f->filled += bytes;
}

enum tl_ring_status tl_feed_flush(struct tl_feeder *f)
{
    return f->slot != TL_NONE && f->filled ? publish(f, 0) : TL_RING_OK;
}

enum tl_ring_status tl_feed_slot(struct tl_feeder *f, uint32_t slot, uint32_t bytes)
{
    f->slot = slot;
    f->filled = bytes;
    return publish(f, 0);
}

enum tl_ring_status tl_feed_end(struct tl_feeder *f, uint16_t flags)
{
    if (f->slot == TL_NONE) {
        enum tl_ring_status status = tl_slot_reserve_wait(f->view->arena, f->stream, 1, &f->slot);
        if (status != TL_RING_OK)
            return status;
    }
    return publish(f, TL_FLAG_END | flags);
}

void tl_feed_drop(struct tl_feeder *f)
{
    if (f->slot != TL_NONE)
        tl_slot_return(f->view->arena, f->stream, f->slot);
    f->slot = TL_NONE;
}

enum tl_ring_status tl_feed_bytes(struct tl_feeder *f, const void *data, uint64_t bytes)
{
    const uint8_t *from = data;
    while (bytes) {
        uint8_t *to;
        uint32_t room;
        enum tl_ring_status status = tl_feed_room(f, &to, &room);
        if (status != TL_RING_OK)
            return status;
        if (room > bytes)
            room = (uint32_t)bytes;
        memcpy(to, from, room);
        tl_feed_filled(f, room);
        from += room;
        bytes -= room;
    }
    return TL_RING_OK;
}

enum tl_ring_status tl_feed_zeros(struct tl_feeder *f, uint64_t bytes)
{
    while (bytes) {
        uint8_t *to;
        uint32_t room;
        enum tl_ring_status status = tl_feed_room(f, &to, &room);
        if (status != TL_RING_OK)
            return status;
        if (room > bytes)
            room = (uint32_t)bytes;
        memset(to, 0, room);
        tl_feed_filled(f, room);
        bytes -= room;
    }
    return TL_RING_OK;
}

enum tl_ring_status tl_feed_file(struct tl_feeder *f, int fd, uint64_t offset, uint64_t bytes, uint64_t *got,
                                 int *error)
{
    *got = 0;
    *error = 0;
    while (*got < bytes) {
        uint8_t *to;
        uint32_t room;
        enum tl_ring_status status = tl_feed_room(f, &to, &room);
        if (status != TL_RING_OK)
            return status;
        if (room > bytes - *got)
            room = (uint32_t)(bytes - *got);
        const ssize_t n = pread(fd, to, room, (off_t)(offset + *got));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            *error = errno;
        if (n <= 0)
            return TL_RING_OK;
        tl_feed_filled(f, (uint32_t)n);
        *got += (uint64_t)n;
    }
    return TL_RING_OK;
}

enum tl_ring_status tl_feed_pipe(struct tl_feeder *f, int fd, uint64_t *got, int *error)
{
    *got = 0;
    *error = 0;
    for (;;) {
        /* One byte more than the slot takes: whether this block is the last is known before it is published. */
        uint8_t more;
        struct iovec to[2] = {{NULL, 0}, {&more, 1}};
        if (f->slot == TL_NONE || f->filled < f->payload_max) {
            uint8_t *data;
            uint32_t room;
            const enum tl_ring_status status = tl_feed_room(f, &data, &room);
            if (status != TL_RING_OK)
                return status;
            to[0] = (struct iovec){data, room};
        }
        const ssize_t n = readv(fd, to, 2);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            *error = errno;
        if (n <= 0)
            return TL_RING_OK;
        *got += (uint64_t)n;
        const int over = (size_t)n > to[0].iov_len;
        tl_feed_filled(f, (uint32_t)n - (uint32_t)over);
        if (over) {
            const enum tl_ring_status status = tl_feed_bytes(f, &more, 1);
            if (status != TL_RING_OK)
                return status;
        }
    }
}
