#include "unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK 512u
#define ID_MAX INT64_C(0xFFFFFFFE) /* the one above says: leave it as it is */
#define NS INT64_C(1000000000)

/* What an entry says, judged. */
struct entry {
    char name[TL_NAME_BYTES_MAX + 1];
    const uint8_t *path, *user, *group; /* in the copies of header and records */
    size_t path_bytes, user_bytes, group_bytes;
    int64_t uid, gid, size;
    int64_t mtime_ns, atime_ns;
    uint32_t mode;
};

void tl_owners_add(struct tl_owners *owners, const uint8_t *name, size_t bytes, int64_t id) {
    if (bytes > TL_OWNER_BYTES_MAX || owners->count == TL_OWNERS_MAX)
        return;
    uint32_t i = owners->count++;
    memcpy(owners->known[i].name, name, bytes);
    owners->known[i].bytes = (uint32_t)bytes;
    owners->known[i].id = id;
}

/* Replaces the number *id by what `name` stands for. False where nobody has asked the system yet. */
static bool resolve(struct tl_owners *owners, const uint8_t *name, size_t bytes, int64_t *id) {
    if (bytes == 0)
        return true;
    for (uint32_t n = 0, i = owners->last; n < owners->count; n++, i++) {
        if (i >= owners->count)
            i = 0;
        if (owners->known[i].bytes == bytes && memcmp(owners->known[i].name, name, bytes) == 0) {
            owners->last = i;
            if (owners->known[i].id != TL_BY_NUMBER)
                *id = owners->known[i].id;
            return true;
        }
    }
    return false;
}

/* A number of a header in the form that all write today: octal digits up to a NUL, or a NUL behind one space. */
static bool octal(const uint8_t *field, size_t width, int64_t *value) {
    size_t i = 0;
    int64_t n = 0;
    for (; i < width && field[i] >= '0' && field[i] <= '7'; i++)
        n = n * 8 + (field[i] - '0');
    if (i == 0 || (i < width && field[i] != 0 && !(field[i] == ' ' && (i + 1 == width || field[i + 1] == 0))))
        return false;
    *value = n;
    return true;
}

static bool decimal(const uint8_t *text, size_t bytes, size_t digits_max, int64_t *value) {
    if (bytes == 0 || bytes > digits_max)
        return false;
    int64_t n = 0;
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        n = n * 10 + (text[i] - '0');
    }
    *value = n;
    return true;
}

/* Seconds since 1970 with a fraction of any length, of which nanoseconds count. */
static bool stamp(const uint8_t *text, size_t bytes, int64_t *ns) {
    bool before = bytes && text[0] == '-';
    text += before;
    bytes -= before;
    const uint8_t *point = memchr(text, '.', bytes);
    size_t whole = point ? (size_t)(point - text) : bytes;
    int64_t seconds, fraction = 0, weight = NS / 10;
    if (!decimal(text, whole, 9, &seconds) && !(decimal(text, whole, 10, &seconds) && seconds <= INT64_C(9200000000)))
        return false;
    for (size_t i = whole + 1; i < bytes; i++, weight /= 10) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        fraction += weight * (text[i] - '0');
    }
    *ns = seconds * NS + fraction;
    if (before)
        *ns = -*ns;
    return true;
}

static bool checksum_right(const uint8_t *block) {
    int64_t stated, sum = 8 * ' ';
    for (size_t i = 0; i < BLOCK; i++)
        sum += block[i];
    for (size_t i = 148; i < 156; i++)
        sum -= block[i];
    return octal(block + 148, 8, &stated) && stated == sum;
}

static size_t string_bytes(const uint8_t *field, size_t width) {
    const uint8_t *end = memchr(field, 0, width);
    return end ? (size_t)(end - field) : width;
}

static size_t padded(size_t bytes) {
    return (bytes + BLOCK - 1) / BLOCK * BLOCK;
}

static bool is_key(const uint8_t *key, size_t bytes, const char *name) {
    return bytes == strlen(name) && memcmp(key, name, bytes) == 0;
}

