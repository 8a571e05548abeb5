/* What a walk leaves to its caller. */
#include <dirent.h>
#include <errno.h>

#include "enter.h"
#include "linked.h"

int tl_walk_look(struct tl_walk *w, struct tl_walk_odd *odd)
{
    struct tl_node *node = w->head;
    struct tl_chunk *c = node->chunk;
    struct tl_folder *f = node->folder;
    *odd = (struct tl_walk_odd){.what = c->odd, .error = c->error, .fd = -1, .listed_fd = -1, .type = c->odd_type};
    if (!tl_folder_path(f, w->prefix, &w->odd_path))
        return 0;
    struct tl_folder *wanted = f;
    odd->name = (struct tl_text){f->name, f->name_bytes};
    if (c->odd & TL_ODD_NAME) {
        odd->name.bytes = c->odd_name.bytes;
        if (!tl_bytes_add(&w->odd_path, c->odd_name.data, c->odd_name.bytes) || !tl_bytes_add(&w->odd_path, "", 1))
            return 0;
        w->odd_path.used--;
        odd->name.data = w->odd_path.data + f->path_bytes;
    } else if (c->odd & (TL_ODD_FOLDER | TL_ODD_DEEP)) {
        wanted = f->up;
    }
    odd->path = (struct tl_text){w->odd_path.data, w->odd_path.used};
    if (c->listed_file) {
        odd->listed_fd = c->listed_fd;
        odd->listed_bytes = c->listed_bytes;
    } else if (c->has_listed)
        odd->listed = (struct tl_text){c->listed.data, c->listed.used};
    if (wanted == NULL || c->odd & (TL_ODD_MOVED | TL_ODD_DEEP))
        return 1;
    pthread_mutex_lock(&w->lock);
    odd->fd = tl_folder_pin(w, wanted, c->odd & TL_ODD_UNLISTED ? &(int){0} : &odd->error);
    if (odd->fd >= 0)
        w->odd_pinned = wanted;
    pthread_mutex_unlock(&w->lock);
    return 1;
}

static struct tl_text odd_name(const struct tl_walk *w)
{
    const struct tl_node *node = w->head;
    if (w->single.data != NULL)
        return w->single;
    if (node->chunk->odd & TL_ODD_NAME)
        return node->chunk->odd_name;
    return (struct tl_text){node->folder->name, node->folder->name_bytes};
}

static int add_record(struct tl_walk *w, enum tl_record_kind kind, struct tl_text name, const struct stat *status,
                      unsigned marks)
{
    static const uint8_t leave = TL_RECORD_LEAVE;
    struct tl_record_before before;
    struct tl_bytes record = {0};
    tl_record_first(&before);
    const int linked = kind == TL_RECORD_NAME && status->st_nlink > 1;
    int ok = tl_record_add(&record, &before, kind, name, status, marks | (linked ? TL_MARK_DEVICE : 0));
    if (ok && kind == TL_RECORD_ENTER) {
        const uint64_t length = 1;
        memcpy(record.data + 1, &length, sizeof length);
        ok = tl_bytes_add(&record, &leave, 1);
    }
    pthread_mutex_lock(&w->lock);
    if (ok)
        tl_snapshot_add(&w->snapshot, record.data, record.used);
    w->snapshot.names++;
    w->snapshot.linked += (uint64_t)linked;
    pthread_mutex_unlock(&w->lock);
    tl_bytes_free(&record);
    return ok;
}

int tl_walk_record(struct tl_walk *w, const struct stat *status, unsigned marks)
{
    const enum tl_record_kind kind = S_ISDIR(status->st_mode) ? TL_RECORD_ENTER : TL_RECORD_NAME;
    return add_record(w, kind, odd_name(w), status, marks);
}

int tl_keep_records(const struct tl_walk *w, const uint8_t *begin, const uint8_t *end, struct tl_bytes *to)
{
    const size_t at = to->used;
    return tl_bytes_add(to, begin, (size_t)(end - begin)) &&
           tl_linked_distrust(to->data + at, to->data + to->used, &w->forced);
}

/* The records of the folder at *since*, all of them, in doubt itself. */
static int add_known(const struct tl_walk *w, const uint8_t *since, struct tl_bytes *to)
{
    struct tl_records reader;
    struct tl_record old;
    const size_t at = to->used;
    tl_records_open(&reader, since, w->since_end);
    if (tl_records_next(&reader, &old) != 1 || !tl_keep_records(w, since, old.end, to))
        return 0;
    to->data[at] |= TL_MARK_DOUBT;
    return 1;
}

/* The records that are left of the level which *m* reads, in doubt. */
static int add_left(const struct tl_walk *w, struct tl_merge *m, struct tl_bytes *to)
{
    struct tl_record_before before;
    tl_record_first(&before);
    for (; m->there > 0; m->there = tl_records_next(&m->since, &m->record)) {
        const struct tl_record *r = &m->record;
        const struct stat known = {.st_mode = r->mode, .st_ino = r->inode, .st_size = (off_t)r->size, .st_dev = r->device,
                                   .st_ctim = r->changed, .st_mtim = r->modified};
        const size_t at = to->used;
        if (r->kind == TL_RECORD_ENTER)
            tl_record_first(&before); /* it is read from wherever one comes from */
        if (!tl_record_add(to, &before, r->kind, r->name, &known, TL_MARK_DOUBT | (r->marks & TL_MARK_DEVICE)))
            return 0;
        if (r->kind != TL_RECORD_ENTER)
            continue;
        const uint64_t length = (uint64_t)(r->end - r->inside);
        memcpy(to->data + at + 1, &length, sizeof length);
        if (!tl_keep_records(w, r->inside, r->end, to))
            return 0;
    }
    return 1;
}

