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
    if (r != NULL && r->kind == TL_RECORD_NAME && is_same(r, s) && !(s->st_nlink > 1 && tl_inodes_have(&e->walk->forced, s->st_ino)))
        n->state = TL_NAME_SAME;
    return 1;
}

/* A merged name and its status. */
static int add_merged(struct tl_listing *to, struct tl_name name, const struct stat *status)
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
            return 0;
        to->room = room;
    }
    to->name[to->count] = name;
    to->status[to->count++] = *status;
    return 1;
}

/* A name that only the snapshot has. */
static int add_gone(struct entering *e, struct tl_listing *to, const struct tl_record *r)
{
    static const struct stat nothing;
    struct tl_name gone = {.at = (uint32_t)to->text.used, .bytes = (uint16_t)r->name.bytes,
                           .type = (uint8_t)IFTODT(r->mode), .state = TL_NAME_GONE, .known = 1};
    e->names_differ = 1;
    return tl_bytes_add(&to->text, r->name.data, r->name.bytes) && add_merged(to, gone, &nothing);
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
    struct stat s;
    n.since = NULL;
    n.known = r != NULL;
    const int found = look(e, &n, &s, ended, r), is_socket = n.type == DT_SOCK;
    int ok = 1;
    if (r != NULL && (!found || is_socket))
        ok = add_gone(e, merged, r);
    if (!found)
        return ok;
    if (!is_socket && (r == NULL || (n.type == DT_DIR) != (r->kind == TL_RECORD_ENTER)))
        e->names_differ = 1;
    if (n.type == DT_DIR && r != NULL && r->kind == TL_RECORD_ENTER)
        n.since = r->begin;
    return ok && add_merged(merged, n, &s);
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
