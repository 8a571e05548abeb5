#include "walk.h"

#include <errno.h>
#include <time.h>
#include <unistd.h>

#define BATCH_BYTES (512u << 10)
#define BATCHED_BYTES_MAX (64u << 10) /* larger chunks are not copied */
#define SPARE_BYTES_MAX (2u << 20)    /* larger buffers are not kept */

struct tl_walk *tl_walk_new(const struct tl_walk_limits *limits)
{
    struct tl_walk *w = calloc(1, sizeof *w);
    if (w == NULL)
        return NULL;
    w->limits = *limits;
    w->snapshot.fd = -1;
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->work, NULL);
    pthread_cond_init(&w->ready_signal, NULL);
    tl_owners_init(&w->owners);
    clock_gettime(CLOCK_REALTIME, &w->started);
    return w;
}

struct tl_node *tl_node_new(enum tl_node_kind kind, struct tl_folder *folder, struct tl_shared *listing, uint32_t first,
                            uint32_t end)
{
    struct tl_node *node = calloc(1, sizeof *node);
    if (node == NULL)
        return NULL;
    node->kind = (uint8_t)kind;
    node->folder = folder;
    node->listing = listing;
    node->first = first;
    node->end = end;
    if (listing != NULL)
        listing->users++;
    return node;
}

void tl_shared_drop(struct tl_shared *listing)
{
    if (listing == NULL || --listing->users)
        return;
    tl_listing_free(&listing->listing);
    free(listing);
}

/* ---- chunks ---- */

static void chunk_clear(struct tl_chunk *c)
{
    struct tl_chunk kept = {.data = c->data, .records = c->records, .rows = c->rows, .listed = c->listed};
    kept.data.used = kept.records.used = kept.listed.used = 0;
    kept.rows.rows.used = kept.rows.paths.used = kept.rows.links.used = 0;
    *c = kept;
}

static void chunk_free(struct tl_chunk *c)
{
    tl_bytes_free(&c->data);
    tl_bytes_free(&c->records);
    tl_bytes_free(&c->rows.rows);
    tl_bytes_free(&c->rows.paths);
    tl_bytes_free(&c->rows.links);
    tl_bytes_free(&c->listed);
    free(c);
}

struct tl_chunk *tl_chunk_take(struct tl_walk *w)
{
    struct tl_chunk *c = w->spare;
    if (c == NULL)
        return calloc(1, sizeof *c);
    w->spare = c->next;
    w->spares--;
    chunk_clear(c);
    return c;
}

struct tl_chunk *tl_chunk_new(struct tl_walk *w)
{
    pthread_mutex_lock(&w->lock);
    struct tl_chunk *c = tl_chunk_take(w);
    pthread_mutex_unlock(&w->lock);
    return c;
}

static void chunk_give_back(struct tl_walk *w, struct tl_chunk *c)
{
    if (c == NULL)
        return;
    if (c->listed_file)
        close(c->listed_fd);
    const size_t bytes = c->data.room + c->records.room + c->rows.rows.room + c->rows.paths.room + c->listed.room;
    if (bytes > SPARE_BYTES_MAX || w->spares >= 64) {
        chunk_free(c);
        return;
    }
    c->next = w->spare;
    w->spare = c;
    w->spares++;
}

/* ---- the rope ---- */

static void node_free(struct tl_walk *w, struct tl_node *node)
{
    chunk_give_back(w, node->chunk);
    tl_shared_drop(node->listing);
    tl_rest_free(node->rest);
    tl_folder_drop(w, node->folder);
    free(node);
}

/* Puts *more* behind *node*. From now on each holds its folder, and a folder the one above it. */
void tl_rope_insert(struct tl_walk *w, struct tl_node *node, struct tl_node *more)
{
    if (more == NULL)
        return;
    struct tl_node *last = more;
    for (struct tl_node *n = more; n != NULL; n = n->next) {
        last = n;
        tl_folder_hold(n->kind == TL_NODE_FOLDER ? n->folder->up : n->folder);
    }
    last->next = node->next;
    node->next = more;
    if (w->tail == node)
        w->tail = last;
    if (w->idle)
        pthread_cond_broadcast(&w->work);
}

/* Nodes that were never put into the rope. */
void tl_rope_discard(struct tl_node *more)
{
    while (more != NULL) {
        struct tl_node *next = more->next;
        if (more->kind == TL_NODE_FOLDER)
            free(more->folder);
        if (more->chunk != NULL)
            chunk_free(more->chunk);
        tl_shared_drop(more->listing);
        tl_rest_free(more->rest);
        free(more);
        more = next;
    }
}

int tl_walk_begin(struct tl_walk *w, int root, struct tl_text prefix, uint32_t row_skip, const uint8_t *since)
{
    struct tl_folder *folder = tl_folder_new(NULL, (struct tl_text){0}, (uint32_t)prefix.bytes);
    struct tl_node *node = folder ? tl_node_new(TL_NODE_FOLDER, folder, NULL, 0, 0) : NULL;
    if (node == NULL) {
        free(folder);
        return 0;
    }
    folder->fd = root;
    folder->since = since;
    pthread_mutex_lock(&w->lock);
    w->prefix = prefix;
    w->row_skip = row_skip;
    w->head = w->tail = node;
    w->ready = 0;
    pthread_cond_broadcast(&w->work);
    pthread_mutex_unlock(&w->lock);
    return 1;
}

/* ---- the head: what is finished goes where it belongs, in order ---- */

static void merge_rows(struct tl_walk *w, struct tl_rows *from)
{
    struct tl_row *row = (struct tl_row *)from->rows.data;
    for (size_t i = 0; i < from->rows.used / sizeof *row; i++)
        row[i].offset += w->position;
    if (!tl_bytes_add(&w->rows.rows, from->rows.data, from->rows.used) ||
        !tl_bytes_add(&w->rows.paths, from->paths.data, from->paths.used) ||
        !tl_bytes_add(&w->rows.links, from->links.data, from->links.used))
        w->error = ENOMEM;
}

