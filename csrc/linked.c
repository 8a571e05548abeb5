#include "linked.h"

static int down(struct tl_linked *l, const uint8_t *begin, const uint8_t *end)
{
    if (l->depth == l->room) {
        const size_t room = l->room ? 2 * l->room : 16;
        struct tl_records *level = realloc(l->level, room * sizeof *level);
        if (level != NULL)
            l->level = level;
        size_t *path_bytes = realloc(l->path_bytes, room * sizeof *path_bytes);
        if (path_bytes != NULL)
            l->path_bytes = path_bytes;
        if (level == NULL || path_bytes == NULL)
            return 0;
        l->room = room;
    }
    l->path_bytes[l->depth] = l->path.used;
    tl_records_open(&l->level[l->depth++], begin, end);
    return 1;
}

int tl_linked_open(struct tl_linked *l, const uint8_t *begin, const uint8_t *end)
{
    *l = (struct tl_linked){0};
    return down(l, begin, end);
}

void tl_linked_close(struct tl_linked *l)
{
    free(l->level);
    free(l->path_bytes);
    tl_bytes_free(&l->path);
}

static int add_row(struct tl_linked *l, const struct tl_record *r, struct tl_rows *to)
{
    const struct stat status = {.st_size = (off_t)r->inode, .st_mtim = r->changed};
    const size_t folder_bytes = l->path.used;
    const int ok = tl_bytes_add(&l->path, r->name.data, r->name.bytes) &&
                   tl_row_add(to, TL_ROW_FILE, (struct tl_text){l->path.data, l->path.used}, (struct tl_text){0}, &status, 0);
    l->path.used = folder_bytes;
    return ok;
}

/* Into the folder of *r*. The root "." has no name in paths. */
static int enter(struct tl_linked *l, const struct tl_record *r)
{
    const int unnamed = l->depth == 1 && r->name.bytes == 1 && r->name.data[0] == '.';
    if (!unnamed && !(tl_bytes_add(&l->path, r->name.data, r->name.bytes) && tl_bytes_add(&l->path, "/", 1)))
        return 0;
    return down(l, r->inside, r->end);
}

int tl_linked_next(struct tl_linked *l, struct tl_rows *to, size_t rows_max)
{
    while (l->depth && to->rows.used < rows_max * sizeof(struct tl_row)) {
        struct tl_record r;
        const int there = tl_records_next(&l->level[l->depth - 1], &r);
        l->path.used = l->path_bytes[l->depth - 1];
        int ok = there >= 0;
        if (there == 0)
            l->depth--;
        else if (there > 0 && r.kind == TL_RECORD_ENTER)
            ok = enter(l, &r);
        else if (there > 0 && (r.marks & TL_MARK_DEVICE) && !(r.marks & TL_MARK_DOUBT))
            ok = add_row(l, &r, to);
        if (!ok)
            return -1;
    }
    return l->depth > 0;
}

int tl_linked_distrust(uint8_t *begin, const uint8_t *end, const struct tl_inodes *forced)
{
    struct tl_linked l;
    struct tl_record r;
    if (!forced->count)
        return 1;
    int ok = tl_linked_open(&l, begin, end);
    while (ok && l.depth) {
        const int there = tl_records_next(&l.level[l.depth - 1], &r);
        if (there == 0)
            l.depth--;
        else if (there < 0 || r.kind == TL_RECORD_ENTER)
            ok = there > 0 && down(&l, r.inside, r.end);
        else if ((r.marks & TL_MARK_DEVICE) && tl_inodes_have(forced, r.inode))
            begin[r.begin - begin] |= TL_MARK_DOUBT;
    }
    tl_linked_close(&l);
    return ok;
}
