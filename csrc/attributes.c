#include "attributes.h"

#include <errno.h>
#include <sys/xattr.h>

#include "paxhead.h"

#define NAMES_BYTES_MAX 4096u
#define VALUES_BYTES_MAX (64u << 10)
#define NAMES_MAX 64u
#define PREFIX "SCHILY.xattr."
#define XFS_LISTS "trusted.SGI_ACL_" /* see agent/acl.py */

static int starts(const char *name, const char *with)
{
    return strncmp(name, with, strlen(with)) == 0;
}

/* Sorts the names in *list* into *name*. Returns how many, or -1 where they are not plain. */
static int sort_names(const char *list, size_t bytes, const char **name)
{
    int count = 0;
    for (const char *n = list; n < list + bytes; n += strlen(n) + 1) {
        if (starts(n, "system.posix_acl_") || strpbrk(n, "%=") != NULL || count == NAMES_MAX)
            return -1;
        if (starts(n, "system.") || starts(n, XFS_LISTS))
            continue;
        int to = count++;
        for (; to > 0 && strcmp(name[to - 1], n) > 0; to--)
            name[to] = name[to - 1];
        name[to] = n;
    }
    return count;
}

static enum tl_attributes add(struct tl_bytes *records, int fd, const char *path, const char *name)
{
    char key[sizeof PREFIX + 256], value[4096];
    const ssize_t got = fd >= 0 ? fgetxattr(fd, name, value, sizeof value) : lgetxattr(path, name, value, sizeof value);
    if (got < 0 || strlen(name) > 256 || records->used + (size_t)got > VALUES_BYTES_MAX)
        return TL_ATTRIBUTES_ODD;
    const size_t name_bytes = strlen(name);
    memcpy(key, PREFIX, sizeof PREFIX - 1);
    memcpy(key + sizeof PREFIX - 1, name, name_bytes);
    return tl_pax_record(records, key, sizeof PREFIX - 1 + name_bytes, value, (size_t)got) ? TL_ATTRIBUTES_READ
                                                                                          : TL_ATTRIBUTES_NO_MEMORY;
}

enum tl_attributes tl_attributes_read(struct tl_bytes *records, int fd, const char *path)
{
    char list[NAMES_BYTES_MAX];
    const char *name[NAMES_MAX];
    records->used = 0;
    const ssize_t bytes = fd >= 0 ? flistxattr(fd, list, sizeof list) : llistxattr(path, list, sizeof list);
    if (bytes < 0)
        return errno == ENOTSUP || errno == ENOSYS || errno == ENODATA ? TL_ATTRIBUTES_READ : TL_ATTRIBUTES_ODD;
    const int count = sort_names(list, (size_t)bytes, name);
    enum tl_attributes outcome = count < 0 ? TL_ATTRIBUTES_ODD : TL_ATTRIBUTES_READ;
    for (int i = 0; i < count && outcome == TL_ATTRIBUTES_READ; i++)
        outcome = add(records, fd, path, name[i]);
    return outcome;
}
