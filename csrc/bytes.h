/* A run of bytes that grows. All zeros is an empty one. */
#ifndef TL_BYTES_H
#define TL_BYTES_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct tl_bytes {
    uint8_t *data;
    size_t used, room;
};

/* Room for *more* bytes behind those used, which the caller fills and counts. NULL: no memory, nothing has changed. */
static inline uint8_t *tl_bytes_room(struct tl_bytes *b, size_t more)
{
    if (b->room - b->used < more || b->data == NULL) {
        size_t room = b->room + b->room / 2;
        if (room < b->used + more)
            room = b->used + more;
        room = (room + 255) & ~(size_t)255;
        uint8_t *data = realloc(b->data, room);
        if (data == NULL)
            return NULL;
        b->data = data;
        b->room = room;
    }
    return b->data + b->used;
}

/* Adds *bytes* bytes. Returns whether there was memory for them. */
static inline int tl_bytes_add(struct tl_bytes *b, const void *data, size_t bytes)
{
    uint8_t *to = tl_bytes_room(b, bytes);
    if (to == NULL)
        return 0;
    if (bytes)
        memcpy(to, data, bytes);
    b->used += bytes;
    return 1;
}

static inline void tl_bytes_free(struct tl_bytes *b)
{
    free(b->data);
    *b = (struct tl_bytes){0};
}

/* Bytes that lie elsewhere. */
struct tl_text {
    const uint8_t *data;
    size_t bytes;
};

#endif
