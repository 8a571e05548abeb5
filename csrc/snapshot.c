#include "snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define BUFFER_BYTES (256u << 10)
#define RECORD_BYTES_MAX (TL_RECORD_NAME_MAX + 96u)
#define LENGTH_BYTES 8u

static uint8_t *put_number(uint8_t *to, uint64_t n)
{
    while (n >= 0x80) {
        *to++ = (uint8_t)(n | 0x80);
        n >>= 7;
    }
    *to++ = (uint8_t)n;
    return to;
}

static uint8_t *put_difference(uint8_t *to, uint64_t n, uint64_t from)
{
    const uint64_t d = n - from;
    return put_number(to, (d << 1) ^ (0 - (d >> 63)));
}

static uint8_t *put_fixed(uint8_t *to, uint32_t n)
{
    memcpy(to, &n, sizeof n);
    return to + sizeof n;
}

int tl_record_add(struct tl_bytes *out, struct tl_record_before *before, enum tl_record_kind kind, struct tl_text name,
                  const struct stat *s, unsigned marks)
{
    if (name.bytes > TL_RECORD_NAME_MAX)
        return 1;
    uint8_t *tag = tl_bytes_room(out, RECORD_BYTES_MAX);
    if (tag == NULL)
        return 0;
    size_t shared = 0;
    const size_t most = before->name_bytes < name.bytes ? before->name_bytes : name.bytes;
    while (shared < most && before->name[shared] == name.data[shared])
        shared++;
    if (before->name_bytes == 0)
        marks |= TL_MARK_FIRST;
    if (s->st_mtim.tv_sec != s->st_ctim.tv_sec || s->st_mtim.tv_nsec != s->st_ctim.tv_nsec)
        marks |= TL_MARK_MTIME;
    if (s->st_mode != before->mode)
        marks |= TL_MARK_MODE;
    *tag = (uint8_t)(kind | marks);
    uint8_t *to = tag + 1;
    if (kind != TL_RECORD_NAME) {
        memset(to, 0, LENGTH_BYTES);
        to += LENGTH_BYTES;
    }
    to = put_number(to, shared);
    to = put_number(to, name.bytes - shared);
    memcpy(to, name.data + shared, name.bytes - shared);
    to += name.bytes - shared;
    to = put_difference(to, s->st_ino, before->inode);
    to = put_difference(to, (uint64_t)s->st_ctim.tv_sec, (uint64_t)before->changed);
    to = put_fixed(to, (uint32_t)s->st_ctim.tv_nsec);
    if (marks & TL_MARK_MTIME) {
        to = put_difference(to, (uint64_t)s->st_mtim.tv_sec, (uint64_t)s->st_ctim.tv_sec);
        to = put_fixed(to, (uint32_t)s->st_mtim.tv_nsec);
    }
    to = put_number(to, (uint64_t)s->st_size);
    if (marks & TL_MARK_MODE)
        to = put_number(to, s->st_mode);
    if (marks & TL_MARK_DEVICE)
        to = put_number(to, s->st_dev);
    out->used += (size_t)(to - tag);
    memcpy(before->name + shared, name.data + shared, name.bytes - shared);
    before->name_bytes = (uint32_t)name.bytes;
    before->inode = s->st_ino;
    before->changed = s->st_ctim.tv_sec;
    before->mode = s->st_mode;
    return 1;
}

void tl_records_open(struct tl_records *r, const uint8_t *begin, const uint8_t *end)
{
    r->at = begin;
    r->end = end;
    tl_record_first(&r->before);
}

/* Each takes a number from *at; NULL in *at says that there was none. */
static uint64_t take_number(const uint8_t **at, const uint8_t *end)
{
    const uint8_t *from = *at;
    if (from != NULL && from < end && *from < 0x80) {
        *at = from + 1;
        return *from;
    }
    uint64_t n = 0;
    for (unsigned shift = 0; from != NULL && from < end && shift < 64; shift += 7) {
        n |= (uint64_t)(*from & 0x7F) << shift;
        if (*from++ < 0x80) {
            *at = from;
            return n;
        }
    }
    *at = NULL;
    return 0;
}

static uint64_t take_difference(const uint8_t **at, const uint8_t *end, uint64_t from)
{
    const uint64_t n = take_number(at, end);
    return from + ((n >> 1) ^ (0 - (n & 1)));
}

static uint64_t take_fixed(const uint8_t **at, const uint8_t *end, size_t bytes)
{
    uint64_t n = 0;
    if (*at == NULL || (size_t)(end - *at) < bytes) {
        *at = NULL;
        return 0;
    }
    memcpy(&n, *at, bytes);
    *at += bytes;
    return n;
}

