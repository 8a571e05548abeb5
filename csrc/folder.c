#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "walk.h"

#define FOLDER_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

struct tl_folder *tl_folder_new(struct tl_folder *up, struct tl_text name, uint32_t path_bytes)
{
    struct tl_folder *f = calloc(1, sizeof *f + name.bytes + 1);
    if (f == NULL)
        return NULL;
    f->up = up;
    f->fd = -1;
    f->users = 1;
    f->path_bytes = path_bytes;
    f->name_bytes = (uint16_t)name.bytes;
    if (name.bytes)
        memcpy(f->name, name.data, name.bytes);
    return f;
}

void tl_folder_hold(struct tl_folder *f)
{
    f->users++;
}

static void unlist(struct tl_walk *w, struct tl_folder *f)
{
    *(f->older ? &f->older->newer : &w->oldest) = f->newer;
    *(f->newer ? &f->newer->older : &w->newest) = f->older;
    f->older = f->newer = NULL;
    w->folders_open--;
}

static void close_idle(struct tl_walk *w, struct tl_folder *f)
{
    unlist(w, f);
    close(f->fd);
    f->fd = -1;
}

void tl_folder_drop(struct tl_walk *w, struct tl_folder *f)
{
    while (f != NULL && --f->users == 0) {
        struct tl_folder *up = f->up;
        if (f->fd >= 0 && up != NULL)
            close_idle(w, f);
        else if (f->fd >= 0)
            close(f->fd);
        free(f);
        f = up;
    }
}

void tl_folder_unpin(struct tl_walk *w, struct tl_folder *f)
{
    if (--f->pins || f->up == NULL || f->fd < 0)
        return;
    f->older = w->newest;
    f->newer = NULL;
    *(w->newest ? &w->newest->newer : &w->oldest) = f;
    w->newest = f;
    if (++w->folders_open > w->limits.folders_open)
        close_idle(w, w->oldest);
}

void tl_folder_opened(struct tl_walk *w, struct tl_folder *f, int fd)
{
    (void)w;
    f->fd = fd;
    f->pins++;
}

static int pin_open(struct tl_walk *w, struct tl_folder *f)
{
    if (f->pins++ == 0 && f->up != NULL)
        unlist(w, f);
    return f->fd;
}

/* Opens *f* again in *up*, which is pinned. A folder that took another's name meanwhile is not taken for it. */
static int reopen(struct tl_folder *f, int up)
{
    const int fd = tl_open_unseen(up, (const char *)f->name, FOLDER_FLAGS);
    struct stat status;
    if (fd < 0)
        return -1;
    if (fstat(fd, &status) < 0 || status.st_dev != f->device || status.st_ino != f->inode) {
        close(fd);
        errno = ESTALE;
        return -1;
    }
    return fd;
}

int tl_folder_pin(struct tl_walk *w, struct tl_folder *f, int *error)
{
    if (f->fd >= 0)
        return pin_open(w, f);
    size_t depth = 0;
    for (struct tl_folder *up = f; up->fd < 0; up = up->up)
        depth++;
    struct tl_folder **closed = malloc(depth * sizeof *closed);
    if (closed == NULL) {
        *error = ENOMEM;
        return -1;
    }
    struct tl_folder *above = f;
    for (size_t i = depth; i--; above = above->up)
        closed[i] = above;
    pin_open(w, above);
    for (size_t i = 0; i < depth; i++) {
        const int fd = reopen(closed[i], above->fd);
        *error = errno;
        tl_folder_unpin(w, above);
        if (fd < 0) {
            free(closed);
            return -1;
        }
        above = closed[i];
        tl_folder_opened(w, above, fd);
    }
    free(closed);
    return f->fd;
}

int tl_folder_path(const struct tl_folder *f, struct tl_text prefix, struct tl_bytes *path)
{
    path->used = 0;
    uint8_t *to = tl_bytes_room(path, f->path_bytes);
    if (to == NULL)
        return 0;
    path->used = f->path_bytes;
    memcpy(to, prefix.data, prefix.bytes);
    for (; f->up != NULL; f = f->up) {
        to[f->path_bytes - 1] = '/';
        memcpy(to + f->path_bytes - 1 - f->name_bytes, f->name, f->name_bytes);
    }
    return 1;
}

int tl_open_unseen(int parent, const char *name, int flags)
{
    const int fd = openat(parent, name, flags | O_NOATIME);
    return fd < 0 && errno == EPERM ? openat(parent, name, flags) : fd;
}
