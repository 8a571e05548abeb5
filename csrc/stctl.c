/* What a real drive can be asked besides the table: opening, loading, facts. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mtio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "stdrive.h"

#define TAPE_MAJOR 9u
#define NO_REWIND 128u /* this bit of the minor number */

/* 0 or an errno. EINTR comes before anything was sent. So does ENOSPC: a block from the driver's buffer, which it sends
 * first, has met early warning. It says that once, and whether the block is on tape, the position tells. */
static int ask_driver(struct tl_st *st, unsigned long request, void *argument)
{
    int result, late = 0;

    do
        result = ioctl(st->fd, request, argument);
    while (result && (errno == EINTR || (errno == ENOSPC && !late++)));
    if (late && st->writing)
        st->near_end = true;
    return result ? errno : 0;
}

int tl_st_do(struct tl_st *st, short op, int count)
{
    struct mtop call = {.mt_op = op, .mt_count = count};

    return ask_driver(st, MTIOCTOP, &call);
}

int tl_st_where(struct tl_st *st, uint64_t *position)
{
    struct mtpos here;
    int error = ask_driver(st, MTIOCPOS, &here);

    if (!error)
        *position = (uint64_t)here.mt_blkno;
    return error;
}

long tl_st_gstat(const struct tl_st *st)
{
    struct mtget status;

    return ioctl(st->fd, MTIOCGET, &status) ? 0 : status.mt_gstat;
}

int tl_st_refused(struct tl_st *st, int status, int error)
{
    st->error = error;
    return status;
}

void tl_st_forget_writing(struct tl_st *st)
{
    if (tl_st_do(st, MTUNLOCK, 1)) /* a late error of the driver comes before anything else */
        tl_st_do(st, MTUNLOCK, 1);
}

int tl_st_ended(struct tl_st *st, int error)
{
    uint64_t here = 0;
    long gstat = tl_st_gstat(st);
    int lost = tl_st_where(st, &here);

    tl_st_forget_writing(st);
    st->over = TL_ERR_IO;
    if (error == ENOMEDIUM || GMT_DR_OPEN(gstat))
        st->over = TL_ERR_NO_MEDIUM;
    else if (lost || (here == 0 && st->position > 0)) /* a reset; or another tape, at its beginning */
        st->over = TL_ERR_POSITION_LOST;
    return tl_st_refused(st, st->over, error);
}

/* ---- opening ---- */

static int open_node(struct tl_st *st)
{
    struct stat node;
    int fd = open(st->path, O_RDWR | O_NONBLOCK | O_CLOEXEC);

    if (fd < 0)
        return errno;
    /* What is closed here may rewind, but Python has looked at the name before: this is for a name that changed since. */
    if (fstat(fd, &node) || !S_ISCHR(node.st_mode) || major(node.st_rdev) != TAPE_MAJOR ||
        !(minor(node.st_rdev) & NO_REWIND)) {
        close(fd);
        return ENOTTY;
    }
    st->fd = fd;
    return 0;
}

static int shut_node(struct tl_st *st)
{
    int error = st->fd >= 0 && close(st->fd) ? errno : 0;

    st->fd = -1;
    st->mounted = false;
    return error;
}

/* The driver looks at the drive when it is opened: a cartridge put in since is seen by a new descriptor alone. */
static int open_anew(struct tl_st *st)
{
    int error = shut_node(st), opened = open_node(st);

    return opened ? opened : error;
}

static int control_close(struct tl_st *st)
{
    int error = shut_node(st);

    if (st->bounce)
        munmap(st->bounce, st->direct_bytes);
    st->bounce = NULL;
    return error ? tl_st_refused(st, TL_ERR_IO, error) : TL_OK;
}

