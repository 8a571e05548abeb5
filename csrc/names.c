/* Listing a folder. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "enter.h"

#define LISTING_BUFFER_BYTES (64u << 10)
#define WINDOW_NAMES 4096u /* at most */
#define TAG_NAME "CACHEDIR.TAG"
#define TAG "Signature: 8a477f597d28d172789f06886806bc55"

/* Leaves out of the listing what the type TL_TYPE_LEFT_OUT says. */
static void leave_out(struct tl_listing *l)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < l->count; i++)
        if (l->name[i].type != TL_TYPE_LEFT_OUT)
            l->name[kept++] = l->name[i];
    l->count = kept;
}

static int is_tagged(int fd)
{
    char data[sizeof TAG - 1];
    const int tag = openat(fd, TAG_NAME, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (tag < 0)
        return 0;
    const ssize_t got = read(tag, data, sizeof data);
    close(tag);
    return got == (ssize_t)sizeof data && memcmp(data, TAG, sizeof data) == 0;
}

/* Of a folder that says of itself that its content is not wanted nothing is kept but what says so: that name, or NULL. A tag may come to say
 * so, or cease to, by its content alone. */
static const struct tl_text *mark_of(const struct tl_walk_rules *rules, int fd)
{
    static const struct tl_text tag = {(const uint8_t *)TAG_NAME, sizeof TAG_NAME - 1};
    struct stat status;
    if (rules->caches && is_tagged(fd))
        return &tag;
    for (size_t i = 0; i < rules->marker_count; i++)
        if (fstatat(fd, (const char *)rules->markers[i].data, &status, AT_SYMLINK_NOFOLLOW) == 0)
            return &rules->markers[i];
    return NULL;
}

static void keep_mark(struct tl_listing *l, const struct tl_text *mark)
{
    int64_t at = -1;
    for (uint32_t i = 0; i < l->count; i++)
        if (tl_text_order(tl_name_text(l, i), *mark) == 0)
            at = i;
    l->count = at >= 0;
    l->text.used = 0;
    if (at < 0)
        return;
    l->name[0] = l->name[at];
    memmove(l->text.data, l->text.data + l->name[0].at, mark->bytes);
    l->name[0].at = 0;
    l->text.used = mark->bytes;
}

/* Where the file system does not say with the name which are folders. */
static void find_types(const struct entering *e, struct tl_listing *l)
{
    char name[TL_RECORD_NAME_MAX + 1];
    struct stat status;
    for (uint32_t i = 0; i < l->count; i++) {
        struct tl_name *n = &l->name[i];
        if (n->type != DT_UNKNOWN)
            continue;
        memcpy(name, tl_name_text(l, i).data, n->bytes);
        name[n->bytes] = 0;
        if (fstatat(e->fd, name, &status, AT_SYMLINK_NOFOLLOW) == 0)
            n->type = (uint8_t)IFTODT(status.st_mode);
    }
}

/* What the rules leave of the listing. */
static int thin_out(const struct entering *e, struct tl_listing *l)
{
    const struct tl_walk_rules *rules = &e->walk->rules;
    const struct tl_text path = {e->worker->path.data, e->worker->path.used};
    find_types(e, l);
    if (rules->exclude == NULL)
        return 1;
    if (!rules->exclude(rules->exclude_context, path, l))
        return 0;
    leave_out(l);
    return 1;
}

/* All names are read: those in the listing are the last run. */
static int merge_rest(struct entering *e)
{
    int error = tl_spill_run(&e->rest->names, &e->shared->listing, e->walk->spill);
    if (!error)
        error = tl_spill_merge(&e->rest->names);
    errno = error;
    return !error;
}

void tl_names_ruled(struct entering *e)
{
    const struct tl_walk *w = e->walk;
    e->elsewhere = w->rules.one_file_system && e->status.st_dev != w->root_device;
    e->mark = e->elsewhere ? NULL : mark_of(&w->rules, e->fd);
}

int tl_names_list(struct entering *e)
{
    struct tl_listing *l = &e->shared->listing;
    const struct tl_walk *w = e->walk;
    const struct tl_text *mark = e->mark;
    if (e->elsewhere)
        return 1;
    uint8_t *buffer = tl_bytes_room(&e->worker->scratch, LISTING_BUFFER_BYTES);
    if (buffer == NULL)
        return 0;
    int error;
    while ((error = tl_listing_read(l, e->fd, buffer, LISTING_BUFFER_BYTES, w->limits.names_held)) == TL_LISTING_FULL) {
        if (mark != NULL) {
            keep_mark(l, mark);
            continue;
        }
        if (e->rest == NULL && (e->rest = calloc(1, sizeof *e->rest)) == NULL)
            return 0;
        error = tl_spill_run(&e->rest->names, l, w->spill);
        errno = error;
        if (error)
            return 0;
    }
    if (error == ENOMEM)
        return 0;
    if (error) {
        e->chunk->odd |= TL_ODD_UNLISTED;
        e->chunk->error = error;
    }
    if (mark != NULL)
        keep_mark(l, mark);
    if (e->rest != NULL)
        return merge_rest(e);
    return tl_listing_sort(l) && thin_out(e, l);
}

int tl_names_window(struct entering *e)
{
    struct tl_listing *l = &e->shared->listing;
    const uint32_t held = e->walk->limits.names_held, window = held < WINDOW_NAMES ? held : WINDOW_NAMES;
    do {
        l->text.used = 0; /* of a window that was left out */
        const int error = tl_spill_read(&e->rest->names, l, window);
        if (error) {
            errno = error;
            return 0;
        }
        if (l->count == 0)
            return 1;
        if (!thin_out(e, l))
            return 0;
    } while (l->count == 0);
    return 1;
}
