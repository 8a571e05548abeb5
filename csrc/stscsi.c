/* What the st driver has no word for, and the drive is asked itself. */
#include <endian.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <scsi/sg.h>
#include <string.h>
#include <sys/ioctl.h>

#include "stdrive.h"

#define BLOCK_BYTES_END (1u << 24) /* READ and WRITE count in 24 bits */
#define ATTENTIONS_MAX 16          /* unit attentions in a row that are no more than news */

int tl_st_send(struct tl_st *st, const uint8_t *cdb, uint32_t cdb_bytes, int direction, void *data, uint32_t bytes,
               uint32_t timeout_ms, struct tl_sg_result *out)
{
    for (int i = 0; i < ATTENTIONS_MAX; i++) {
        int error = tl_sg_io(st->fd, cdb, cdb_bytes, direction, data, bytes, timeout_ms, out);

        if (error || out->key != TL_SENSE_UNIT_ATTENTION)
            return error;
        if (out->asc == 0x28)
            st->facts.changes++;
        if (st->mounted && !st->over && (out->asc == 0x28 || out->asc == 0x29)) {
            st->over = TL_ERR_POSITION_LOST;
            tl_st_forget_writing(st);
        }
    }
    return 0;
}

uint64_t tl_st_file_number(struct tl_st *st)
{
    static const uint8_t read_position[10] = {0x34, 0x06}; /* long form */
    uint8_t answer[32] = {0};
    uint64_t marks;
    struct tl_sg_result result;

    if (tl_st_send(st, read_position, sizeof read_position, TL_SG_FROM_DEVICE, answer, sizeof answer, TL_ST_QUICK_MS,
                   &result) ||
        !tl_sg_good(&result) || answer[0] & 0x08) /* mark position unknown */
        return TL_ST_UNKNOWN;
    memcpy(&marks, answer + 16, sizeof marks);
    return be64toh(marks);
}

/* READ BLOCK LIMITS: least and most bytes of a block. */
static bool ask_limits(struct tl_st *st)
{
    static const uint8_t read_block_limits[6] = {0x05};
    uint8_t answer[6] = {0};
    struct tl_sg_result result;
    struct tl_st_facts *facts = &st->facts;

    facts->error = tl_st_send(st, read_block_limits, sizeof read_block_limits, TL_SG_FROM_DEVICE, answer,
                              sizeof answer, TL_ST_QUICK_MS, &result);
    if (facts->error || !tl_sg_good(&result))
        return false;
    facts->drive_block_max = (uint32_t)answer[1] << 16 | (uint32_t)answer[2] << 8 | answer[3];
    facts->drive_block_min = (uint32_t)answer[4] << 8 | answer[5];
    if (facts->drive_block_max == 0) /* no limit of its own */
        facts->drive_block_max = BLOCK_BYTES_END - 1;
    if (facts->drive_block_min == 0)
        facts->drive_block_min = 1;
    return true;
}

/* Whether the host adapter moves so much in one command. Nothing is sent: the kernel compares the length first, and then
 * refuses the direction, which there is not. */
static bool adapter_takes(const struct tl_st *st, uint32_t bytes)
{
    struct sg_io_hdr call = {.interface_id = 'S', .dxfer_direction = INT_MAX, .dxfer_len = bytes};

    return ioctl(st->fd, SG_IO, &call) && errno == EINVAL;
}

/* The most that one command may move, in whole pages, and at most `most`; 0: it cannot be found out. */
static uint32_t adapter_limit(const struct tl_st *st, uint32_t most)
{
    uint32_t takes = 4096, not_takes = (most + 4095) / 4096 * 4096;

    if (adapter_takes(st, most))
        return most;
    if (!adapter_takes(st, takes))
        return 0;
    while (not_takes - takes > 4096) {
        uint32_t middle = takes + (not_takes - takes) / 8192 * 4096;

        if (adapter_takes(st, middle))
            takes = middle;
        else
            not_takes = middle;
    }
    return takes;
}

void tl_st_find_limits(struct tl_st *st)
{
    struct tl_st_facts *facts = &st->facts;

    facts->limits_known = ask_limits(st);
    if (facts->limits_known) {
        facts->adapter_bytes_max = adapter_limit(st, facts->drive_block_max);
        st->block_min = facts->drive_block_min;
        st->block_max = facts->drive_block_max;
        if (facts->adapter_bytes_max && facts->adapter_bytes_max < st->block_max)
            st->block_max = facts->adapter_bytes_max;
    } else { /* not to be asked: what the driver takes without its own buffer, every drive and adapter takes */
        st->block_min = 1;
        st->block_max = st->direct_bytes ? st->direct_bytes : 65536;
    }
    facts->block_bytes_max = st->block_max;
}