static int control_open(struct tl_st *st, struct tl_st_open *open)
{
    if (st->fd >= 0)
        return tl_st_refused(st, TL_ERR_INVALID, 0);
    memcpy(st->path, open->path, sizeof st->path);
    st->path[sizeof st->path - 1] = 0;
    st->direct_bytes = open->direct_bytes;
    if (st->direct_bytes == 0) /* direct input and output is switched off */
        st->bounce = NULL;
    else
        st->bounce = mmap(NULL, st->direct_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (st->bounce == MAP_FAILED) {
        st->bounce = NULL;
        open->error = errno;
        return tl_st_refused(st, TL_ERR_INVALID, open->error);
    }
    open->error = open_node(st);
    if (open->error) {
        control_close(st);
        return tl_st_refused(st, open->error == EBUSY ? TL_ERR_BUSY : TL_ERR_IO, open->error);
    }
    tl_st_find_limits(st);
    return TL_OK;
}

/* ---- cartridges ---- */

static enum tl_st_ready said(const struct tl_sg_result *result)
{
    if (tl_sg_good(result))
        return TL_ST_LOADED;
    if (result->key == TL_SENSE_NOT_READY && result->asc == 0x3a)
        return TL_ST_EMPTY;
    if (result->key == TL_SENSE_NOT_READY && result->asc == 0x04 && result->ascq == 0x01)
        return TL_ST_BECOMING;
    if (result->key == TL_SENSE_NOT_READY && result->asc == 0x04 && result->ascq == 0x02)
        return TL_ST_STOPPED;
    return TL_ST_TROUBLED;
}

static void look_ready(struct tl_st *st)
{
    static const uint8_t test_unit_ready[6] = {0};
    struct tl_st_facts *facts = &st->facts;
    struct tl_sg_result result;
    int error = tl_st_send(st, test_unit_ready, sizeof test_unit_ready, TL_SG_NONE, NULL, 0, TL_ST_QUICK_MS, &result);

    facts->key = facts->asc = facts->ascq = 0;
    if (error == EPERM) { /* without CAP_SYS_RAWIO: the driver asks when it is opened */
        facts->error = st->mounted ? 0 : open_anew(st);
        facts->ready = !facts->error && GMT_ONLINE(tl_st_gstat(st)) ? TL_ST_LOADED : TL_ST_EMPTY;
        return;
    }
    facts->error = error;
    facts->ready = error ? TL_ST_TROUBLED : said(&result);
    if (error)
        return;
    facts->key = result.key;
    facts->asc = result.asc;
    facts->ascq = result.ascq;
}

static int no_medium(struct tl_st *st, int error)
{
    return tl_st_refused(st, TL_ERR_NO_MEDIUM, error);
}

/* The mount begins: whatever the driver believes of its place is made true. */
static int begin_mount(struct tl_st *st)
{
    struct mtget status;
    int error = tl_st_do(st, MTREW, 1);

    if (!error)
        error = tl_st_do(st, MTSETBLK, 0);
    if (!error && ioctl(st->fd, MTIOCGET, &status))
        error = errno;
    if (error == ENOMEDIUM)
        return no_medium(st, error);
    if (error)
        return tl_st_refused(st, TL_ERR_IO, error);
    if (status.mt_dsreg & MT_ST_BLKSIZE_MASK)
        return tl_st_refused(st, TL_ERR_UNSUPPORTED, 0); /* blocks of one length only */
    st->facts.density = (uint32_t)(status.mt_dsreg & MT_ST_DENSITY_MASK) >> MT_ST_DENSITY_SHIFT;
    st->protected_ = GMT_WR_PROT(status.mt_gstat) != 0;
    st->facts.write_protected = st->protected_;
    st->writing = st->near_end = false;
    st->over = TL_OK;
    st->position = st->file = 0;
    st->end = TL_ST_UNKNOWN;
    st->mounted = true;
    return TL_OK;
}

static int control_load(struct tl_st *st)
{
    int error;

    if (st->fd < 0)
        return tl_st_refused(st, TL_ERR_INVALID, 0);
    st->mounted = false;
    error = open_anew(st); /* an error of the mount before was heard there, or its end was */
    if (st->fd < 0)
        return tl_st_refused(st, error == EBUSY ? TL_ERR_BUSY : TL_ERR_IO, error);
    look_ready(st);
    if (st->facts.ready == TL_ST_EMPTY || st->facts.ready == TL_ST_STOPPED) { /* one that was unloaded may be in there */
        if (tl_st_do(st, MTLOAD, 1))
            return no_medium(st, 0);
        error = open_anew(st);
        if (error)
            return tl_st_refused(st, error == EBUSY ? TL_ERR_BUSY : TL_ERR_IO, error);
        look_ready(st);
    }
    switch (st->facts.ready) {
    case TL_ST_LOADED:
        return begin_mount(st);
    case TL_ST_BECOMING:
        return tl_st_refused(st, TL_ERR_BUSY, 0);
    case TL_ST_EMPTY:
        return no_medium(st, 0);
    default:
        return tl_st_refused(st, TL_ERR_IO, st->facts.error);
    }
}

static int control_unload(struct tl_st *st)
{
    int error;

    if (st->fd < 0)
        return tl_st_refused(st, TL_ERR_INVALID, 0);
    error = tl_st_do(st, MTOFFL, 1);
    st->mounted = st->writing = st->near_end = false;
    st->over = TL_OK;
    if (error == ENOMEDIUM)
        return no_medium(st, error);
    return error ? tl_st_refused(st, TL_ERR_IO, error) : TL_OK;
}

static int control_sg(struct tl_st *st, struct tl_st_sg *sg)
{
    if (sg->bytes > sizeof sg->data || sg->cdb_bytes > sizeof sg->cdb)
        return tl_st_refused(st, TL_ERR_INVALID, 0);
    sg->error = tl_st_send(st, sg->cdb, sg->cdb_bytes, sg->direction, sg->data, sg->bytes, sg->timeout_ms, &sg->result);
    return sg->error ? tl_st_refused(st, TL_ERR_IO, sg->error) : TL_OK;
}

int tl_st_control(void *dev, uint32_t op, void *arg, uint32_t arg_bytes)
{
    struct tl_st *st = dev;
    int status = TL_OK;

    switch (op) {
    case TL_ST_OPEN:
        return arg_bytes == sizeof(struct tl_st_open) ? control_open(st, arg) : TL_ERR_INVALID;
    case TL_ST_CLOSE:
        return control_close(st);
    case TL_ST_UNLOAD:
        return control_unload(st);
    case TL_ST_SG:
        return arg_bytes == sizeof(struct tl_st_sg) ? control_sg(st, arg) : TL_ERR_INVALID;
    case TL_ST_LOAD:
    case TL_ST_READY:
    case TL_ST_FACTS:
        if (arg_bytes != sizeof st->facts)
            return TL_ERR_INVALID;
        if (op == TL_ST_LOAD)
            status = control_load(st);
        else if (op == TL_ST_READY && !st->mounted)
            look_ready(st);
        st->facts.over = (uint32_t)st->over;
        memcpy(arg, &st->facts, sizeof st->facts);
        return status;
    default:
        return tl_st_refused(st, TL_ERR_UNSUPPORTED, 0);
    }
}

struct tl_st *tl_st_new(void)
{
    struct tl_st *st = calloc(1, sizeof *st);

    if (st)
        st->fd = -1;
    return st;
}

void tl_st_free(struct tl_st *st)
{
    control_close(st);
    free(st);
}
