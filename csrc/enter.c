/* Going into a folder: what the snapshot says of it, its own header, and the nodes of what it holds. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "attributes.h"
#include "enter.h"
#include "paxhead.h"

#define FOLDER_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
#define LISTED_BYTES_MAX (1u << 20) /* a longer list goes through a file */

/* Adds to the list that goes with a folder's header what it holds now, and of that what this archive holds. */
static int add_listed(struct entering *e)
{
    const struct tl_listing *l = &e->shared->listing;
    struct tl_bytes *to = &e->chunk->listed;
    int ok = 1;
    for (uint32_t i = 0; i < l->count && ok; i++) {
        const struct tl_name *n = &l->name[i];
        if (n->state == TL_NAME_GONE || n->type == DT_SOCK)
            continue;
        const struct tl_text name = tl_name_text(l, i);
        ok = tl_bytes_add(to, n->type == DT_DIR ? "D" : n->state == TL_NAME_SAME ? "N" : "Y", 1) &&
             tl_bytes_add(to, name.data, name.bytes) && tl_bytes_add(to, "", 1);
    }
    return ok;
}

/* What there is of a long list goes into its file. */
static int flush_listed(struct entering *e)
{
    struct tl_chunk *c = e->chunk;
    if (!c->listed_file) {
        c->listed_fd = tl_spill_file(e->walk->spill);
        if (c->listed_fd < 0)
            return 0;
        c->listed_file = 1;
    }
    for (size_t done = 0; done < c->listed.used;) {
        const ssize_t n = write(c->listed_fd, c->listed.data + done, c->listed.used - done);
        if (n < 0 && errno != EINTR)
            return 0;
        done += n > 0 ? (size_t)n : 0;
    }
    c->listed_bytes += c->listed.used;
    c->listed.used = 0;
    return 1;
}

/* The folder's own entry, where it is to have one. */
static int make_entry(struct entering *e, int with_listing)
{
    struct tl_walk *w = e->walk;
    struct tl_chunk *c = e->chunk;
    const struct tl_text path = {e->worker->path.data, e->worker->path.used};
    c->has_listed = with_listing;
    if (with_listing && ((e->rest == NULL && !add_listed(e)) || !tl_bytes_add(&c->listed, "", 1)))
        return 0;
    if (with_listing && c->listed_file && !flush_listed(e))
        return 0;
    const size_t skip = w->row_skip < path.bytes ? w->row_skip : path.bytes;
    struct tl_text row = {path.data + skip, path.bytes - skip};
    row.bytes -= row.bytes > 0;
    if (w->wants_rows && !tl_row_add(&c->rows, TL_ROW_FOLDER, row, (struct tl_text){0}, &e->status, 0))
        return 0;
    c->counts.folders++;
    const enum tl_attributes attributes = tl_attributes_read(&e->worker->records, e->fd, NULL);
    if (attributes == TL_ATTRIBUTES_NO_MEMORY)
        return 0;
    if (attributes == TL_ATTRIBUTES_ODD || c->listed_file || w->limits.small_bytes < 0) {
        c->odd |= TL_ODD_HEADER;
        return 1;
    }
    const struct tl_pax_entry entry = {
        .path = path,
        .user = tl_owner_name(&w->owners, TL_OWNER_USER, e->status.st_uid),
        .group = tl_owner_name(&w->owners, TL_OWNER_GROUP, e->status.st_gid),
        .records = {e->worker->records.data, e->worker->records.used},
        .listing = {with_listing ? c->listed.data : NULL, c->listed.used},
        .status = &e->status,
        .kind = TL_PAX_FOLDER,
    };
    const int ok = tl_pax_header(&c->data, &entry);
    c->listed.used = 0;
    return ok;
}

static struct tl_node *add_node(struct entering *e, enum tl_node_kind kind, struct tl_folder *folder, uint32_t first,
                                uint32_t end)
{
    struct tl_node *node = tl_node_new(kind, folder, kind == TL_NODE_RANGE ? e->shared : NULL, first, end);
    if (node != NULL) {
        *e->link = node;
        e->link = &node->next;
    }
    return node;
}

/* The records that the snapshot has of names first to end, where they stand one behind another and made now would be the same. */
static int known_records(const struct tl_listing *l, uint32_t first, uint32_t end, struct tl_text *records)
{
    const uint8_t *begin = l->name[first].since, *at = begin;
    for (uint32_t i = first; i < end; i++) {
        const struct tl_name *n = &l->name[i];
        if (!n->record_bytes || n->since != at)
            return 0;
        at += n->record_bytes;
    }
    *records = (struct tl_text){begin, (size_t)(at - begin)};
    return (*begin & TL_MARK_FIRST) != 0;
}

