/* The virtual tape: what the st driver answers, on two files.
 *
 * NAME.tape, the data file: blocks as they came, each at a multiple of 4096 bytes, behind one another without a gap;
 * the last page of each is filled up with zeros. Nothing else: no lengths, no filemarks. What stands behind the last
 * block is not recorded.
 *
 * NAME.index: a head of 4096 bytes, then one entry for each position of the tape, block or filemark. Numbers are
 * those of the machine, which is little-endian wherever this has run.
 *
 *   head    at size
 *            0    8  magic     "TLVTINDX"
 *            8    4  version   1
 *           12    4  flags     bit 0: write-protected
 *           16    8  id        drawn for each cartridge
 *           24    8  check     of version, flags, id
 *           32       zeros to 4096
 *
 *   entry   at size            position n, from 0, stands at 4096 + 32 n
 *            0    8  at        offset in the data file; of a filemark: where the next block goes
 *            8    8  file      filemarks before this entry
 *           16    4  bytes     length of the block; 0: a filemark
 *           20    4  zero
 *           24    8  check     of id, n, at, file, bytes
 *
 *   check   sum = 1; for each of the numbers named: sum = (sum ^ number) * 0x9E3779B97F4A7C15 mod 2^64,
 *           then sum = sum ^ (sum >> 32)
 *
 * The tape ends before the first entry that is not sound: a wrong check, an `at` or a `file` that does not follow
 * from the entry before, a `zero` that is not one, or a block that the data file does not hold. So no count has to be
 * kept in step, and a torn index costs its torn part.
 *
 * What is on the disk when: blocks go to the data file first, then their entries are published. A filemark is
 * published when the data file is durable, and it is durable when the call returns, with all before it: nothing
 * before such a filemark can be lost to a power cut. Behind the last filemark a power cut may leave blocks whose
 * bytes never reached the disk. Overwriting forgets the old entries durably before it touches their data. */
#include "vtape.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "vtape_data.h"
#include "vtape_index.h"

/* The index keeps this much space ahead of the blocks, so that a disk that has just become full still takes the
 * closing filemark. */
#define SPARE_ENTRIES 8u

struct tl_vtape {
    struct tl_index index;
    struct tl_data data;
    uint64_t capacity;
    uint64_t warn_from; /* a block that ends behind this offset meets early warning */
    uint64_t position;
    bool mounted;
    bool protected_;
    bool writing;   /* the last thing done was a write: leaving this place writes a filemark first */
    bool near_end;  /* early warning was met since the tape came to this place: the writes from here on say so */
    bool written;   /* cut the data file to what is recorded when the cartridge goes out */
    bool broken;    /* the disk failed to make something durable: nothing written from here on could be vouched for */
    int error;      /* errno of the last failure */
};

static int failed(struct tl_vtape *tape, int error)
{
    tape->error = error;
    return error == ENOSPC || error == EDQUOT || error == EFBIG ? TL_ERR_HOST_FULL : TL_ERR_IO;
}

static int refused(struct tl_vtape *tape, int status)
{
    tape->error = 0;
    return status;
}

static int may_write(struct tl_vtape *tape)
{
    if (!tape->mounted)
        return refused(tape, TL_ERR_NO_MEDIUM);
    if (tape->protected_)
        return refused(tape, TL_ERR_WRITE_PROTECTED);
    if (tape->broken)
        return failed(tape, EIO);
    return TL_OK;
}

/* Cuts off what stands behind here, and makes space for so many entries more. */
static int begin_writing(struct tl_vtape *tape, uint64_t entries)
{
    int error = tl_index_cut(&tape->index, tape->position);

    tape->written = true;
    if (error) {
        tape->broken = true; /* whether the old entries are gone is not known */
        return failed(tape, error);
    }
    error = tl_index_reserve(&tape->index, tape->position + entries);
    return error ? failed(tape, error) : TL_OK;
}

/* How many of the blocks the tape takes now: none behind the physical end, and none behind the one that is warned of.
 * That is the one behind the block that met early warning, as the st driver has it. */
static uint32_t fitting(struct tl_vtape *tape, const struct tl_vec *v, uint32_t n, bool *warned)
{
    uint64_t at = tl_index_at(&tape->index, tape->position);
    uint32_t fit = 0;

    *warned = false;
    while (fit < n && !*warned && at + tl_pages(v[fit].bytes) <= tape->capacity) {
        *warned = tape->near_end;
        at += tl_pages(v[fit++].bytes);
        tape->near_end |= at > tape->warn_from;
    }
    return fit;
}