int tl_keep_known(struct tl_walk *w, struct tl_node *node)
{
    struct tl_record_before before;
    struct tl_bytes *to = &node->chunk->records;
    struct tl_folder *holder = node->kind == TL_NODE_FOLDER ? node->folder->up : node->folder;
    if (w->since_end == NULL) {
        holder->partly = 1;
        return 1;
    }
    node->chunk->linked++; /* perhaps */
    if (node->kind == TL_NODE_FOLDER && node->folder->since == NULL) {
        holder->partly = 1;
        return 1;
    }
    if (node->kind == TL_NODE_FOLDER)
        return add_known(w, node->folder->since, to);
    if (node->kind == TL_NODE_REST) {
        holder->partly = 1; /* there may be new names in it */
        return add_left(w, &node->rest->merge, to);
    }
    tl_record_first(&before);
    for (uint32_t i = node->first; i < node->end; i++) {
        const struct tl_listing *l = &node->listing->listing;
        const struct stat nothing = {.st_mode = DTTOIF(l->name[i].type)};
        if (!tl_record_add(to, &before, TL_RECORD_NAME, tl_name_text(l, i), &nothing, TL_MARK_DOUBT))
            return 0;
    }
    return 1;
}

/* Of something in *f*, or of a root where that is NULL, the snapshot written tells nothing. */
static int keep_nothing(struct tl_walk *w, struct tl_folder *f)
{
    pthread_mutex_lock(&w->lock);
    if (f != NULL)
        f->partly = 1;
    pthread_mutex_unlock(&w->lock);
    return 1;
}

int tl_walk_keep(struct tl_walk *w)
{
    if (w->single.data != NULL)
        return 1;
    const struct tl_chunk *c = w->head->chunk;
    const struct stat nothing = {.st_mode = DTTOIF(c->odd_type), .st_nlink = 1};
    if (c->odd & TL_ODD_NAME)
        return c->odd_known ? add_record(w, TL_RECORD_NAME, c->odd_name, &nothing, TL_MARK_DOUBT)
                            : keep_nothing(w, w->head->folder);
    const uint8_t *since = w->head->folder->since;
    struct tl_bytes known = {0};
    if (since == NULL)
        return keep_nothing(w, w->head->folder->up);
    const int ok = add_known(w, since, &known);
    pthread_mutex_lock(&w->lock);
    if (ok)
        tl_snapshot_add(&w->snapshot, known.data, known.used);
    w->snapshot.linked++; /* perhaps */
    pthread_mutex_unlock(&w->lock);
    tl_bytes_free(&known);
    return ok;
}

void tl_walk_headless(struct tl_walk *w)
{
    struct tl_folder *f = w->head->folder;
    pthread_mutex_lock(&w->lock);
    f->tag |= TL_MARK_DOUBT;
    tl_snapshot_patch(&w->snapshot, f->enter, &f->tag, 1);
    if (w->wants_rows) {
        const struct tl_row *row = (const struct tl_row *)(w->rows.rows.data + w->rows.rows.used) - 1;
        w->rows.paths.used -= row->path_bytes;
        w->rows.rows.used -= sizeof *row;
    }
    w->counts.folders--;
    pthread_mutex_unlock(&w->lock);
}

int tl_walk_knows(const struct tl_walk *w)
{
    return w->single.data == NULL && w->head->chunk->odd & TL_ODD_FOLDER && w->head->folder->since != NULL;
}

int tl_walk_row(struct tl_walk *w, enum tl_row_kind kind, struct tl_text path, struct tl_text link,
                const struct stat *status)
{
    pthread_mutex_lock(&w->lock);
    const int ok = !w->wants_rows || tl_row_add(&w->rows, kind, path, link, status, w->position);
    pthread_mutex_unlock(&w->lock);
    return ok;
}

void tl_walk_wrote(struct tl_walk *w, uint64_t bytes)
{
    pthread_mutex_lock(&w->lock);
    w->position += bytes;
    pthread_mutex_unlock(&w->lock);
}

void tl_walk_take_rows(struct tl_walk *w, struct tl_rows *to)
{
    *to = (struct tl_rows){0};
    pthread_mutex_lock(&w->lock);
    const struct tl_chunk *c = w->head != NULL && w->merged ? w->head->chunk : NULL;
    if (c == NULL || !(c->odd & TL_ODD_HEADER) || w->gave_odd) { /* else the last row may have to go again: tl_walk_headless() */
        *to = w->rows;
        w->rows = (struct tl_rows){0};
    }
    pthread_mutex_unlock(&w->lock);
}
