#include "listing.h"
#include "snapshot.h"

#include <dirent.h>
#include <errno.h>
#include <unistd.h>

void tl_listing_free(struct tl_listing *l)
{
    free(l->name);
    free(l->status);
    tl_bytes_free(&l->text);
    *l = (struct tl_listing){0};
}

struct tl_name *tl_listing_add(struct tl_listing *l, struct tl_text name, uint8_t type)
{
    if (l->count == l->room) {
        const uint32_t room = l->room ? 2 * l->room : 128;
        struct tl_name *names = realloc(l->name, room * sizeof *names);
        if (names == NULL)
            return NULL;
        l->name = names;
        l->room = room;
    }
    if (l->text.used + name.bytes > UINT32_MAX)
        return NULL;
    struct tl_name *added = &l->name[l->count];
    *added = (struct tl_name){.at = (uint32_t)l->text.used, .bytes = (uint16_t)name.bytes, .type = type};
    if (!tl_bytes_add(&l->text, name.data, name.bytes))
        return NULL;
    l->count++;
    return added;
}

int tl_listing_read(struct tl_listing *l, int fd, void *buffer, size_t bytes, uint32_t names_max)
{
    while (l->count < names_max) {
        const ssize_t got = getdents64(fd, buffer, bytes);
        if (got < 0)
            return errno;
        if (got == 0)
            return 0;
        for (ssize_t at = 0; at < got;) {
            const struct dirent64 *entry = (const struct dirent64 *)((const char *)buffer + at);
            const char *name = entry->d_name;
            at += entry->d_reclen;
            if (name[0] == '.' && (name[1] == 0 || (name[1] == '.' && name[2] == 0)))
                continue;
            if (strlen(name) > TL_RECORD_NAME_MAX)
                return ENAMETOOLONG;
            if (tl_listing_add(l, (struct tl_text){(const uint8_t *)name, strlen(name)}, entry->d_type) == NULL)
                return ENOMEM;
        }
    }
    return TL_LISTING_FULL;
}

/* The eight bytes behind those that all names share, as a number that orders as they do. */
static void make_keys(struct tl_listing *l)
{
    const uint8_t *text = l->text.data;
    const struct tl_name *first = &l->name[0];
    uint32_t shared = first->bytes;
    for (uint32_t i = 1; i < l->count && shared; i++) {
        const struct tl_name *n = &l->name[i];
        uint32_t same = 0;
        const uint32_t most = n->bytes < shared ? n->bytes : shared;
        while (same < most && text[n->at + same] == text[first->at + same])
            same++;
        shared = same;
    }
    for (uint32_t i = 0; i < l->count; i++) {
        struct tl_name *n = &l->name[i];
        uint64_t key = 0;
        const uint32_t rest = n->bytes - shared;
        memcpy(&key, text + n->at + shared, rest < 8 ? rest : 8);
        n->key = __builtin_bswap64(key);
    }
}

static inline int after(const uint8_t *text, const struct tl_name *a, const struct tl_name *b)
{
    if (a->key != b->key)
        return a->key > b->key;
    return tl_text_order((struct tl_text){text + a->at, a->bytes}, (struct tl_text){text + b->at, b->bytes}) > 0;
}

#define RUN 12u

int tl_listing_sort(struct tl_listing *l)
{
    if (l->count < 2)
        return 1;
    make_keys(l);
    const uint8_t *text = l->text.data;
    for (uint32_t begin = 0; begin < l->count; begin += RUN) {
        const uint32_t end = l->count - begin < RUN ? l->count : begin + RUN;
        for (uint32_t i = begin + 1; i < end; i++) {
            const struct tl_name moving = l->name[i];
            uint32_t to = i;
            for (; to > begin && after(text, &l->name[to - 1], &moving); to--)
                l->name[to] = l->name[to - 1];
            l->name[to] = moving;
        }
    }
    if (l->count <= RUN)
        return 1;
    struct tl_name *from = l->name, *to = malloc(l->room * sizeof *to);
    if (to == NULL)
        return 0;
    for (uint64_t width = RUN; width < l->count; width *= 2) {
        for (uint64_t begin = 0; begin < l->count; begin += 2 * width) {
            uint64_t left = begin, middle = begin + width < l->count ? begin + width : l->count, right = middle;
            const uint64_t end = begin + 2 * width < l->count ? begin + 2 * width : l->count;
            for (uint64_t i = begin; i < end; i++)
                to[i] = left < middle && (right == end || !after(text, &from[left], &from[right])) ? from[left++]
                                                                                                     : from[right++];
        }
        struct tl_name *swap = from;
        from = to;
        to = swap;
    }
    l->name = from;
    free(to);
    return 1;
}

int64_t tl_listing_find(const struct tl_listing *l, struct tl_text name)
{
    uint32_t low = 0, high = l->count;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        const int order = tl_text_order(tl_name_text(l, middle), name);
        if (order == 0)
            return middle;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return -1;
}