/* One record. False for a kind that the slow way knows better. */
static bool take_record(struct entry *entry, const uint8_t *key, size_t key_bytes, const uint8_t *value, size_t bytes) {
    if (is_key(key, key_bytes, "mtime"))
        return stamp(value, bytes, &entry->mtime_ns);
    if (is_key(key, key_bytes, "path")) {
        entry->path = value;
        entry->path_bytes = bytes;
        return bytes != 0;
    }
    if (is_key(key, key_bytes, "atime"))
        return stamp(value, bytes, &entry->atime_ns);
    if (is_key(key, key_bytes, "ctime"))
        return true; /* nobody can set it */
    if (is_key(key, key_bytes, "size"))
        return decimal(value, bytes, 15, &entry->size);
    if (is_key(key, key_bytes, "uid"))
        return decimal(value, bytes, 10, &entry->uid) && entry->uid <= ID_MAX;
    if (is_key(key, key_bytes, "gid"))
        return decimal(value, bytes, 10, &entry->gid) && entry->gid <= ID_MAX;
    if (is_key(key, key_bytes, "uname")) {
        entry->user = value;
        entry->user_bytes = bytes;
        return true;
    }
    if (is_key(key, key_bytes, "gname")) {
        entry->group = value;
        entry->group_bytes = bytes;
        return true;
    }
    return false;
}

static bool take_records(struct entry *entry, const uint8_t *text, size_t bytes) {
    while (bytes) {
        const uint8_t *space = memchr(text, ' ', bytes < 8 ? bytes : 8);
        int64_t length;
        if (!space || !decimal(text, (size_t)(space - text), 7, &length) || length > (int64_t)bytes)
            return false;
        const uint8_t *key = space + 1, *end = text + length - 1; /* at its newline */
        if (key >= end || *end != '\n')
            return false;
        const uint8_t *equals = memchr(key, '=', (size_t)(end - key));
        if (!equals || !take_record(entry, key, (size_t)(equals - key), equals + 1, (size_t)(end - equals - 1)))
            return false;
        text += length;
        bytes -= (size_t)length;
    }
    return true;
}

static bool take_header(struct entry *entry, const uint8_t *block) {
    int64_t mode, seconds;
    if (!octal(block + 100, 8, &mode) || !octal(block + 108, 8, &entry->uid) || !octal(block + 116, 8, &entry->gid) ||
        !octal(block + 124, 12, &entry->size) || !octal(block + 136, 12, &seconds) || seconds > INT64_C(9200000000))
        return false;
    entry->mode = mode & 07777;
    entry->mtime_ns = seconds * NS;
    entry->path = block;
    entry->path_bytes = string_bytes(block, 100);
    entry->user = block + 265;
    entry->user_bytes = string_bytes(block + 265, 32);
    entry->group = block + 297;
    entry->group_bytes = string_bytes(block + 297, 32);
    return true;
}

/* The name in the present folder, where the path is one in it. */
static bool take_name(struct entry *entry, const char *here, size_t here_bytes) {
    const uint8_t *name = entry->path;
    size_t bytes = entry->path_bytes;
    if (here_bytes) {
        if (bytes <= here_bytes || memcmp(name, here, here_bytes) != 0 || name[here_bytes] != '/')
            return false;
        name += here_bytes + 1;
        bytes -= here_bytes + 1;
    }
    if (bytes == 0 || bytes > TL_NAME_BYTES_MAX || memchr(name, '/', bytes) || memchr(name, 0, bytes))
        return false;
    if (name[0] == '.' && (bytes == 1 || (bytes == 2 && name[1] == '.')))
        return false;
    memcpy(entry->name, name, bytes);
    entry->name[bytes] = 0;
    return true;
}

static int write_all(int fd, const uint8_t *data, size_t bytes) {
    while (bytes) {
        ssize_t done = write(fd, data, bytes);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return done ? errno : ENOSPC;
        data += done;
        bytes -= (size_t)done;
    }
    return 0;
}

static struct timespec timespec_of(int64_t ns) {
    struct timespec time = {ns / NS, ns % NS};
    if (time.tv_nsec < 0) {
        time.tv_sec -= 1;
        time.tv_nsec += NS;
    }
    return time;
}

/*
 * The mode to create a file with: its own where it will belong to whom it should, as the last one here did, so that nothing
 * needs to be changed afterwards; otherwise one that lets nobody else in meanwhile. Bits that make a program run as its
 * owner come last of all.
 */
static mode_t first_mode(const struct tl_unpack *unpack, const struct entry *entry) {
    bool ours = unpack->firsts_known && unpack->first_uid == entry->uid && unpack->first_gid == entry->gid;
    return ours ? entry->mode & 0777 : 0600;
}

