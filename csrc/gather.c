/* Taking the names of a range: small files with their content, as long as nothing about them is out of the ordinary. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "attributes.h"
#include "paxhead.h"
#include "walk.h"

#define FILE_FLAGS (O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)
#define LINK_BYTES_MAX 4096u
#define SECOND 1000000000ll
#define COARSE_NS (2 * SECOND)     /* the coarsest stamps that file systems have */
#define SKEW_NS (60 * SECOND)      /* a server's clock may be ahead of ours by so much */

struct gathering {
    struct tl_worker *worker;
    struct tl_walk *walk;
    struct tl_chunk *chunk;
    const struct tl_listing *listing;
    size_t folder_bytes; /* of the folder's path in worker->path */
    int parent;
};

void tl_now(struct timespec *now)
{
    clock_gettime(CLOCK_REALTIME_COARSE, now); /* the clock that files are stamped by */
}

/* How long before *b* the time *a* was. */
static int64_t nanoseconds_before(const struct timespec *a, const struct timespec *b)
{
    const int64_t seconds = b->tv_sec - a->tv_sec;
    if (seconds > SECOND)
        return INT64_MAX;
    if (seconds < -SECOND)
        return INT64_MIN;
    return seconds * SECOND + b->tv_nsec - a->tv_nsec;
}

unsigned tl_doubt(const struct tl_walk *w, const struct stat *s, const struct timespec *now)
{
    const int64_t age = nanoseconds_before(&s->st_ctim, now);
    const int64_t needed = s->st_ctim.tv_nsec ? w->limits.settle_ns : COARSE_NS;
    if (age <= needed && age > -SKEW_NS)
        return TL_MARK_DOUBT;
    /* Of an inode with several names all have to tell the same. */
    return s->st_nlink > 1 && !S_ISDIR(s->st_mode) && nanoseconds_before(&s->st_ctim, &w->started) < 0 ? TL_MARK_DOUBT : 0;
}

int tl_settle(struct tl_worker *worker, const struct stat *s, const struct timespec *now)
{
    const struct tl_walk *w = worker->walk;
    if (worker->settled || !s->st_ctim.tv_nsec || !tl_doubt(w, s, now) || nanoseconds_before(&s->st_ctim, &w->started) < 0)
        return 0;
    worker->settled = 1;
    struct timespec until = w->started;
    until.tv_nsec += w->limits.settle_ns + 10000000; /* and a tick */
    until.tv_sec += until.tv_nsec / SECOND;
    until.tv_nsec %= SECOND;
    clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &until, NULL);
    return 1;
}

int tl_note(struct tl_chunk *chunk, struct tl_record_before *before, struct tl_text name, const struct stat *status,
            unsigned marks)
{
    if (status->st_nlink > 1) {
        marks |= TL_MARK_DEVICE;
        chunk->linked++;
    }
    chunk->names++;
    return tl_record_add(&chunk->records, before, TL_RECORD_NAME, name, status, marks);
}

int tl_row_add(struct tl_rows *to, enum tl_row_kind kind, struct tl_text path, struct tl_text link,
               const struct stat *s, uint64_t offset)
{
    struct tl_row row = {.offset = offset, .path_bytes = (uint32_t)path.bytes, .link_bytes = (uint32_t)link.bytes, .kind = kind};
    if (s != NULL) {
        const int fits = s->st_mtim.tv_sec < INT64_MAX / SECOND && s->st_mtim.tv_sec > INT64_MIN / SECOND;
        row.size = kind == TL_ROW_FILE ? (uint64_t)s->st_size : 0;
        row.modified = fits ? s->st_mtim.tv_sec * SECOND + s->st_mtim.tv_nsec : s->st_mtim.tv_sec < 0 ? INT64_MIN : INT64_MAX;
        row.mode = s->st_mode & 07777;
        row.uid = s->st_uid;
        row.gid = s->st_gid;
    }
    return tl_bytes_add(&to->paths, path.data, path.bytes) && tl_bytes_add(&to->links, link.data, link.bytes) &&
           tl_bytes_add(&to->rows, &row, sizeof row);
}

enum outcome { TAKEN, ODD, NO_MEMORY };

