#include "paxhead.h"

#include <stdio.h>
#include <sys/sysmacros.h>

#define NAME_BYTES 100u
#define OWNER_BYTES 32u
#define NUMBER_MAX 07777777u
#define LARGE_MAX 077777777777u

/* The old header, POSIX.1-1988. */
struct block {
    char name[NAME_BYTES], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], kind, link[NAME_BYTES], magic[8],
        user[OWNER_BYTES], group[OWNER_BYTES], major[8], minor[8], rest[167];
};
_Static_assert(sizeof(struct block) == TL_PAX_BLOCK, "a header has one block");

static void octal(char *to, unsigned digits, uint64_t number)
{
    to[digits] = 0;
    while (digits--) {
        to[digits] = (char)('0' + (number & 7));
        number >>= 3;
    }
}

static size_t digits_of(size_t number)
{
    size_t digits = 1;
    while (number >= 10) {
        number /= 10;
        digits++;
    }
    return digits;
}

int tl_pax_record(struct tl_bytes *out, const char *key, size_t key_bytes, const void *value, size_t value_bytes)
{
    const size_t rest = key_bytes + value_bytes + 3;
    size_t total = rest + digits_of(rest);
    total = rest + digits_of(total);
    uint8_t *to = tl_bytes_room(out, total + 1); /* one more for the zero of snprintf */
    if (to == NULL)
        return 0;
    to += snprintf((char *)to, 24, "%zu ", total);
    memcpy(to, key, key_bytes);
    to[key_bytes] = '=';
    memcpy(to + key_bytes + 1, value, value_bytes);
    to[key_bytes + 1 + value_bytes] = '\n';
    out->used += total;
    return 1;
}

static int text_record(struct tl_bytes *out, const char *key, struct tl_text value)
{
    return tl_pax_record(out, key, strlen(key), value.data, value.bytes);
}

static int number_record(struct tl_bytes *out, const char *key, uint64_t number)
{
    char text[24];
    const int bytes = snprintf(text, sizeof text, "%llu", (unsigned long long)number);
    return tl_pax_record(out, key, strlen(key), text, (size_t)bytes);
}

static int time_record(struct tl_bytes *out, const struct timespec *stamp)
{
    const int before = stamp->tv_sec < 0;
    uint64_t seconds = before ? -(uint64_t)stamp->tv_sec : (uint64_t)stamp->tv_sec;
    uint64_t fraction = (uint64_t)stamp->tv_nsec;
    if (before && fraction) {
        seconds--;
        fraction = 1000000000 - fraction;
    }
    char text[40];
    const int bytes = snprintf(text, sizeof text, "%s%llu.%09llu", before ? "-" : "", (unsigned long long)seconds,
                               (unsigned long long)fraction);
    return tl_pax_record(out, "mtime", 5, text, (size_t)bytes);
}

static int is_ascii(struct tl_text text)
{
    uint8_t all = 0;
    for (size_t i = 0; i < text.bytes; i++)
        all |= text.data[i];
    return all < 0x80;
}

static void finish(struct block *b, enum tl_pax_kind kind)
{
    b->kind = (char)kind;
    memcpy(b->magic, "ustar\00000", 8);
    memset(b->checksum, ' ', sizeof b->checksum);
    unsigned sum = 0;
    for (size_t i = 0; i < sizeof *b; i++)
        sum += ((const uint8_t *)b)[i];
    octal(b->checksum, 6, sum);
}

static void put(char *to, size_t room, struct tl_text text)
{
    if (text.bytes)
        memcpy(to, text.data, text.bytes < room ? text.bytes : room);
}

/* Turns the records that stand in *out* behind *head*, where a block is kept free for it, into an entry of their own. */
static int close_records(struct tl_bytes *out, size_t head)
{
    const size_t bytes = out->used - head - TL_PAX_BLOCK;
    const size_t padding = tl_pax_padding(bytes);
    uint8_t *to = tl_bytes_room(out, padding);
    if (to == NULL)
        return 0;
    memset(to, 0, padding);
    out->used += padding;
    struct block *b = (struct block *)(out->data + head);
    memset(b, 0, sizeof *b);
    memcpy(b->name, "PaxHeaders", 10);
    octal(b->mode, 7, 0644);
    octal(b->uid, 7, 0);
    octal(b->gid, 7, 0);
    octal(b->size, 11, bytes);
    octal(b->mtime, 11, 0);
    octal(b->major, 7, 0);
    octal(b->minor, 7, 0);
    finish(b, 'x');
    return 1;
}

/* What the old header can hold of an entry goes into *b*, the rest into records behind *out*. */
static int fill(struct tl_bytes *out, struct block *b, const struct tl_pax_entry *e)
{
    const struct stat *s = e->status;
    int ok = tl_bytes_add(out, e->records.data, e->records.bytes);
    if (e->path.bytes > NAME_BYTES || !is_ascii(e->path))
        ok &= text_record(out, "path", e->path);
    put(b->name, NAME_BYTES, e->path);
    if (e->link.bytes > NAME_BYTES || !is_ascii(e->link))
        ok &= text_record(out, "linkpath", e->link);
    put(b->link, NAME_BYTES, e->link);
    octal(b->mode, 7, s->st_mode & 07777);
    if (s->st_uid > NUMBER_MAX)
        ok &= number_record(out, "uid", s->st_uid);
    octal(b->uid, 7, s->st_uid > NUMBER_MAX ? 0 : s->st_uid);
    if (s->st_gid > NUMBER_MAX)
        ok &= number_record(out, "gid", s->st_gid);
    octal(b->gid, 7, s->st_gid > NUMBER_MAX ? 0 : s->st_gid);
    if (e->size > LARGE_MAX)
        ok &= number_record(out, "size", e->size);
    octal(b->size, 11, e->size > LARGE_MAX ? 0 : e->size);
    const int fits = s->st_mtim.tv_sec >= 0 && (uint64_t)s->st_mtim.tv_sec <= LARGE_MAX;
    if (s->st_mtim.tv_nsec || !fits)
        ok &= time_record(out, &s->st_mtim);
    octal(b->mtime, 11, fits ? (uint64_t)s->st_mtim.tv_sec : 0);
    if (e->user.bytes >= OWNER_BYTES || !is_ascii(e->user))
        ok &= text_record(out, "uname", e->user);
    else
        put(b->user, OWNER_BYTES, e->user);
    if (e->group.bytes >= OWNER_BYTES || !is_ascii(e->group))
        ok &= text_record(out, "gname", e->group);
    else
        put(b->group, OWNER_BYTES, e->group);
    const int device = e->kind == TL_PAX_CHARACTER || e->kind == TL_PAX_DEVICE;
    octal(b->major, 7, device ? major(s->st_rdev) : 0);
    octal(b->minor, 7, device ? minor(s->st_rdev) : 0);
    if (e->listing.data != NULL)
        ok &= text_record(out, "GNU.dumpdir", e->listing);
    return ok;
}

int tl_pax_header(struct tl_bytes *out, const struct tl_pax_entry *entry)
{
    const size_t head = out->used;
    struct block b;
    memset(&b, 0, sizeof b);
    if (tl_bytes_room(out, 3 * TL_PAX_BLOCK) == NULL)
        return 0;
    out->used += TL_PAX_BLOCK;
    int ok = fill(out, &b, entry);
    if (out->used == head + TL_PAX_BLOCK)
        out->used = head;
    else
        ok = ok && close_records(out, head);
    finish(&b, entry->kind);
    ok = ok && tl_bytes_add(out, &b, sizeof b);
    if (!ok)
        out->used = head;
    return ok;
}