/* Names first to end, none a folder. Where nothing of them has to be taken, their records are made here and now. */
static int plan_range(struct entering *e, uint32_t first, uint32_t end)
{
    const struct tl_listing *l = &e->shared->listing;
    uint32_t i = first;
    while (i < end && l->status != NULL && l->name[i].state == TL_NAME_SAME)
        i++;
    if (first == end)
        return 1;
    if (i < end)
        return add_node(e, TL_NODE_RANGE, e->folder, first, end) != NULL;
    struct tl_chunk *c = e->chunk;
    if (e->below) {
        struct tl_node *node = add_node(e, TL_NODE_RANGE, e->folder, first, end);
        if (node == NULL || (c = node->chunk = tl_chunk_new(e->walk)) == NULL)
            return 0;
        node->state = TL_NODE_DONE;
    }
    struct tl_text known;
    if (known_records(l, first, end, &known)) {
        c->names += end - first;
        return tl_bytes_add(&c->records, known.data, known.bytes);
    }
    tl_record_first(&e->worker->before);
    for (i = first; i < end; i++)
        if (!tl_note(c, &e->worker->before, tl_name_text(l, i), &l->status[i], l->name[i].marks))
            return 0;
    return 1;
}

/* The node of the folder *name* in this one. */
int tl_enter_add_folder(struct entering *e, struct tl_text name, const uint8_t *since)
{
    const uint32_t path_bytes = (uint32_t)(e->worker->path.used + name.bytes + 1);
    struct tl_folder *below = tl_folder_new(e->folder, name, path_bytes);
    if (below == NULL || add_node(e, TL_NODE_FOLDER, below, 0, 0) == NULL) {
        free(below);
        return 0;
    }
    below->since = since;
    return 1;
}

/* The nodes of what the folder holds. */
static int plan(struct entering *e)
{
    const struct tl_listing *l = &e->shared->listing;
    uint32_t first = 0;
    for (uint32_t i = 0; i < l->count; i++) {
        if (l->name[i].type != DT_DIR || l->name[i].state == TL_NAME_GONE)
            continue;
        if (!plan_range(e, first, i))
            return 0;
        e->below = 1;
        if (!tl_enter_add_folder(e, tl_name_text(l, i), l->status != NULL ? l->name[i].since : NULL))
            return 0;
        first = i + 1;
    }
    return plan_range(e, first, l->count);
}

/* Adds the folder's ENTER to the chunk. */
static int note_enter(struct entering *e, unsigned marks)
{
    const struct tl_text prefix = {e->walk->prefix.data, e->walk->prefix.bytes - 1};
    const struct tl_folder *f = e->folder;
    struct tl_bytes *records = &e->chunk->records;
    tl_record_first(&e->worker->before);
    if (f->up == NULL)
        marks |= TL_MARK_DEVICE;
    e->chunk->names++;
    const struct tl_text name = f->up ? (struct tl_text){f->name, f->name_bytes} : prefix;
    const enum tl_record_kind kind = e->elsewhere || e->mark != NULL ? TL_RECORD_PARTLY : TL_RECORD_ENTER;
    const int ok = tl_record_add(records, &e->worker->before, kind, name, &e->status, marks);
    e->chunk->enter_bytes = (uint32_t)records->used;
    return ok;
}

/* What has been added behind the folder's ENTER is all that it holds. */
static void note_content(struct tl_chunk *c)
{
    const uint64_t length = c->records.used - c->enter_bytes;
    memcpy(c->records.data + 1, &length, sizeof length);
    c->enter_bytes = 0;
}

/* Of a folder whose names do not fit into memory: what becomes of each, for the list that goes with its header. They are looked at once more
 * when their turn comes. */
static int survey(struct entering *e)
{
    struct tl_listing *l = &e->shared->listing;
    for (int last = 0; !last;) {
        tl_listing_free(l);
        if (!tl_names_window(e))
            return 0;
        last = l->count == 0;
        if (!tl_compare(e, last) || !add_listed(e))
            return 0;
        if (e->chunk->listed.used > LISTED_BYTES_MAX && !flush_listed(e))
            return 0;
    }
    tl_listing_free(l);
    tl_spill_rewind(&e->rest->names);
    tl_compare_begin(e);
    return 1;
}

static int add_rest(struct entering *e)
{
    struct tl_node *node = add_node(e, TL_NODE_REST, e->folder, 0, 0);
    if (node == NULL)
        return 0;
    node->rest = e->rest;
    e->rest = NULL;
    return 1;
}

/* What is known of the folder itself. */
static int recall(struct entering *e)
{
    const struct tl_record *r = &e->record;
    if (e->folder->since == NULL)
        return 1;
    tl_records_open(&e->merge->since, e->folder->since, e->walk->since_end);
    if (tl_records_next(&e->merge->since, &e->record) != 1 || r->kind != TL_RECORD_ENTER) {
        errno = EBADMSG;
        return 0;
    }
    e->known = 1;
    e->same = tl_same_time(&r->changed, &e->status.st_ctim) && tl_same_time(&r->modified, &e->status.st_mtim) &&
              r->inode == e->status.st_ino && r->mode == e->status.st_mode && !(r->marks & TL_MARK_DOUBT);
    return 1;
}