static int vtape_write(void *dev, const struct tl_vec *v, uint32_t n, uint32_t *done)
{
    struct tl_vtape *tape = dev;
    int status = may_write(tape);
    uint32_t fit;
    bool warned;

    *done = 0;
    if (status || n == 0)
        return status;
    for (uint32_t i = 0; i < n; i++)
        if (v[i].bytes == 0 || v[i].bytes > TL_VTAPE_BLOCK_BYTES_MAX)
            return refused(tape, TL_ERR_BLOCK_SIZE);
    fit = fitting(tape, v, n, &warned);
    if (fit > 0 && (status = begin_writing(tape, fit + SPARE_ENTRIES)))
        return status;
    while (*done < fit) {
        uint32_t batch = fit - *done < TL_VTAPE_BATCH ? fit - *done : TL_VTAPE_BATCH, put;
        int error = tl_data_put(&tape->data, v + *done, batch, tl_index_at(&tape->index, tape->position), &put);

        for (uint32_t i = 0; i < put; i++)
            tl_index_add(&tape->index, v[(*done)++].bytes);
        tape->position += put;
        tape->writing |= put > 0;
        if (error)
            return failed(tape, error);
    }
    if (warned)
        return TL_EARLY_WARNING;
    tape->writing = true; /* also where the tape refused a block, as for the st driver */
    return fit < n ? TL_END_OF_MEDIUM : TL_OK;
}

static int vtape_write_filemarks(void *dev, uint32_t count)
{
    struct tl_vtape *tape = dev;
    int status = may_write(tape), error;

    if (status)
        return status;
    if (count == 0)
        return refused(tape, TL_ERR_INVALID);
    status = begin_writing(tape, count);
    if (status)
        return status;
    tape->writing = false;
    error = fdatasync(tape->data.fd) ? errno : 0; /* the data first, then the mark that vouches for it */
    if (!error) {
        for (uint32_t i = 0; i < count; i++)
            tl_index_add(&tape->index, 0);
        tape->position += count;
        error = tl_index_sync(&tape->index);
    }
    tape->broken = error != 0;
    return error ? failed(tape, error) : TL_OK;
}

/* What leaving this place does: after a write, `mark` says whether a filemark ends it, as the st driver does. */
static int leave(struct tl_vtape *tape, bool mark)
{
    if (!tape->mounted)
        return refused(tape, TL_ERR_NO_MEDIUM);
    tape->near_end = false;
    if (tape->writing && mark)
        return vtape_write_filemarks(tape, 1);
    tape->writing = false;
    return TL_OK;
}

static int vtape_read(void *dev, struct tl_vec *v, uint32_t n, uint32_t *done)
{
    struct tl_vtape *tape = dev;
    int status = leave(tape, false);

    *done = 0;
    while (status == TL_OK && *done < n) {
        uint32_t bytes[TL_VTAPE_BATCH], batch = 0, got;
        int error;

        for (; batch < TL_VTAPE_BATCH && *done + batch < n && tape->position + batch < tape->index.count; batch++) {
            bytes[batch] = tl_index_entry(&tape->index, tape->position + batch)->bytes;
            if (bytes[batch] == 0 || bytes[batch] > v[*done + batch].bytes)
                break;
        }
        error = tl_data_get(&tape->data, v + *done, bytes, batch, tl_index_at(&tape->index, tape->position), &got);
        tape->position += got;
        *done += got;
        if (error)
            return failed(tape, error);
        if (*done == n || batch == TL_VTAPE_BATCH)
            continue;
        if (tape->position == tape->index.count)
            return TL_END_OF_DATA;
        status = bytes[batch] == 0 ? TL_FILEMARK : refused(tape, TL_ERR_ROOM);
        tape->position++;
    }
    return status;
}

static int go_to(struct tl_vtape *tape, uint64_t position, int status)
{
    tape->position = position;
    return status;
}

static int vtape_rewind(void *dev)
{
    int status = leave(dev, true);

    return status ? status : go_to(dev, 0, TL_OK);
}

static int vtape_locate(void *dev, uint64_t position)
{
    struct tl_vtape *tape = dev;
    int status = leave(tape, true);

    if (status)
        return status;
    if (position > tape->index.count)
        return go_to(tape, tape->index.count, TL_END_OF_DATA);
    return go_to(tape, position, TL_OK);
}

static int vtape_to_end_of_data(void *dev)
{
    struct tl_vtape *tape = dev;
    int status = leave(tape, false);

    return status ? status : go_to(tape, tape->index.count, TL_OK);
}

static int vtape_space_filemarks(void *dev, int64_t count)
{
    struct tl_vtape *tape = dev;
    uint64_t wanted = count < 0 ? -(uint64_t)count : (uint64_t)count, file;
    bool marked = tape->writing && count < 0; /* with a filemark that is none of those counted */
    int status = leave(tape, count < 0);

    if (status || count == 0)
        return status;
    wanted += marked;
    file = tl_index_file(&tape->index, tape->position);
    if (count > 0) {
        if (wanted > tl_index_file(&tape->index, tape->index.count) - file)
            return go_to(tape, tape->index.count, TL_END_OF_DATA);
        return go_to(tape, tl_index_behind_mark(&tape->index, file + wanted), TL_OK);
    }
    if (wanted > file)
        return go_to(tape, 0, TL_BEGIN_OF_TAPE);
    return go_to(tape, tl_index_behind_mark(&tape->index, file + 1 - wanted) - 1, TL_OK);
}

