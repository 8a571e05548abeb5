#include "owners.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>

void tl_owners_init(struct tl_owners *o)
{
    *o = (struct tl_owners){0};
    pthread_rwlock_init(&o->lock, NULL);
}

void tl_owners_free(struct tl_owners *o)
{
    for (int kind = 0; kind < 2; kind++) {
        for (uint32_t i = 0; i < o->count[kind]; i++) {
            free(o->kept[kind][i]->name);
            free(o->kept[kind][i]);
        }
        free(o->kept[kind]);
    }
    pthread_rwlock_destroy(&o->lock);
}

/* Where *number* stands or belongs. */
static uint32_t place(const struct tl_owners *o, enum tl_owner_kind kind, uint32_t number)
{
    uint32_t low = 0, high = o->count[kind];
    while (low < high) {
        const uint32_t middle = (low + high) / 2;
        if (o->kept[kind][middle]->number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* A copy of what the system calls *number*, "" where it knows none; NULL: no memory. */
static char *ask(enum tl_owner_kind kind, uint32_t number)
{
    for (size_t bytes = 1024; bytes <= 1 << 24; bytes *= 4) {
        char *buffer = malloc(bytes);
        if (buffer == NULL)
            return NULL;
        const char *name = NULL;
        int error;
        struct passwd user, *found_user = NULL;
        struct group group, *found_group = NULL;
        if (kind == TL_OWNER_USER) {
            error = getpwuid_r(number, &user, buffer, bytes, &found_user);
            name = found_user ? user.pw_name : NULL;
        } else {
            error = getgrgid_r(number, &group, buffer, bytes, &found_group);
            name = found_group ? group.gr_name : NULL;
        }
        char *copy = error == ERANGE ? NULL : strdup(name ? name : "");
        free(buffer);
        if (error != ERANGE)
            return copy;
    }
    return strdup("");
}

static struct tl_text text_of(const struct tl_owner *owner)
{
    return (struct tl_text){owner->name, owner->bytes};
}

struct tl_text tl_owner_name(struct tl_owners *o, enum tl_owner_kind kind, uint32_t number)
{
    pthread_rwlock_rdlock(&o->lock);
    uint32_t at = place(o, kind, number);
    if (at < o->count[kind] && o->kept[kind][at]->number == number) {
        const struct tl_text found = text_of(o->kept[kind][at]);
        pthread_rwlock_unlock(&o->lock);
        return found;
    }
    pthread_rwlock_unlock(&o->lock);

    char *name = ask(kind, number);
    struct tl_owner *owner = malloc(sizeof *owner);
    pthread_rwlock_wrlock(&o->lock);
    at = place(o, kind, number);
    struct tl_text found = {(const uint8_t *)"", 0};
    if (at < o->count[kind] && o->kept[kind][at]->number == number) {
        found = text_of(o->kept[kind][at]);
    } else if (name != NULL && owner != NULL) {
        struct tl_owner **kept = realloc(o->kept[kind], (o->count[kind] + 1) * sizeof *kept);
        if (kept != NULL) {
            memmove(kept + at + 1, kept + at, (o->count[kind] - at) * sizeof *kept);
            *owner = (struct tl_owner){number, (uint32_t)strlen(name), (uint8_t *)name};
            kept[at] = owner;
            o->kept[kind] = kept;
            o->count[kind]++;
            found = text_of(owner);
            name = NULL;
            owner = NULL;
        }
    }
    pthread_rwlock_unlock(&o->lock);
    free(name);
    free(owner);
    return found;
}
