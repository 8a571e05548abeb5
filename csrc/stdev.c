/* The table of functions over the st driver. */
#include "stdev.h"

#include <errno.h>
#include <limits.h>
#include <sys/mtio.h>
#include <unistd.h>

#include "stdrive.h"

#define SPACE_MAX 0x7fffff /* the SPACE command counts in 24 bits, with a sign */

static int mounted(struct tl_st *st)
{
    if (st->over)
        return st->over; /* st->error is still that of the failure */
    if (!st->mounted)
        return tl_st_refused(st, TL_ERR_NO_MEDIUM, 0);
    st->error = 0;
    return TL_OK;
}

/* What the tape stands at now is what was counted: or somebody else moved it, or a reset did. */
static int check_place(struct tl_st *st)
{
    uint64_t here;
    int error = tl_st_where(st, &here);

    if (error)
        return tl_st_ended(st, error);
    if (here == st->position)
        return TL_OK;
    st->over = TL_ERR_POSITION_LOST;
    tl_st_forget_writing(st);
    return tl_st_refused(st, TL_ERR_POSITION_LOST, 0);
}

/* The tape has moved; where to, the drive says. */
static int take_place(struct tl_st *st, int status)
{
    uint64_t here;
    int error = tl_st_where(st, &here);

    if (error)
        return tl_st_ended(st, error);
    st->position = here;
    return status;
}

static int st_write(void *dev, const struct tl_vec *v, uint32_t n, uint32_t *done)
{
    struct tl_st *st = dev;
    int status = mounted(st);

    *done = 0;
    if (status || n == 0)
        return status;
    if (st->protected_)
        return tl_st_refused(st, TL_ERR_WRITE_PROTECTED, 0);
    for (uint32_t i = 0; i < n; i++)
        if (v[i].bytes < st->block_min || v[i].bytes > st->block_max)
            return tl_st_refused(st, TL_ERR_BLOCK_SIZE, 0);
    if (!st->writing && (status = check_place(st)))
        return status;
    while (status == TL_OK && *done < n) {
        status = tl_st_write_block(st, &v[*done]);
        if (status > TL_END_OF_MEDIUM)
            break;
        st->writing = true; /* for the driver, also where the tape refused the block */
        st->end = st->position;
        *done += status != TL_END_OF_MEDIUM;
    }
    return status;
}

static int st_write_filemarks(void *dev, uint32_t count)
{
    struct tl_st *st = dev;
    int status = mounted(st), error;

    if (status)
        return status;
    if (st->protected_)
        return tl_st_refused(st, TL_ERR_WRITE_PROTECTED, 0);
    if (count == 0 || count > SPACE_MAX)
        return tl_st_refused(st, TL_ERR_INVALID, 0);
    if (!st->writing && (status = check_place(st)))
        return status;
    error = tl_st_do(st, MTWEOF, (int)count);
    if (error == EACCES)
        return tl_st_refused(st, TL_ERR_WRITE_PROTECTED, error);
    if (error)
        return tl_st_ended(st, error);
    st->writing = false;
    st->position += count;
    st->end = st->position;
    if (st->file != TL_ST_UNKNOWN)
        st->file += count;
    return check_place(st); /* what the filemark vouches for is there, block for block */
}

/* Before the tape leaves its place; `marks`: the driver writes a filemark first where the last thing was a write. */
static int leave(struct tl_st *st, bool marks)
{
    int status = mounted(st);

    if (status)
        return status;
    if (st->writing && marks)
        st->end = st->position + 1;
    st->writing = st->near_end = false;
    return TL_OK;
}

static int at_filemark(struct tl_st *st)
{
    if (st->file != TL_ST_UNKNOWN)
        st->file++;
    return TL_FILEMARK;
}

static int at_end(struct tl_st *st)
{
    st->end = st->position;
    return TL_END_OF_DATA;
}

/* Just behind a write, and on a blank tape, the driver has one EIO for the end of data, for a block that cannot be read and
 * for another tape. Spacing tells: it moves nothing at the end, and says so. */
