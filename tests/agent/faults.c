/* A library to put before libc (LD_PRELOAD): calls that read files of certain names fail, or something happens to the
 * tree just before them. FAULTS in the environment holds one fault per line, its words parted by '|':
 *
 *   fail|NAME|AT|ERRNO       reading NAME fails from byte AT on
 *   grow|NAME|BYTES|0        so many bytes are appended to NAME before each read of it
 *   list|NAME|0|ERRNO        listing the folder NAME fails
 *   open|NAME|0|ERRNO        opening NAME fails
 *   move|NAME|0|0|FROM|TO    before NAME is opened for the first time, FROM is renamed to TO
 *   swap|NAME|0|0|FROM|TO    the same, but both names are exchanged
 *   system|NAME|MAGIC|0      the folder NAME is on a file system of the type MAGIC
 *   attribute|NAME|BYTES|0   NAME has the attribute user.large, of so many bytes, and no other
 */

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { FAULTS_MAX = 16, WORDS = 6 };

struct fault {
    const char *kind, *name, *from, *to;
    long long at;
    int error;
    atomic_flag done;
};

static struct fault faults[FAULTS_MAX];
static int fault_count;

__attribute__((constructor)) static void parse(void)
{
    char *text = getenv("FAULTS");
    char *line, *next_line, *next_word;
    if (!text || !(text = strdup(text)))
        return;
    for (line = strtok_r(text, "\n", &next_line); line && fault_count < FAULTS_MAX; line = strtok_r(NULL, "\n", &next_line)) {
        const char *words[WORDS] = {"", "", "0", "0", "", ""};
        int n = 0;
        for (char *word = strtok_r(line, "|", &next_word); word && n < WORDS; word = strtok_r(NULL, "|", &next_word))
            words[n++] = word;
        faults[fault_count++] = (struct fault){.kind = words[0], .name = words[1], .from = words[4], .to = words[5],
                                               .at = atoll(words[2]), .error = atoi(words[3]), .done = ATOMIC_FLAG_INIT};
    }
}

static struct fault *fault_of(const char *kind, const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    for (int i = 0; i < fault_count; i++)
        if (!strcmp(faults[i].kind, kind) && !strcmp(faults[i].name, name))
            return &faults[i];
    return NULL;
}

static struct fault *fault_of_fd(const char *kind, int fd)
{
    char link[64], path[PATH_MAX];
    const int kept = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    const ssize_t n = readlink(link, path, sizeof path - 1);
    errno = kept;
    if (n < 0)
        return NULL;
    path[n] = 0;
    return fault_of(kind, path);
}