/* Whether the name of *r*, of which the last *more* bytes are new, can be one in a folder. A root alone may be called ".". */
static int is_name(const struct tl_record *r, const uint8_t *name, size_t bytes, size_t more)
{
    for (const uint8_t *fresh = name + bytes - more; fresh < name + bytes; fresh++)
        if (*fresh == '/' || *fresh == 0)
            return 0;
    if (bytes == 1 && name[0] == '.')
        return r->kind == TL_RECORD_ENTER && (r->marks & TL_MARK_DEVICE);
    return !(bytes == 2 && name[0] == '.' && name[1] == '.');
}

int tl_records_next(struct tl_records *r, struct tl_record *record)
{
    if (r->at >= r->end || (*r->at & TL_RECORD_KIND) == TL_RECORD_LEAVE)
        return 0;
    struct tl_record_before *before = &r->before;
    const uint8_t *at = r->at, *end = r->end;
    record->begin = at;
    record->partly = (*at & TL_RECORD_KIND) == TL_RECORD_PARTLY;
    record->kind = record->partly ? TL_RECORD_ENTER : *at & TL_RECORD_KIND;
    record->marks = *at & ~TL_RECORD_KIND;
    at++;
    if (record->kind != TL_RECORD_NAME && record->kind != TL_RECORD_ENTER)
        return -1;
    if (record->marks & TL_MARK_FIRST)
        tl_records_open(r, at, end);
    const uint64_t inside = record->kind == TL_RECORD_ENTER ? take_fixed(&at, end, LENGTH_BYTES) : 0;
    const uint64_t shared = take_number(&at, end), more = take_number(&at, end);
    if (at == NULL || shared > before->name_bytes || more > TL_RECORD_NAME_MAX - shared || more > (size_t)(end - at) ||
        shared + more == 0)
        return -1;
    memcpy(before->name + shared, at, more);
    at += more;
    before->name_bytes = (uint32_t)(shared + more);
    if (!is_name(record, before->name, before->name_bytes, more))
        return -1;
    before->inode = take_difference(&at, end, before->inode);
    before->changed = (int64_t)take_difference(&at, end, (uint64_t)before->changed);
    record->changed = (struct timespec){before->changed, (long)take_fixed(&at, end, 4)};
    record->modified = record->changed;
    if (record->marks & TL_MARK_MTIME) {
        record->modified.tv_sec = (int64_t)take_difference(&at, end, (uint64_t)before->changed);
        record->modified.tv_nsec = (long)take_fixed(&at, end, 4);
    }
    record->size = take_number(&at, end);
    if (record->marks & TL_MARK_MODE)
        before->mode = (uint32_t)take_number(&at, end);
    record->device = record->marks & TL_MARK_DEVICE ? take_number(&at, end) : 0;
    if (at == NULL || inside > (size_t)(end - at))
        return -1;
    before->name[before->name_bytes] = 0;
    record->name = (struct tl_text){before->name, before->name_bytes};
    record->inode = before->inode;
    record->mode = before->mode;
    record->inside = at;
    record->end = r->at = at + inside;
    return 1;
}

void tl_snapshot_flush(struct tl_snapshot *s)
{
    size_t done = 0;
    while (done < s->buffer.used && !s->error) {
        const ssize_t n = pwrite(s->fd, s->buffer.data + done, s->buffer.used - done, (off_t)(s->at + done));
        if (n < 0 && errno != EINTR)
            s->error = errno;
        else if (n > 0)
            done += (size_t)n;
    }
    s->at += s->buffer.used;
    s->buffer.used = 0;
    if (s->at - s->flushed >= (1u << 20) && !s->error) {
        /* The end of the run waits for the disk: whatever it has by then need not be waited for. */
        sync_file_range(s->fd, (off_t)s->flushed, (off_t)(s->at - s->flushed), SYNC_FILE_RANGE_WRITE);
        s->flushed = s->at;
    }
}

void tl_snapshot_add(struct tl_snapshot *s, const void *data, size_t bytes)
{
    if (s->fd < 0 || s->error)
        return;
    if (s->buffer.used && s->buffer.used + bytes > BUFFER_BYTES)
        tl_snapshot_flush(s);
    if (!tl_bytes_add(&s->buffer, data, bytes))
        s->error = ENOMEM;
    else if (s->buffer.used >= BUFFER_BYTES)
        tl_snapshot_flush(s);
}

void tl_snapshot_patch(struct tl_snapshot *s, uint64_t at, const void *data, size_t bytes)
{
    if (s->fd < 0 || s->error)
        return;
    if (at < s->at + s->buffer.used && at + bytes > s->at && at < s->at)
        tl_snapshot_flush(s);
    if (at >= s->at)
        memcpy(s->buffer.data + (at - s->at), data, bytes);
    else if (pwrite(s->fd, data, bytes, (off_t)at) != (ssize_t)bytes)
        s->error = errno ? errno : ENOSPC;
}
