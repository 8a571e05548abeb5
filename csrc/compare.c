/* What has become of the names that the snapshot has. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>

#include "enter.h"

int tl_inodes_have(const struct tl_inodes *inodes, uint64_t inode)
{
    uint64_t low = 0, high = inodes->count;
    while (low < high) {
        const uint64_t middle = low + (high - low) / 2;
        if (inodes->inode[middle] == inode)
            return 1;
        if (inodes->inode[middle] < inode)
            low = middle + 1;
        else
            high = middle;
    }
    return 0;
}

int tl_same_time(const struct timespec *a, const struct timespec *b)
{
    return a->tv_nsec == b->tv_nsec && a->tv_sec == b->tv_sec;
}

/* Whether nothing has happened to what *r* was told of. */
static int is_same(const struct tl_record *r, const struct stat *s)
{
    return !(r->marks & TL_MARK_DOUBT) && tl_same_time(&r->changed, &s->st_ctim) && tl_same_time(&r->modified, &s->st_mtim) &&
           r->inode == s->st_ino && r->mode == s->st_mode && r->size == (uint64_t)s->st_size;
}

/* What is to be compared with one name: looked at, against the snapshot's record of that name or NULL. Returns whether there is anything
 * of that name. */
static int look(struct entering *e, struct tl_name *n, struct stat *s, const char *ended, const struct tl_record *r)
{
    struct timespec now;
    do {
        tl_now(&now);
        if (fstatat(e->fd, ended, s, AT_SYMLINK_NOFOLLOW) < 0) {
            if (errno == ENOENT)
                return 0;
            memset(s, 0, sizeof *s); /* whoever handles it will say why */
            s->st_mode = DTTOIF(n->type);
            return 1;
        }
    } while (tl_settle(e->worker, s, &now));
    n->type = (uint8_t)IFTODT(s->st_mode);
    if (S_ISSOCK(s->st_mode))
        return 1;
    n->marks = (uint8_t)tl_doubt(e->walk, s, &now);
    if (r == NULL || r->kind != TL_RECORD_NAME || !is_same(r, s) || (s->st_nlink > 1 && tl_inodes_have(&e->walk->forced, s->st_ino)))
        return 1;
    n->state = TL_NAME_SAME;
    n->since = r->begin;
    if (s->st_nlink == 1 && !(r->marks & TL_MARK_DEVICE) && !n->marks)
        n->record_bytes = (uint16_t)(r->end - r->begin);
    return 1;
}

/* Where the status of the next merged name goes, or NULL. */
static struct stat *next_status(struct tl_listing *to)
{
    if (to->count == to->room || to->status == NULL) {
        const uint32_t room = to->room ? 2 * to->room : 128;
        struct tl_name *names = realloc(to->name, room * sizeof *names);
        if (names != NULL)
            to->name = names;
        struct stat *all = realloc(to->status, room * sizeof *all);
        if (all != NULL)
            to->status = all;
        if (names == NULL || all == NULL)
            return NULL;
        to->room = room;
    }
    return &to->status[to->count];
}

/* A name that only the snapshot has. */
static int add_gone(struct entering *e, struct tl_listing *to, const struct tl_record *r)
{
    struct stat *status = next_status(to);
    const struct tl_name gone = {.at = (uint32_t)to->text.used, .bytes = (uint16_t)r->name.bytes,
                           .type = (uint8_t)IFTODT(r->mode), .state = TL_NAME_GONE, .known = 1};
    if (status == NULL || !tl_bytes_add(&to->text, r->name.data, r->name.bytes))
        return 0;
    memset(status, 0, sizeof *status);
    to->name[to->count++] = gone;
    e->names_differ = 1;
    return 1;
}

void tl_compare_begin(struct entering *e)
{
    struct tl_merge *m = e->merge;
    m->there = 0;
    if (!e->known)
        return;
    tl_records_open(&m->since, e->record.inside, e->record.end);
    m->there = tl_records_next(&m->since, &m->record);
}

/* One name of the listing, against the snapshot's record of that name or NULL. */
static int merge_name(struct entering *e, struct tl_listing *merged, struct tl_name n, const char *ended,
                      const struct tl_record *r)
{
    struct stat *s = next_status(merged);
    if (s == NULL)
        return 0;
    n.since = NULL;
    n.known = r != NULL;
    const int found = look(e, &n, s, ended, r), is_socket = n.type == DT_SOCK;
    if (r != NULL && (!found || is_socket)) {
        const struct stat of_socket = *s;
        if (!add_gone(e, merged, r) || (s = next_status(merged)) == NULL)
            return 0;
        *s = of_socket;
    }
    if (!found)
        return 1;
    if (!is_socket && (r == NULL || (n.type == DT_DIR) != (r->kind == TL_RECORD_ENTER)))
        e->names_differ = 1;
    if (n.type == DT_DIR && r != NULL && r->kind == TL_RECORD_ENTER)
        n.since = r->begin;
    merged->name[merged->count++] = n;
    return 1;
}

int tl_compare_known(struct entering *e)
{
    struct tl_listing *l = &e->shared->listing;
    struct tl_merge *m = e->merge;
    const struct tl_record *r = &m->record;
    int ok = 1;
    for (tl_compare_begin(e); ok && m->there > 0 && !e->names_differ; m->there = tl_records_next(&m->since, &m->record)) {
        const struct tl_name name = {.at = (uint32_t)l->text.used, .bytes = (uint16_t)r->name.bytes, .type = (uint8_t)IFTODT(r->mode)};
        ok = tl_bytes_add(&l->text, r->name.data, r->name.bytes) && merge_name(e, l, name, (const char *)r->name.data, r);
    }
    errno = m->there < 0 ? EBADMSG : ENOMEM;
    return ok && m->there >= 0;
}

int tl_compare(struct entering *e, int last)
{
    struct tl_listing *l = &e->shared->listing, merged = {.text = l->text};
    struct tl_merge *m = e->merge;
    uint8_t *ended = tl_bytes_room(&e->worker->scratch, TL_RECORD_NAME_MAX + 1);
    int ok = ended != NULL;
    for (uint32_t i = 0; ok && m->there >= 0 && (i < l->count || (last && m->there > 0));) {
        const struct tl_text name = i < l->count ? (struct tl_text){merged.text.data + l->name[i].at, l->name[i].bytes}
                                                 : (struct tl_text){0};
        const int order = i == l->count ? 1 : m->there == 0 ? -1 : tl_text_order(name, m->record.name);
        if (order > 0) {
            ok = add_gone(e, &merged, &m->record);
        } else {
            memcpy(ended, name.data, name.bytes);
            ended[name.bytes] = 0;
            ok = merge_name(e, &merged, l->name[i++], (const char *)ended, order == 0 ? &m->record : NULL);
        }
        if (order >= 0)
            m->there = tl_records_next(&m->since, &m->record);
    }
    l->text = merged.text;
    free(l->name);
    free(l->status);
    l->name = merged.name;
    l->status = merged.status;
    l->count = merged.count;
    l->room = merged.room;
    errno = m->there < 0 ? EBADMSG : ENOMEM;
    return ok && m->there >= 0;
}