/*
 * Looks at what the system has made of it (umask, groups that a folder hands down, file systems without modes) and changes
 * what differs. The owner before the mode: a change of owner takes the bits that make a program run as its owner.
 */
static bool dress(struct tl_unpack *unpack, int fd, const struct entry *entry) {
    struct timespec times[2] = {timespec_of(entry->atime_ns), timespec_of(entry->mtime_ns)};
    struct stat status;
    if (fstat(fd, &status) != 0)
        return false;
    unpack->first_uid = status.st_uid;
    unpack->first_gid = status.st_gid;
    unpack->firsts_known = true;
    bool owned = status.st_uid == entry->uid && status.st_gid == entry->gid;
    if (!owned && fchown(fd, (uid_t)entry->uid, (gid_t)entry->gid) != 0)
        return false;
    if ((!owned || (status.st_mode & 07777) != entry->mode) && fchmod(fd, entry->mode) != 0)
        return false;
    return futimens(fd, times) == 0;
}

static bool make(struct tl_unpack *unpack, int folder, const struct entry *entry, const uint8_t *content) {
    int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    int fd = openat(folder, entry->name, flags, first_mode(unpack, entry));
    if (fd < 0)
        return false;
    bool whole = write_all(fd, content, (size_t)entry->size) == 0;
    unpack->refused = whole && !dress(unpack, fd, entry);
    whole = whole && !unpack->refused;
    if (close(fd) != 0)
        whole = false;
    if (!whole)
        unlinkat(folder, entry->name, 0);
    return whole;
}

/* Makes the entry at `data`. Returns the bytes that it takes, or 0 where it is not one for this way. */
static size_t make_one(struct tl_unpack *unpack, int folder, const char *here, size_t here_bytes, const uint8_t *data, size_t bytes) {
    uint8_t block[BLOCK];
    size_t at = 0, records_bytes = 0;
    if (bytes < BLOCK)
        return 0;
    memcpy(block, data, BLOCK);
    if (block[156] == 'x') {
        int64_t length;
        if (!checksum_right(block) || !octal(block + 124, 12, &length) || length > TL_RECORDS_BYTES_MAX)
            return 0;
        records_bytes = (size_t)length;
        at = BLOCK + padded(records_bytes);
        if (bytes < at + BLOCK)
            return 0;
        memcpy(unpack->records, data + BLOCK, records_bytes);
        memcpy(block, data + at, BLOCK);
    }
    at += BLOCK;
    struct entry entry = {.atime_ns = unpack->now_ns};
    if ((block[156] != '0' && block[156] != 0) || !checksum_right(block) || !take_header(&entry, block))
        return 0;
    if (memcmp(block + 257, "ustar", 6) == 0 && block[345] != 0)
        entry.path_bytes = 0; /* a name in two halves: only a record's path will do */
    if (!take_records(&entry, unpack->records, records_bytes) || !take_name(&entry, here, here_bytes))
        return 0;
    if (entry.size > (int64_t)(bytes - at) || padded((size_t)entry.size) > bytes - at)
        return 0;
    if (!unpack->numeric && (!resolve(&unpack->users, entry.user, entry.user_bytes, &entry.uid) ||
                             !resolve(&unpack->groups, entry.group, entry.group_bytes, &entry.gid)))
        return 0;
    if (!make(unpack, folder, &entry, data + at))
        return 0;
    unpack->files += 1;
    unpack->bytes += (uint64_t)entry.size;
    memcpy(unpack->last, entry.name, sizeof unpack->last);
    return at + padded((size_t)entry.size);
}

size_t tl_unpack_run(struct tl_unpack *unpack, int folder, const char *here, size_t here_bytes, const uint8_t *data, size_t bytes) {
    size_t done = 0, one;
    unpack->refused = unpack->firsts_known = false;
    while ((one = make_one(unpack, folder, here, here_bytes, data + done, bytes - done)))
        done += one;
    return done;
}

int tl_zero_range(int fd, uint64_t offset, uint64_t bytes) {
    static const uint8_t zeros[64 << 10];
    if (bytes == 0 || fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)bytes) == 0)
        return 0;
    while (bytes) {
        ssize_t done = pwrite(fd, zeros, bytes < sizeof zeros ? bytes : sizeof zeros, (off_t)offset);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return done ? errno : ENOSPC;
        offset += (uint64_t)done;
        bytes -= (uint64_t)done;
    }
    return 0;
}