/* What is under a path of the form "/proc/self/fd/N", which stands for an open file, or under the path itself. */
static struct fault *fault_of_handle(const char *kind, const char *path)
{
    int fd;
    return sscanf(path, "/proc/self/fd/%d", &fd) == 1 ? fault_of_fd(kind, fd) : fault_of(kind, path);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* Reading */

/* 0: read up to *bytes, which may have become fewer. Else an errno. */
static int before_reading(int fd, off_t at, size_t *bytes)
{
    const struct fault *grow = fault_of_fd("grow", fd);
    const struct fault *fail = fault_of_fd("fail", fd);
    if (grow) {
        char link[64];
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        const int again = REAL(open)(link, O_WRONLY | O_APPEND | O_CLOEXEC);
        char *more = calloc(1, (size_t)grow->at);
        if (again < 0 || !more || write(again, more, (size_t)grow->at) != grow->at)
            abort();
        free(more);
        close(again);
    }
    if (!fail)
        return 0;
    if (at >= fail->at)
        return fail->error;
    if (*bytes > (size_t)(fail->at - at))
        *bytes = (size_t)(fail->at - at);
    return 0;
}

static ssize_t failed(int error)
{
    errno = error;
    return -1;
}

#define READ_AT(name)                                                                                                  \
    ssize_t name(int fd, void *to, size_t bytes, off_t at)                                                             \
    {                                                                                                                  \
        const int error = before_reading(fd, at, &bytes);                                                              \
        return error ? failed(error) : REAL(name)(fd, to, bytes, at);                                                  \
    }

/* A vector is read as far as its first piece goes where a fault is in the way: reads may always be short. */
#define READ_VECTOR_AT(name, PARAMETERS, ARGUMENTS)                                                                    \
    ssize_t name PARAMETERS                                                                                            \
    {                                                                                                                  \
        struct iovec first = v[0];                                                                                     \
        if (!fault_of_fd("fail", fd) && !fault_of_fd("grow", fd))                                                      \
            return REAL(name) ARGUMENTS;                                                                               \
        const int error = before_reading(fd, at, &first.iov_len);                                                      \
        v = &first;                                                                                                    \
        n = 1;                                                                                                         \
        return error ? failed(error) : REAL(name) ARGUMENTS;                                                           \
    }

READ_AT(pread)
READ_AT(pread64)
READ_VECTOR_AT(preadv, (int fd, const struct iovec *v, int n, off_t at), (fd, v, n, at))
READ_VECTOR_AT(preadv64, (int fd, const struct iovec *v, int n, off_t at), (fd, v, n, at))
READ_VECTOR_AT(preadv2, (int fd, const struct iovec *v, int n, off_t at, int flags), (fd, v, n, at, flags))
READ_VECTOR_AT(preadv64v2, (int fd, const struct iovec *v, int n, off_t at, int flags), (fd, v, n, at, flags))

ssize_t read(int fd, void *to, size_t bytes)
{
    const int error = before_reading(fd, lseek(fd, 0, SEEK_CUR), &bytes);
    return error ? failed(error) : REAL(read)(fd, to, bytes);
}

ssize_t readv(int fd, const struct iovec *v, int n)
{
    struct iovec first = v[0];
    if (!fault_of_fd("fail", fd) && !fault_of_fd("grow", fd))
        return REAL(readv)(fd, v, n);
    const int error = before_reading(fd, lseek(fd, 0, SEEK_CUR), &first.iov_len);
    return error ? failed(error) : REAL(readv)(fd, &first, 1);
}

/* Listing */

struct dirent64 *readdir64(DIR *folder)
{
    const struct fault *fault = fault_of_fd("list", dirfd(folder));
    if (!fault)
        return REAL(readdir64)(folder);
    errno = fault->error;
    return NULL;
}

ssize_t getdents64(int fd, void *to, size_t bytes)
{
    const struct fault *fault = fault_of_fd("list", fd);
    return fault ? failed(fault->error) : REAL(getdents64)(fd, to, bytes);
}

long syscall(long number, ...)
{
    long a[6];
    va_list rest;
    va_start(rest, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(rest, long);
    va_end(rest);
    const struct fault *fault = number == SYS_getdents64 ? fault_of_fd("list", (int)a[0]) : NULL;
    return fault ? failed(fault->error) : REAL(syscall)(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* The file system */

int fstatfs(int fd, struct statfs *to)
{
    const struct fault *fault = fault_of_fd("system", fd);
    const int result = REAL(fstatfs)(fd, to);
    if (fault)
        to->f_type = (__typeof__(to->f_type))fault->at;
    return result;
}

/* Opening */

static int before_opening(const char *path)
{
    struct fault *move = fault_of("move", path);
    struct fault *swap = fault_of("swap", path);
    const struct fault *fail = fault_of("open", path);
    if (move && !atomic_flag_test_and_set(&move->done) && rename(move->from, move->to))
        abort();
    if (swap && !atomic_flag_test_and_set(&swap->done) &&
        renameat2(AT_FDCWD, swap->from, AT_FDCWD, swap->to, RENAME_EXCHANGE))
        abort();
    return fail ? fail->error : 0;
}

#define MODE_OF(flags, mode)                                                                                           \
    mode_t mode = 0;                                                                                                   \
    if (flags & (O_CREAT | __O_TMPFILE)) {                                                                             \
        va_list rest;                                                                                                  \
        va_start(rest, flags);                                                                                         \
        mode = va_arg(rest, mode_t);                                                                                   \
        va_end(rest);                                                                                                  \
    }

#define OPEN(name)                                                                                                     \
    int name(const char *path, int flags, ...)                                                                         \
    {                                                                                                                  \
        MODE_OF(flags, mode)                                                                                           \
        const int error = before_opening(path);                                                                        \
        return error ? (int)failed(error) : REAL(name)(path, flags, mode);                                             \
    }

#define OPEN_AT(name)                                                                                                  \
    int name(int folder, const char *path, int flags, ...)                                                             \
    {                                                                                                                  \
        MODE_OF(flags, mode)                                                                                           \
        const int error = before_opening(path);                                                                        \
        return error ? (int)failed(error) : REAL(name)(folder, path, flags, mode);                                     \
    }

OPEN(open)
OPEN(open64)
OPEN_AT(openat)
OPEN_AT(openat64)

/* Extended attributes */

static const char LARGE[] = "user.large";

static ssize_t listed(char *to, size_t bytes)
{
    if (bytes && bytes < sizeof LARGE)
        return failed(ERANGE);
    if (bytes)
        memcpy(to, LARGE, sizeof LARGE);
    return sizeof LARGE;
}

static ssize_t gotten(const struct fault *fault, const char *name, void *to, size_t bytes)
{
    if (strcmp(name, LARGE))
        return failed(ENODATA);
    if (bytes && bytes < (size_t)fault->at)
        return failed(ERANGE);
    if (bytes)
        memset(to, 'x', (size_t)fault->at);
    return (ssize_t)fault->at;
}

ssize_t flistxattr(int fd, char *to, size_t bytes)
{
    return fault_of_fd("attribute", fd) ? listed(to, bytes) : REAL(flistxattr)(fd, to, bytes);
}

ssize_t fgetxattr(int fd, const char *name, void *to, size_t bytes)
{
    const struct fault *fault = fault_of_fd("attribute", fd);
    return fault ? gotten(fault, name, to, bytes) : REAL(fgetxattr)(fd, name, to, bytes);
}

#define LIST_ATTRIBUTES(name)                                                                                          \
    ssize_t name(const char *path, char *to, size_t bytes)                                                             \
    {                                                                                                                  \
        return fault_of_handle("attribute", path) ? listed(to, bytes) : REAL(name)(path, to, bytes);                   \
    }

#define GET_ATTRIBUTE(name)                                                                                            \
    ssize_t name(const char *path, const char *key, void *to, size_t bytes)                                            \
    {                                                                                                                  \
        const struct fault *fault = fault_of_handle("attribute", path);                                                \
        return fault ? gotten(fault, key, to, bytes) : REAL(name)(path, key, to, bytes);                               \
    }

LIST_ATTRIBUTES(listxattr)
LIST_ATTRIBUTES(llistxattr)
GET_ATTRIBUTE(getxattr)
GET_ATTRIBUTE(lgetxattr)