static bool ends_here(struct tl_st *st)
{
    uint64_t here;

    if (GMT_EOD(tl_st_gstat(st)))
        return true;
    if (tl_st_where(st, &here) || here != st->position)
        return false;
    return tl_st_do(st, MTFSR, 1) == EIO && GMT_EOD(tl_st_gstat(st));
}

/* read() came back with nothing, or an error. */
static int read_nothing(struct tl_st *st, ssize_t got, int error)
{
    uint64_t before = st->position;
    int status;

    if (got < 0 && (error == EBUSY || error == EINVAL))
        return tl_st_refused(st, TL_ERR_BLOCK_SIZE, error);
    if (got < 0 && error != ENOMEM && !(error == EIO && ends_here(st)))
        return tl_st_ended(st, error);
    status = take_place(st, TL_OK);
    if (status)
        return status;
    if (st->position == before + 1 && got == 0)
        return at_filemark(st);
    if (st->position == before + 1 && error == ENOMEM)
        return tl_st_refused(st, TL_ERR_ROOM, error);
    if (st->position == before && error != ENOMEM)
        return at_end(st);
    st->position = before;
    return tl_st_ended(st, got < 0 ? error : EIO);
}

static int st_read(void *dev, struct tl_vec *v, uint32_t n, uint32_t *done)
{
    struct tl_st *st = dev;
    int status = leave(st, false);

    *done = 0;
    while (status == TL_OK && *done < n) {
        /* The driver refuses more room than the drive has for a block, and takes none for a filemark. */
        uint32_t room = v[*done].bytes < st->block_max ? v[*done].bytes : st->block_max;
        ssize_t got;

        if (room == 0)
            return tl_st_refused(st, TL_ERR_INVALID, 0);
        do
            got = read(st->fd, v[*done].data, room);
        while (got < 0 && errno == EINTR);
        if (got <= 0)
            return read_nothing(st, got, got < 0 ? errno : 0);
        v[(*done)++].bytes = (uint32_t)got;
        st->position++;
    }
    return status;
}

static int st_rewind(void *dev)
{
    struct tl_st *st = dev;
    int status = leave(st, true), error;

    if (status)
        return status;
    error = tl_st_do(st, MTREW, 1);
    if (error)
        return tl_st_ended(st, error);
    st->position = st->file = 0;
    return TL_OK;
}

/* Spacing back was stopped by the beginning; where the driver believes that it stands then depends on where it came from. */
static int at_beginning(struct tl_st *st)
{
    int status = st_rewind(st);

    return status ? status : TL_BEGIN_OF_TAPE;
}

static int st_to_end_of_data(void *dev)
{
    struct tl_st *st = dev;
    int status = leave(st, false), error;

    if (status)
        return status;
    error = tl_st_do(st, MTEOM, 1);
    if (error)
        return tl_st_ended(st, error);
    st->file = TL_ST_UNKNOWN;
    status = take_place(st, TL_OK);
    if (status == TL_OK)
        st->end = st->position;
    return status;
}

static int st_locate(void *dev, uint64_t position)
{
    struct tl_st *st = dev;
    uint64_t stopped;
    int status, error;

    if (position > INT_MAX)
        return tl_st_refused(st, TL_ERR_INVALID, 0);
    status = leave(st, true);
    if (status)
        return status;
    error = tl_st_do(st, MTSEEK, (int)position);
    st->file = position == 0 ? 0 : TL_ST_UNKNOWN;
    if (!error) {
        st->position = position;
        return TL_OK;
    }
    /* Beyond the end of data it stops there, with the EIO that everything has. */
    if (error != EIO || tl_st_where(st, &stopped) || stopped >= position)
        return tl_st_ended(st, error);
    status = st_to_end_of_data(st);
    if (status)
        return status;
    return st->position == stopped ? TL_END_OF_DATA : tl_st_ended(st, error);
}

