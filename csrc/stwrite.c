/* One block onto the tape of the st driver, also near its end. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "stdrive.h"

#define PAGE_BYTES 4096u

/* One write() of one block. EINTR comes before anything was sent. */
static int send_block(struct tl_st *st, const struct tl_vec *v)
{
    const void *data = v->data;
    ssize_t sent;

    if ((uintptr_t)data % PAGE_BYTES && v->bytes <= st->direct_bytes)
        data = memcpy(st->bounce, data, v->bytes); /* or the driver would take it into its own buffer, with late errors */
    do
        sent = write(st->fd, data, v->bytes);
    while (sent < 0 && errno == EINTR);
    if (sent == (ssize_t)v->bytes)
        return 0;
    return sent < 0 ? errno : EIO;
}

/* Whether the block behind st->position is on tape. A block from the driver's buffer is sent by this question. */
static int look_whether_on_tape(struct tl_st *st, int on_tape, int not_on_tape)
{
    uint64_t here;
    int error = tl_st_where(st, &here);

    if (!error && here == st->position)
        return not_on_tape;
    if (!error && here == st->position + 1) {
        st->position = here;
        return on_tape;
    }
    return tl_st_ended(st, error ? error : EIO);
}

/* ENOSPC: the driver tells of an early warning, and has not sent this block, or the tape refuses it. */
static int write_near_end(struct tl_st *st, const struct tl_vec *v, int error)
{
    int status;

    st->near_end = true;
    if (error == ENOSPC) {
        status = look_whether_on_tape(st, TL_EARLY_WARNING, TL_OK);
        if (status)
            return status;
        error = send_block(st, v);
    }
    if (error && error != ENOSPC)
        return tl_st_ended(st, error);
    if (error || v->bytes > st->direct_bytes) /* what lies in the driver's buffer may yet be refused */
        return look_whether_on_tape(st, TL_EARLY_WARNING, TL_END_OF_MEDIUM);
    st->position++;
    return TL_EARLY_WARNING;
}

int tl_st_write_block(struct tl_st *st, const struct tl_vec *v)
{
    int error = send_block(st, v), status;

    switch (error) {
    case 0:
        if (st->near_end)
            break;
        st->position++;
        return TL_OK;
    case ENOSPC:
        break;
    case EBUSY: /* over what the host adapter takes in one command */
    case EINVAL:
        return tl_st_refused(st, TL_ERR_BLOCK_SIZE, error);
    case EACCES:
        return tl_st_refused(st, TL_ERR_WRITE_PROTECTED, error);
    default:
        return tl_st_ended(st, error);
    }
    status = write_near_end(st, v, error);
    if (status == TL_END_OF_MEDIUM)
        st->error = ENOSPC;
    return status;
}