static int vtape_space_blocks(void *dev, int64_t count)
{
    struct tl_vtape *tape = dev;
    struct tl_index *ix = &tape->index;
    uint64_t wanted = count < 0 ? -(uint64_t)count : (uint64_t)count, file;
    int status = leave(tape, false);

    if (status || count == 0)
        return status;
    file = tl_index_file(ix, tape->position);
    if (count > 0) {
        bool marked = file < tl_index_file(ix, ix->count);
        uint64_t stop = marked ? tl_index_behind_mark(ix, file + 1) - 1 : ix->count; /* the mark, or the end */

        if (wanted <= stop - tape->position)
            return go_to(tape, tape->position + wanted, TL_OK);
        return marked ? go_to(tape, stop + 1, TL_FILEMARK) : go_to(tape, stop, TL_END_OF_DATA);
    } else {
        uint64_t stop = tl_index_behind_mark(ix, file); /* behind the mark before here, or the beginning */

        if (wanted <= tape->position - stop)
            return go_to(tape, tape->position - wanted, TL_OK);
        return file > 0 ? go_to(tape, stop - 1, TL_FILEMARK) : go_to(tape, 0, TL_BEGIN_OF_TAPE);
    }
}

static int vtape_position(void *dev, struct tl_position *out)
{
    struct tl_vtape *tape = dev;

    if (!tape->mounted)
        return refused(tape, TL_ERR_NO_MEDIUM);
    out->position = tape->position;
    out->file = tl_index_file(&tape->index, tape->position);
    out->end_of_data = tape->index.count;
    return TL_OK;
}

static int vtape_last_errno(void *dev)
{
    return ((struct tl_vtape *)dev)->error;
}

const struct tl_device_ops *tl_vtape_ops(void)
{
    static const struct tl_device_ops ops = {
        .abi = TL_DEVICE_ABI,
        .batch_max = TL_VTAPE_BATCH,
        .write = vtape_write,
        .write_filemarks = vtape_write_filemarks,
        .read = vtape_read,
        .rewind = vtape_rewind,
        .locate = vtape_locate,
        .to_end_of_data = vtape_to_end_of_data,
        .space_filemarks = vtape_space_filemarks,
        .space_blocks = vtape_space_blocks,
        .position = vtape_position,
        .last_errno = vtape_last_errno,
    };
    return &ops;
}

struct tl_vtape *tl_vtape_new(void)
{
    struct tl_vtape *tape = calloc(1, sizeof *tape);

    if (tape && tl_data_init(&tape->data)) {
        free(tape);
        return NULL;
    }
    return tape;
}

void tl_vtape_free(struct tl_vtape *tape)
{
    tl_index_close(&tape->index);
    tl_data_free(&tape->data);
    free(tape);
}

int tl_vtape_format(int index_fd, uint64_t id)
{
    return tl_index_format(index_fd, id);
}

int tl_vtape_protect(int index_fd, int on)
{
    return tl_index_protect(index_fd, on != 0);
}

int tl_vtape_takes_direct(int fd)
{
    return tl_data_direct_align(fd) != 0;
}

int tl_vtape_mount(struct tl_vtape *tape, const struct tl_vtape_cartridge *cartridge)
{
    off_t data_bytes = lseek(cartridge->data_fd, 0, SEEK_END);
    int status;

    if (tape->mounted)
        return refused(tape, TL_ERR_BUSY);
    if (data_bytes < 0)
        return failed(tape, errno);
    tape->error = 0;
    status = tl_index_open(&tape->index, cartridge->index_fd, cartridge->writable, (uint64_t)data_bytes, &tape->error);
    if (status)
        return status;
    tape->data.fd = cartridge->data_fd;
    tape->data.memory_align = cartridge->direct ? tl_data_direct_align(cartridge->data_fd) : 1;
    tape->capacity = cartridge->capacity;
    tape->warn_from = cartridge->capacity - cartridge->early_warning;
    tape->position = 0;
    tape->protected_ = !cartridge->writable || tape->index.flagged;
    tape->writing = tape->near_end = tape->written = tape->broken = false;
    tape->mounted = true;
    return TL_OK;
}

int tl_vtape_unmount(struct tl_vtape *tape)
{
    int status = leave(tape, true);

    if (status == TL_ERR_NO_MEDIUM)
        return status;
    if (tape->written && !tape->broken && ftruncate(tape->data.fd, (off_t)tl_index_at(&tape->index, tape->index.count)))
        status = status ? status : failed(tape, errno);
    tl_index_close(&tape->index);
    tape->mounted = false;
    return status;
}

uint64_t tl_vtape_bytes_before(const void *dev)
{
    const struct tl_vtape *tape = dev;

    return tape->mounted ? tl_index_at(&tape->index, tape->position) : 0;
}

int tl_vtape_write_protected(const struct tl_vtape *tape)
{
    return tape->protected_;
}

uint64_t tl_vtape_damaged(const struct tl_vtape *tape)
{
    return tape->mounted ? tape->index.damaged : 0;
}