static int st_space_filemarks(void *dev, int64_t count)
{
    struct tl_st *st = dev;
    int status, error;

    if (count < -SPACE_MAX || count > SPACE_MAX)
        return tl_st_refused(st, TL_ERR_INVALID, 0);
    status = leave(st, count < 0);
    if (status || count == 0)
        return status;
    error = count > 0 ? tl_st_do(st, MTFSF, (int)count) : tl_st_do(st, MTBSF, (int)-count);
    if (!error) {
        if (st->file != TL_ST_UNKNOWN)
            st->file += (uint64_t)count;
        return take_place(st, TL_OK);
    }
    if (error != EIO)
        return tl_st_ended(st, error);
    if (count > 0 && GMT_EOD(tl_st_gstat(st))) {
        st->file = TL_ST_UNKNOWN;
        status = take_place(st, TL_OK);
        return status ? status : at_end(st);
    }
    status = count < 0 ? take_place(st, TL_OK) : TL_OK;
    if (status)
        return status;
    return count < 0 && st->position == 0 ? at_beginning(st) : tl_st_ended(st, error);
}

/* Going back over blocks was stopped: by a filemark, if one is passed here going forward, or else by the beginning. */
static int stopped_going_back(struct tl_st *st, int error)
{
    int status = take_place(st, TL_OK);

    if (status)
        return status;
    if (tl_st_do(st, MTFSR, 1) != EIO || !GMT_EOF(tl_st_gstat(st)))
        return st->position == 0 ? at_beginning(st) : tl_st_ended(st, error);
    error = tl_st_do(st, MTBSF, 1);
    if (error)
        return tl_st_ended(st, error);
    if (st->file != TL_ST_UNKNOWN)
        st->file--;
    status = check_place(st);
    return status ? status : TL_FILEMARK;
}

static int st_space_blocks(void *dev, int64_t count)
{
    struct tl_st *st = dev;
    int status, error;
    long gstat;

    if (count < -SPACE_MAX || count > SPACE_MAX)
        return tl_st_refused(st, TL_ERR_INVALID, 0);
    status = leave(st, false);
    if (status || count == 0)
        return status;
    error = count > 0 ? tl_st_do(st, MTFSR, (int)count) : tl_st_do(st, MTBSR, (int)-count);
    if (!error)
        return take_place(st, TL_OK);
    if (error != EIO)
        return tl_st_ended(st, error);
    gstat = tl_st_gstat(st);
    if (count > 0 && (GMT_EOF(gstat) || GMT_EOD(gstat))) {
        status = take_place(st, TL_OK);
        if (status)
            return status;
        return GMT_EOF(gstat) ? at_filemark(st) : at_end(st);
    }
    return count < 0 ? stopped_going_back(st, error) : tl_st_ended(st, error);
}

static int st_position(void *dev, struct tl_position *out)
{
    struct tl_st *st = dev;
    int status = mounted(st);

    if (status == TL_OK)
        status = check_place(st);
    if (status)
        return status;
    if (st->file == TL_ST_UNKNOWN)
        st->file = tl_st_file_number(st);
    out->position = st->position;
    out->file = st->file;
    out->end_of_data = st->end;
    return TL_OK;
}

static int st_last_errno(void *dev)
{
    return ((struct tl_st *)dev)->error;
}

const struct tl_device_ops *tl_st_ops(void)
{
    static const struct tl_device_ops ops = {
        .abi = TL_DEVICE_ABI,
        .batch_max = 8, /* a system call for each block, but one way to the drive's process for all */
        .write = st_write,
        .write_filemarks = st_write_filemarks,
        .read = st_read,
        .rewind = st_rewind,
        .locate = st_locate,
        .to_end_of_data = st_to_end_of_data,
        .space_filemarks = st_space_filemarks,
        .space_blocks = st_space_blocks,
        .position = st_position,
        .last_errno = st_last_errno,
        .control = tl_st_control,
    };
    return &ops;
}
