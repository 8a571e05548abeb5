/* The workers of a walk. */
#include <errno.h>
#include <unistd.h>

#include "walk.h"

/* The first node that nobody has taken, if it may be taken now. */
static struct tl_node *pick(struct tl_walk *w)
{
    const int one_by_one = !w->limits.ahead_bytes;
    if (one_by_one && (!w->asked || w->ready || w->batch.used))
        return NULL;
    uint32_t ahead = one_by_one || w->waiting_bytes >= w->limits.ahead_bytes ? 1 : w->limits.ahead_nodes;
    for (struct tl_node *node = w->head; node != NULL && ahead; node = node->next, ahead--)
        if (node->state == TL_NODE_WAITING)
            return node;
    return NULL;
}

/* Under the lock: what has to be ready before a worker goes away with *node*. Returns whether there is work in it. */
static int prepare(struct tl_walk *w, struct tl_node *node, int *parent)
{
    node->state = TL_NODE_TAKEN;
    if (node->kind == TL_NODE_LEAVE)
        return 0;
    node->chunk = tl_chunk_take(w);
    if (node->chunk == NULL) {
        w->error = ENOMEM;
        return 0;
    }
    struct tl_folder *holder = node->kind == TL_NODE_FOLDER ? node->folder->up : node->folder;
    *parent = holder ? tl_folder_pin(w, holder, &node->chunk->error) : -1;
    if (holder != NULL && *parent < 0) {
        node->chunk->odd = holder->moved ? 0 : TL_ODD_MOVED;
        holder->moved = 1;
        if (!tl_keep_known(w, node))
            w->error = ENOMEM;
        return 0;
    }
    if (node->kind == TL_NODE_RANGE && node->end - node->first > w->limits.range_names) {
        const uint32_t end = node->first + w->limits.range_names;
        struct tl_node *rest = tl_node_new(TL_NODE_RANGE, node->folder, node->listing, end, node->end);
        if (rest != NULL) {
            node->end = end;
            tl_rope_insert(w, node, rest);
        }
    }
    return 1;
}

static void finish(struct tl_walk *w, struct tl_node *node, int opened, struct tl_node *more)
{
    struct tl_folder *f = node->folder;
    struct tl_folder *holder = node->kind == TL_NODE_FOLDER ? f->up : f;
    if (node->kind == TL_NODE_FOLDER && f->up != NULL && opened >= 0) {
        if (more != NULL || node->chunk->odd) {
            tl_folder_opened(w, f, opened);
            tl_folder_unpin(w, f);
        } else {
            close(opened);
        }
    }
    tl_rope_insert(w, node, more);
    if (holder != NULL)
        tl_folder_unpin(w, holder);
}

void tl_walk_work(struct tl_walk *w)
{
    struct tl_worker worker = {.walk = w, .stamps = -1};
    pthread_mutex_lock(&w->lock);
    while (!w->stop) {
        struct tl_node *node = w->error ? NULL : pick(w);
        if (node == NULL) {
            w->idle++;
            pthread_cond_wait(&w->work, &w->lock);
            w->idle--;
            continue;
        }
        int parent = -1, opened = -1, ok = 1;
        struct tl_node *more = NULL;
        if (prepare(w, node, &parent)) {
            pthread_mutex_unlock(&w->lock);
            if (node->kind == TL_NODE_FOLDER)
                ok = tl_enter(&worker, node, parent, &opened, &more);
            else if (node->kind == TL_NODE_REST)
                ok = tl_enter_rest(&worker, node, parent, &more);
            else
                ok = tl_gather(&worker, node, parent, &more);
            const int error = errno;
            pthread_mutex_lock(&w->lock);
            if (!ok) {
                w->error = error ? error : ENOMEM;
                tl_rope_discard(more);
                more = NULL;
            }
            finish(w, node, opened, more);
            w->waiting_bytes += node->chunk->data.used;
        }
        node->state = TL_NODE_DONE;
        if (node == w->head && !w->ready)
            tl_rope_advance(w);
        if ((w->ready || w->error) && w->asked)
            pthread_cond_signal(&w->ready_signal);
        w->ready |= w->error != 0;
    }
    pthread_mutex_unlock(&w->lock);
    tl_bytes_free(&worker.path);
    tl_bytes_free(&worker.scratch);
    tl_bytes_free(&worker.records);
}