static void leave(struct tl_walk *w, const struct tl_folder *f)
{
    const uint8_t tag = TL_RECORD_LEAVE, partly = (uint8_t)((f->tag & ~TL_RECORD_KIND) | TL_RECORD_PARTLY);
    tl_snapshot_add(&w->snapshot, &tag, 1);
    if (f->partly)
        tl_snapshot_patch(&w->snapshot, f->enter, &partly, 1);
    const uint64_t length = tl_snapshot_end(&w->snapshot) - f->enter - f->enter_bytes;
    tl_snapshot_patch(&w->snapshot, f->enter + 1, &length, sizeof length);
}

static void merge(struct tl_walk *w, struct tl_node *node)
{
    struct tl_chunk *c = node->chunk;
    if (node->kind == TL_NODE_LEAVE)
        leave(w, node->folder);
    if (c == NULL)
        return;
    if (node->kind == TL_NODE_FOLDER) {
        node->folder->enter = tl_snapshot_end(&w->snapshot);
        node->folder->enter_bytes = c->enter_bytes;
        node->folder->tag = c->records.used ? c->records.data[0] : 0;
    }
    tl_snapshot_add(&w->snapshot, c->records.data, c->records.used);
    w->snapshot.names += c->names;
    w->snapshot.linked += c->linked;
    merge_rows(w, &c->rows);
    w->position += c->data.used;
    w->counts.files += c->counts.files;
    w->counts.folders += c->counts.folders;
    w->counts.others += c->counts.others;
    w->counts.bytes += c->counts.bytes;
}

static void pop(struct tl_walk *w)
{
    struct tl_node *node = w->head;
    w->head = node->next;
    if (w->head == NULL)
        w->tail = NULL;
    w->merged = 0;
    node_free(w, node);
    if (w->idle)
        pthread_cond_signal(&w->work);
}

/* Takes finished nodes off the head until there is something for the caller. */
void tl_rope_advance(struct tl_walk *w)
{
    w->ready = 0;
    while (w->head != NULL && w->head->state == TL_NODE_DONE && !w->error) {
        struct tl_chunk *c = w->head->chunk;
        if (!w->merged)
            merge(w, w->head);
        w->merged = 1;
        if (c != NULL && c->data.used) {
            if (c->data.used > BATCHED_BYTES_MAX || !tl_bytes_add(&w->batch, c->data.data, c->data.used)) {
                w->ready = 1;
                return;
            }
            w->waiting_bytes -= c->data.used;
            c->data.used = 0;
        }
        w->ready = c != NULL && c->odd;
        if (w->ready)
            return;
        pop(w);
        w->ready = w->batch.used >= BATCH_BYTES || (w->batch.used && !w->limits.ahead_bytes);
        if (w->ready)
            return;
    }
    w->ready = w->head == NULL || w->error;
}

enum tl_walk_event tl_walk_next(struct tl_walk *w, const uint8_t **data, size_t *bytes)
{
    enum tl_walk_event event = TL_WALK_BYTES;
    pthread_mutex_lock(&w->lock);
    if (w->gave_data) {
        w->waiting_bytes -= w->head->chunk->data.used;
        w->head->chunk->data.used = 0;
    }
    if (w->gave_odd) {
        w->head->chunk->odd = 0;
        if (w->odd_pinned != NULL)
            tl_folder_unpin(w, w->odd_pinned);
        w->odd_pinned = NULL;
    }
    w->gave_data = w->gave_odd = 0;
    tl_rope_advance(w);
    w->asked = 1;
    if (!w->ready && w->idle)
        pthread_cond_broadcast(&w->work);
    while (!w->ready && !w->stop)
        pthread_cond_wait(&w->ready_signal, &w->lock);
    w->asked = 0;
    if (w->stop || w->error) {
        event = TL_WALK_FAILED;
    } else if (w->batch.used) {
        const struct tl_bytes swap = w->given;
        w->given = w->batch;
        w->batch = swap;
        w->batch.used = 0;
        *data = w->given.data;
        *bytes = w->given.used;
    } else if (w->head == NULL) {
        event = TL_WALK_END;
    } else if (w->head->chunk->data.used) {
        w->gave_data = 1;
        *data = w->head->chunk->data.data;
        *bytes = w->head->chunk->data.used;
    } else {
        w->gave_odd = 1;
        event = TL_WALK_ODD;
    }
    pthread_mutex_unlock(&w->lock);
    return event;
}

void tl_walk_stop(struct tl_walk *w)
{
    pthread_mutex_lock(&w->lock);
    w->stop = 1;
    pthread_cond_broadcast(&w->work);
    pthread_cond_broadcast(&w->ready_signal);
    pthread_mutex_unlock(&w->lock);
}

void tl_walk_free(struct tl_walk *w)
{
    if (w->odd_pinned != NULL)
        tl_folder_unpin(w, w->odd_pinned);
    while (w->head != NULL)
        pop(w);
    while (w->spare != NULL) {
        struct tl_chunk *next = w->spare->next;
        chunk_free(w->spare);
        w->spare = next;
    }
    tl_bytes_free(&w->batch);
    tl_bytes_free(&w->given);
    tl_bytes_free(&w->odd_path);
    tl_bytes_free(&w->snapshot.buffer);
    tl_bytes_free(&w->rows.rows);
    tl_bytes_free(&w->rows.paths);
    tl_bytes_free(&w->rows.links);
    tl_owners_free(&w->owners);
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->work);
    pthread_cond_destroy(&w->ready_signal);
    free(w);
}