static int read_whole(int fd, uint8_t *to, size_t bytes)
{
    while (bytes) {
        const ssize_t got = read(fd, to, bytes);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return 0;
        to += got;
        bytes -= (size_t)got;
    }
    return 1;
}

static int unchanged(const struct stat *a, const struct stat *b)
{
    return a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
           a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static struct tl_text row_path(const struct gathering *g)
{
    const struct tl_bytes *path = &g->worker->path;
    return (struct tl_text){path->data + g->walk->row_skip, path->used - g->walk->row_skip};
}

/* The entry behind worker->path stands in the chunk from *start* on: its row and its record. */
static enum outcome note_taken(struct gathering *g, enum tl_row_kind kind, struct tl_text name, struct tl_text link,
                               const struct stat *status, size_t start, const struct timespec *now)
{
    const struct tl_walk *w = g->walk;
    struct tl_chunk *c = g->chunk;
    if (w->wants_rows && !tl_row_add(&c->rows, kind, row_path(g), link, status, start))
        return NO_MEMORY;
    if (w->snapshot.fd >= 0 && !tl_note(c, &g->worker->before, name, status, tl_doubt(w, status, now)))
        return NO_MEMORY;
    return TAKEN;
}

/* The open file behind worker->path into the chunk, or nothing. */
static enum outcome take_open(struct gathering *g, int fd, struct tl_text name)
{
    struct tl_walk *w = g->walk;
    struct tl_chunk *c = g->chunk;
    struct stat before, after;
    struct timespec now;
    do {
        tl_now(&now);
        if (fstat(fd, &before) < 0)
            return ODD;
    } while (tl_settle(g->worker, &before, &now));
    if (!S_ISREG(before.st_mode) || before.st_nlink != 1 || before.st_size > w->limits.small_bytes ||
        before.st_blocks * 512 < before.st_size)
        return ODD;
    const enum tl_attributes attributes = tl_attributes_read(&g->worker->records, fd, NULL);
    if (attributes != TL_ATTRIBUTES_READ)
        return attributes == TL_ATTRIBUTES_ODD ? ODD : NO_MEMORY;
    const size_t start = c->data.used, size = (size_t)before.st_size, padding = tl_pax_padding(size);
    const struct tl_pax_entry entry = {
        .path = {g->worker->path.data, g->worker->path.used},
        .user = tl_owner_name(&w->owners, TL_OWNER_USER, before.st_uid),
        .group = tl_owner_name(&w->owners, TL_OWNER_GROUP, before.st_gid),
        .records = {g->worker->records.data, g->worker->records.used},
        .status = &before,
        .size = size,
        .kind = TL_PAX_REGULAR,
    };
    if (!tl_pax_header(&c->data, &entry))
        return NO_MEMORY;
    uint8_t *to = tl_bytes_room(&c->data, size + padding);
    if (to == NULL)
        return NO_MEMORY;
    if (!read_whole(fd, to, size) || fstat(fd, &after) < 0 || !unchanged(&before, &after)) {
        c->data.used = start;
        return ODD;
    }
    memset(to + size, 0, padding);
    c->data.used += size + padding;
    c->counts.files++;
    c->counts.bytes += size;
    return note_taken(g, TL_ROW_FILE, name, (struct tl_text){0}, &before, start, &now);
}

/* The symbolic link behind worker->path into the chunk, or nothing. */
static enum outcome take_link(struct gathering *g, const char *ended, struct tl_text name)
{
    struct tl_walk *w = g->walk;
    struct tl_chunk *c = g->chunk;
    struct stat before, after;
    struct timespec now;
    do {
        tl_now(&now);
        if (fstatat(g->parent, ended, &before, AT_SYMLINK_NOFOLLOW) < 0)
            return ODD;
    } while (tl_settle(g->worker, &before, &now));
    char target[LINK_BYTES_MAX], path[64 + TL_RECORD_NAME_MAX];
    const ssize_t bytes = S_ISLNK(before.st_mode) && before.st_nlink == 1 ? readlinkat(g->parent, ended, target, sizeof target) : -1;
    if (bytes < 0 || (size_t)bytes == sizeof target)
        return ODD;
    snprintf(path, sizeof path, "/proc/self/fd/%d/%s", g->parent, ended);
    const enum tl_attributes attributes = tl_attributes_read(&g->worker->records, -1, path);
    if (attributes != TL_ATTRIBUTES_READ)
        return attributes == TL_ATTRIBUTES_ODD ? ODD : NO_MEMORY;
    if (fstatat(g->parent, ended, &after, AT_SYMLINK_NOFOLLOW) < 0 || before.st_ino != after.st_ino || !unchanged(&before, &after))
        return ODD;
    const size_t start = c->data.used;
    const struct tl_pax_entry entry = {
        .path = {g->worker->path.data, g->worker->path.used},
        .link = {(const uint8_t *)target, (size_t)bytes},
        .user = tl_owner_name(&w->owners, TL_OWNER_USER, before.st_uid),
        .group = tl_owner_name(&w->owners, TL_OWNER_GROUP, before.st_gid),
        .records = {g->worker->records.data, g->worker->records.used},
        .status = &before,
        .kind = TL_PAX_SYMBOLIC_LINK,
    };
    if (!tl_pax_header(&c->data, &entry))
        return NO_MEMORY;
    c->counts.others++;
    return note_taken(g, TL_ROW_SYMLINK, name, entry.link, &before, start, &now);
}

/* The name behind worker->path, which is ended. */
static enum outcome take(struct gathering *g, const struct tl_name *n, struct tl_text name)
{
    const char *ended = (const char *)g->worker->path.data + g->folder_bytes;
    if (g->walk->limits.small_bytes < 0)
        return ODD;
    if (n->type == DT_LNK)
        return take_link(g, ended, name);
    if (n->type != DT_REG)
        return ODD;
    const int fd = tl_open_unseen(g->parent, ended, FILE_FLAGS);
    if (fd < 0)
        return ODD;
    const enum outcome outcome = take_open(g, fd, name);
    close(fd);
    return outcome;
}

static enum outcome one(struct gathering *g, uint32_t i)
{
    const struct tl_listing *l = g->listing;
    const struct tl_name *n = &l->name[i];
    const struct tl_text name = tl_name_text(l, i);
    struct tl_bytes *path = &g->worker->path;
    if (n->state == TL_NAME_SAME)
        return tl_note(g->chunk, &g->worker->before, name, &l->status[i], n->marks) ? TAKEN : NO_MEMORY;
    path->used = g->folder_bytes;
    if (!tl_bytes_add(path, name.data, name.bytes) || !tl_bytes_add(path, "", 1))
        return NO_MEMORY;
    path->used--;
    if (n->state != TL_NAME_GONE)
        return take(g, n, name);
    if (!g->walk->wants_rows)
        return TAKEN;
    return tl_row_add(&g->chunk->rows, TL_ROW_GONE, row_path(g), (struct tl_text){0}, NULL, g->chunk->data.used) ? TAKEN
                                                                                                              : NO_MEMORY;
}

int tl_gather(struct tl_worker *worker, struct tl_node *node, int parent, struct tl_node **more)
{
    struct tl_walk *w = worker->walk;
    struct tl_chunk *c = node->chunk;
    struct gathering g = {.worker = worker, .walk = w, .chunk = c, .listing = &node->listing->listing, .parent = parent};
    if (!tl_folder_path(node->folder, w->prefix, &worker->path))
        return 0;
    g.folder_bytes = worker->path.used;
    tl_record_first(&worker->before);
    uint32_t i = node->first;
    while (i < node->end && c->data.used < w->limits.chunk_bytes) {
        const enum outcome outcome = one(&g, i);
        if (outcome == NO_MEMORY)
            return 0;
        i++;
        if (outcome == ODD) {
            c->odd = TL_ODD_NAME;
            c->odd_name = tl_name_text(g.listing, i - 1);
            c->odd_known = g.listing->name[i - 1].known;
            c->odd_type = g.listing->name[i - 1].type;
            break;
        }
        if (!w->limits.ahead_bytes && c->data.used)
            break;
    }
    if (i == node->end)
        return 1;
    *more = tl_node_new(TL_NODE_RANGE, node->folder, node->listing, i, node->end);
    node->end = i;
    return *more != NULL;
}
