#include "vtape_index.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "device.h"
#include "vtape_data.h"

#define HEAD_BYTES 4096u
#define GROWTH_BYTES (256u * 1024u) /* 8192 entries: 4 GiB of tape in blocks of 512 KiB */
#define VERSION 1u
#define FLAG_PROTECTED 1u

static const char MAGIC[8] = {'T', 'L', 'V', 'T', 'I', 'N', 'D', 'X'};

struct head {
    char magic[8];
    uint32_t version;
    uint32_t flags;
    uint64_t id;
    uint64_t check;
};

_Static_assert(sizeof(struct tl_entry) == 32, "the layout on disk");
_Static_assert(sizeof(struct head) == 32, "the layout on disk");
_Static_assert(HEAD_BYTES % sizeof(struct tl_entry) == 0, "an entry never lies across two pages");

static uint64_t mix(uint64_t sum, uint64_t word)
{
    sum = (sum ^ word) * UINT64_C(0x9E3779B97F4A7C15);
    return sum ^ (sum >> 32);
}

static uint64_t head_check(const struct head *head)
{
    return mix(mix(mix(1, head->version), head->flags), head->id);
}

static uint64_t entry_check(const struct tl_index *ix, uint64_t position, const struct tl_entry *entry)
{
    return mix(mix(mix(mix(mix(1, ix->id), position), entry->at), entry->file), entry->bytes);
}

static struct tl_entry *entries(const struct tl_index *ix)
{
    return (struct tl_entry *)(void *)(ix->map + HEAD_BYTES);
}

static int write_head(int fd, struct head *head)
{
    ssize_t put;

    head->check = head_check(head);
    put = pwrite(fd, head, sizeof *head, 0);
    if (put != (ssize_t)sizeof *head)
        return put < 0 ? errno : EIO;
    return fsync(fd) ? errno : 0;
}

int tl_index_format(int fd, uint64_t id)
{
    struct head head = {.version = VERSION, .id = id};

    memcpy(head.magic, MAGIC, sizeof MAGIC);
    if (ftruncate(fd, HEAD_BYTES))
        return errno;
    return write_head(fd, &head);
}

int tl_index_protect(int fd, bool on)
{
    struct head head;
    ssize_t got = pread(fd, &head, sizeof head, 0);

    if (got != (ssize_t)sizeof head)
        return got < 0 ? errno : EIO;
    head.flags = on ? head.flags | FLAG_PROTECTED : head.flags & ~FLAG_PROTECTED;
    return write_head(fd, &head);
}

/* Sound: it was published for this place of this cartridge, follows from its predecessor, and its block is in the
 * data file. */
static bool sound(const struct tl_index *ix, uint64_t position, uint64_t at, uint64_t file, uint64_t data_bytes)
{
    const struct tl_entry *entry = &entries(ix)[position];

    return entry->check == entry_check(ix, position, entry) && entry->zero == 0 && entry->at == at &&
           entry->file == file && at + tl_pages(entry->bytes) <= data_bytes;
}

static uint64_t unsound_behind(const struct tl_index *ix)
{
    static const struct tl_entry blank;
    uint64_t found = 0;

    for (uint64_t i = ix->count; i < ix->room; i++)
        found += memcmp(&entries(ix)[i], &blank, sizeof blank) != 0;
    return found;
}

int tl_index_open(struct tl_index *ix, int fd, bool writable, uint64_t data_bytes, int *error)
{
    struct stat st;
    struct head head;
    uint64_t at = 0, file = 0;

    *ix = (struct tl_index){.fd = fd, .writable = writable};
    if (fstat(fd, &st)) {
        *error = errno;
        return TL_ERR_IO;
    }
    if (st.st_size < (off_t)HEAD_BYTES)
        return TL_ERR_INVALID;
    ix->map_bytes = tl_pages((uint64_t)st.st_size);
    ix->map = mmap(NULL, ix->map_bytes, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);
    if (ix->map == MAP_FAILED) {
        ix->map = NULL;
        *error = errno;
        return TL_ERR_IO;
    }
    memcpy(&head, ix->map, sizeof head);
    if (memcmp(head.magic, MAGIC, sizeof MAGIC) != 0 || head.check != head_check(&head)) {
        tl_index_close(ix);
        return TL_ERR_INVALID;
    }
    if (head.version != VERSION) {
        tl_index_close(ix);
        return TL_ERR_UNSUPPORTED;
    }
    ix->id = head.id;
    ix->flagged = head.flags & FLAG_PROTECTED;
    ix->room = ((uint64_t)st.st_size - HEAD_BYTES) / sizeof(struct tl_entry);
    for (; ix->count < ix->room && sound(ix, ix->count, at, file, data_bytes); ix->count++) {
        uint32_t bytes = entries(ix)[ix->count].bytes;

        at += tl_pages(bytes);
        file += bytes == 0;
    }
    ix->synced = 0; /* a writer that was killed left entries that only the page cache knows */
    ix->damaged = unsound_behind(ix);
    ix->dirt = ix->damaged > 0;
    return TL_OK;
}