/* The names, and in an increment what has become of each. */
static int find_names(struct entering *e)
{
    if (tl_names_known(e)) {
        if (!tl_compare_known(e))
            return 0;
        if (!e->names_differ)
            return 1;
        /* A name went this very moment; or the folder's stamps do not tell of its names after all, such as where names are encrypted and
         * the key came or went. */
        tl_listing_free(&e->shared->listing);
        e->names_differ = 0;
    }
    if (!tl_names_list(e))
        return 0;
    if (e->walk->since_end == NULL || (e->known && e->chunk->odd & TL_ODD_UNLISTED))
        return 1;
    if (e->rest != NULL)
        e->merge = &e->rest->merge;
    tl_compare_begin(e);
    return e->rest != NULL ? survey(e) : tl_compare(e, 1);
}

/* The folder is open. */
static int enter(struct entering *e, unsigned marks)
{
    static const uint8_t leave = TL_RECORD_LEAVE;
    const int increment = e->walk->since_end != NULL;
    if (!recall(e))
        return 0;
    tl_names_ruled(e);
    if (e->walk->looking)
        return tl_look_over(e);
    if (!find_names(e))
        return 0;
    const int unlisted = e->chunk->odd & TL_ODD_UNLISTED;
    if (!note_enter(e, unlisted ? marks | TL_MARK_DOUBT : marks))
        return 0;
    if (unlisted && e->known) { /* what the objects before have of it stays known, with names of inodes with several perhaps */
        e->chunk->linked++;
        if (!make_entry(e, 0) || !tl_keep_records(e->walk, e->record.inside, e->record.end, &e->chunk->records))
            return 0;
        note_content(e->chunk);
        return 1;
    }
    if (!increment || !e->same || e->names_differ) {
        if (!make_entry(e, increment && !unlisted))
            return 0;
    }
    struct tl_node **first = e->link;
    if (!(e->rest != NULL ? add_rest(e) : plan(e)))
        return 0;
    if (e->link != first)
        return add_node(e, TL_NODE_LEAVE, e->folder, 0, 0) != NULL;
    if (!tl_bytes_add(&e->chunk->records, &leave, 1))
        return 0;
    note_content(e->chunk);
    return 1;
}

static struct entering entering(struct tl_worker *worker, struct tl_node *node, struct tl_node **more)
{
    return (struct entering){.worker = worker, .walk = worker->walk, .folder = node->folder, .chunk = node->chunk,
                             .link = more, .merge = &worker->merge, .shared = calloc(1, sizeof(struct tl_shared))};
}

static int begin(struct entering *e)
{
    if (e->shared == NULL || !tl_folder_path(e->folder, e->walk->prefix, &e->worker->path))
        return 0;
    e->shared->users = 1;
    return 1;
}

static void end(struct entering *e)
{
    tl_shared_drop(e->shared);
    tl_rest_free(e->rest);
}

void tl_rest_free(struct tl_rest *rest)
{
    if (rest == NULL)
        return;
    const int error = errno;
    tl_spill_close(&rest->names);
    free(rest);
    errno = error;
}

int tl_enter(struct tl_worker *worker, struct tl_node *node, int parent, int *opened, struct tl_node **more)
{
    struct tl_walk *w = worker->walk;
    struct tl_folder *f = node->folder;
    struct tl_chunk *c = node->chunk;
    if (f->path_bytes > w->limits.path_bytes_max) {
        c->odd = TL_ODD_DEEP;
        return 1;
    }
    const int fd = f->up == NULL ? f->fd : tl_open_unseen(parent, (const char *)f->name, FOLDER_FLAGS);
    if (fd < 0) {
        c->odd = TL_ODD_FOLDER;
        return 1;
    }
    *opened = fd;
    struct entering e = entering(worker, node, more);
    e.fd = fd;
    struct timespec now;
    do {
        tl_now(&now);
        if (fstat(fd, &e.status) < 0)
            break;
    } while (tl_settle(worker, &e.status, &now));
    f->device = e.status.st_dev;
    f->inode = e.status.st_ino;
    if (f->up == NULL)
        w->root_device = f->device;
    const int ok = begin(&e) && enter(&e, tl_doubt(w, &e.status, &now));
    end(&e);
    return ok;
}

int tl_enter_rest(struct tl_worker *worker, struct tl_node *node, int folder, struct tl_node **more)
{
    struct entering e = entering(worker, node, more);
    const int increment = e.walk->since_end != NULL;
    e.fd = folder;
    e.rest = node->rest;
    e.merge = &e.rest->merge;
    node->rest = NULL;
    int ok = begin(&e) && tl_names_window(&e);
    const int last = ok && e.shared->listing.count == 0;
    if (ok && increment)
        ok = tl_compare(&e, last);
    ok = ok && plan(&e) && (last || add_rest(&e));
    end(&e);
    return ok;
}
