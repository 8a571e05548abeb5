/* A library to put before libc (LD_PRELOAD): the target of a restore is full, or lacks what others have.
 *
 *   ROOM=bytes     files take so many bytes together, then writing ends with ENOSPC, the last call short
 *   NAMES=count    so many files, folders and links can be made, then ENOSPC
 *   LACKS=words    of attributes, owners, modes, times: setting them is refused
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/xattr.h>
#include <unistd.h>

static long long left(const char *what, long long *known) {
    if (*known == 0) {
        const char *text = getenv(what);
        *known = text ? atoll(text) + 1 : -1;
    }
    return *known;
}

static long long room, names;

static int lacks(const char *what) {
    const char *words = getenv("LACKS");
    return words && strstr(words, what);
}

/* How many of so many bytes still go into the file. */
static size_t fitting(int fd, size_t bytes) {
    struct stat status;
    if (left("ROOM", &room) < 0 || fstat(fd, &status) != 0 || !S_ISREG(status.st_mode))
        return bytes;
    if ((long long)bytes >= room)
        bytes = (size_t)(room - 1);
    room -= (long long)bytes;
    return bytes;
}

static int full(int status) {
    errno = ENOSPC;
    return status;
}

static int takes_a_name(void) {
    if (left("NAMES", &names) < 0)
        return 1;
    if (names == 1)
        return 0;
    names--;
    return 1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int fd, const void *data, size_t bytes) {
    size_t fit = fitting(fd, bytes);
    return bytes && !fit ? full(-1) : REAL(write)(fd, data, fit);
}

static ssize_t place(int fd, const void *data, size_t bytes, off_t at) {
    size_t fit = fitting(fd, bytes);
    return bytes && !fit ? full(-1) : REAL(pwrite)(fd, data, fit, at);
}

ssize_t pwrite(int fd, const void *data, size_t bytes, off_t at) {
    return place(fd, data, bytes, at);
}

ssize_t pwrite64(int fd, const void *data, size_t bytes, off64_t at) {
    return place(fd, data, bytes, at);
}

static int open_real(int folder, const char *path, int flags, mode_t mode) {
    if (flags & O_CREAT && flags & O_EXCL && !takes_a_name())
        return full(-1);
    return REAL(openat)(folder, path, flags, mode);
}

int openat(int folder, const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;
    va_end(more);
    return open_real(folder, path, flags, mode);
}

int openat64(int folder, const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;
    va_end(more);
    return open_real(folder, path, flags, mode);
}

int mkdirat(int folder, const char *path, mode_t mode) {
    return takes_a_name() ? REAL(mkdirat)(folder, path, mode) : full(-1);
}

int symlinkat(const char *to, int folder, const char *path) {
    return takes_a_name() ? REAL(symlinkat)(to, folder, path) : full(-1);
}

static int refused(int error) {
    errno = error;
    return -1;
}

int fsetxattr(int fd, const char *name, const void *value, size_t bytes, int flags) {
    return lacks("attributes") ? refused(ENOTSUP) : REAL(fsetxattr)(fd, name, value, bytes, flags);
}

int setxattr(const char *path, const char *name, const void *value, size_t bytes, int flags) {
    return lacks("attributes") ? refused(ENOTSUP) : REAL(setxattr)(path, name, value, bytes, flags);
}

int fchown(int fd, uid_t uid, gid_t gid) {
    return lacks("owners") ? refused(EPERM) : REAL(fchown)(fd, uid, gid);
}

int chown(const char *path, uid_t uid, gid_t gid) {
    return lacks("owners") ? refused(EPERM) : REAL(chown)(path, uid, gid);
}

int fchmod(int fd, mode_t mode) {
    return lacks("modes") ? refused(EPERM) : REAL(fchmod)(fd, mode);
}

int futimens(int fd, const struct timespec times[2]) {
    return lacks("times") ? refused(EPERM) : REAL(futimens)(fd, times);
}

int utimensat(int folder, const char *path, const struct timespec times[2], int flags) {
    return lacks("times") ? refused(EPERM) : REAL(utimensat)(folder, path, times, flags);
}