void tl_index_close(struct tl_index *ix)
{
    if (ix->map)
        munmap(ix->map, ix->map_bytes);
    ix->map = NULL;
}

int tl_index_reserve(struct tl_index *ix, uint64_t wanted)
{
    uint64_t old_bytes = HEAD_BYTES + ix->room * sizeof(struct tl_entry), new_bytes;
    int error;

    if (wanted <= ix->room)
        return 0;
    new_bytes = HEAD_BYTES + wanted * sizeof(struct tl_entry);
    new_bytes = (new_bytes + GROWTH_BYTES - 1) / GROWTH_BYTES * GROWTH_BYTES;
    error = posix_fallocate(ix->fd, (off_t)old_bytes, (off_t)(new_bytes - old_bytes));
    if (error)
        return error;
    if (new_bytes > ix->map_bytes) {
        void *map = mremap(ix->map, ix->map_bytes, new_bytes, MREMAP_MAYMOVE);

        if (map == MAP_FAILED)
            return errno;
        ix->map = map;
        ix->map_bytes = new_bytes;
    }
    ix->room = (new_bytes - HEAD_BYTES) / sizeof(struct tl_entry);
    return 0;
}

int tl_index_cut(struct tl_index *ix, uint64_t count)
{
    if (count == ix->count && !ix->dirt)
        return 0;
    if (ftruncate(ix->fd, (off_t)(HEAD_BYTES + count * sizeof(struct tl_entry))))
        return errno;
    ix->count = count;
    ix->room = count; /* the map reaches further than the file now: nothing behind room is touched */
    ix->synced = ix->synced < count ? ix->synced : count;
    ix->dirt = false;
    return fsync(ix->fd) ? errno : 0;
}

void tl_index_add(struct tl_index *ix, uint32_t bytes)
{
    struct tl_entry entry = {
        .at = tl_index_at(ix, ix->count), .file = tl_index_file(ix, ix->count), .bytes = bytes};

    entry.check = entry_check(ix, ix->count, &entry);
    entries(ix)[ix->count++] = entry;
}

int tl_index_sync(struct tl_index *ix)
{
    uint64_t from = (HEAD_BYTES + ix->synced * sizeof(struct tl_entry)) / HEAD_BYTES * HEAD_BYTES;
    uint64_t to = HEAD_BYTES + ix->count * sizeof(struct tl_entry);

    if (ix->synced == ix->count)
        return 0;
    if (msync(ix->map + from, to - from, MS_SYNC))
        return errno;
    ix->synced = ix->count;
    return 0;
}

const struct tl_entry *tl_index_entry(const struct tl_index *ix, uint64_t position)
{
    return &entries(ix)[position];
}

uint64_t tl_index_file(const struct tl_index *ix, uint64_t position)
{
    if (position == 0)
        return 0;
    return entries(ix)[position - 1].file + (entries(ix)[position - 1].bytes == 0);
}

uint64_t tl_index_at(const struct tl_index *ix, uint64_t position)
{
    if (position == 0)
        return 0;
    return entries(ix)[position - 1].at + tl_pages(entries(ix)[position - 1].bytes);
}

uint64_t tl_index_behind_mark(const struct tl_index *ix, uint64_t file)
{
    uint64_t low = 0, high = ix->count;

    while (low < high) { /* the first position that has `file` filemarks before it */
        uint64_t middle = low + (high - low) / 2;

        if (tl_index_file(ix, middle) < file)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}
