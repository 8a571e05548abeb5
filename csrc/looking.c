/* Looking for inodes with several names: nothing is taken, each name of one becomes a row. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>

#include "enter.h"

/* Looking: the row of one name of an inode with several. */
static int look_row(struct entering *e, struct tl_text name, uint64_t inode, struct timespec changed)
{
    struct tl_bytes *path = &e->worker->path;
    const size_t folder_bytes = path->used;
    const struct stat status = {.st_size = (off_t)inode, .st_mtim = changed};
    int ok = tl_bytes_add(path, name.data, name.bytes);
    const struct tl_text row = {path->data + e->walk->row_skip, path->used - e->walk->row_skip};
    ok = ok && tl_row_add(&e->chunk->rows, TL_ROW_FILE, row, (struct tl_text){0}, &status, 0);
    path->used = folder_bytes;
    return ok;
}

/* A name that the snapshot has in doubt: it may not know that the inode has several. The old side leaves it out, so all of them are
 * taken. */
static int look_again(struct entering *e, struct tl_text name)
{
    struct stat status;
    uint8_t *ended = tl_bytes_room(&e->worker->scratch, name.bytes + 1);
    if (ended == NULL)
        return 0;
    memcpy(ended, name.data, name.bytes);
    ended[name.bytes] = 0;
    if (fstatat(e->fd, (const char *)ended, &status, AT_SYMLINK_NOFOLLOW) < 0 || S_ISDIR(status.st_mode) || status.st_nlink == 1)
        return 1; /* trouble is told when the archive is written */
    return look_row(e, name, status.st_ino, status.st_ctim);
}

/* A folder of which the snapshot knows all names: those that it does not doubt tell of their inodes as well. */
static int look_at_records(struct entering *e)
{
    struct tl_merge *m = e->merge;
    int ok = 1;
    for (tl_compare_begin(e); ok && m->there > 0; m->there = tl_records_next(&m->since, &m->record)) {
        const struct tl_record *r = &m->record;
        if (r->kind == TL_RECORD_ENTER)
            ok = tl_enter_add_folder(e, r->name, r->begin);
        else if (r->marks & TL_MARK_DOUBT)
            ok = look_again(e, r->name);
        else if (r->marks & TL_MARK_DEVICE)
            ok = look_row(e, r->name, r->inode, r->changed);
    }
    errno = m->there < 0 ? EBADMSG : ENOMEM;
    return ok && m->there >= 0;
}

/* Names that may be others than those the snapshot has. */
static int look_at_names(struct entering *e)
{
    const struct tl_listing *l = &e->shared->listing;
    int ok = 1;
    for (uint32_t i = 0; i < l->count && ok; i++) {
        const struct stat *s = &l->status[i];
        if (l->name[i].state == TL_NAME_GONE)
            continue;
        if (l->name[i].type == DT_DIR)
            ok = tl_enter_add_folder(e, tl_name_text(l, i), l->name[i].since);
        else if (s->st_nlink > 1)
            ok = look_row(e, tl_name_text(l, i), s->st_ino, s->st_ctim);
    }
    return ok;
}

int tl_look_over(struct entering *e)
{
    if (tl_names_known(e))
        return look_at_records(e);
    if (!tl_names_list(e))
        return 0;
    tl_compare_begin(e);
    if (e->rest == NULL)
        return tl_compare(e, 1) && look_at_names(e);
    for (;;) {
        if (!tl_names_window(e))
            return 0;
        const int last = e->shared->listing.count == 0;
        if (!tl_compare(e, last) || !look_at_names(e))
            return 0;
        if (last)
            return 1;
        tl_listing_free(&e->shared->listing);
    }
}
