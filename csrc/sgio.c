#include "sgio.h"

#include <errno.h>
#include <scsi/sg.h>
#include <string.h>
#include <sys/ioctl.h>

#define CHECK_CONDITION 0x02
#define DRIVER_SENSE 0x08u /* there is sense data: no trouble of its own */

int tl_sg_io(int fd, const uint8_t *cdb, uint32_t cdb_bytes, int direction, void *data, uint32_t bytes,
             uint32_t timeout_ms, struct tl_sg_result *out)
{
    struct sg_io_hdr call = {
        .interface_id = 'S',
        .dxfer_direction = SG_DXFER_NONE,
        .cmd_len = (unsigned char)cdb_bytes,
        .cmdp = (unsigned char *)cdb,
        .mx_sb_len = sizeof out->sense,
        .sbp = out->sense,
        .timeout = timeout_ms,
    };

    memset(out, 0, sizeof *out);
    if (cdb_bytes == 0 || cdb_bytes > 32)
        return EINVAL;
    if (bytes > 0 && direction != TL_SG_NONE) {
        call.dxfer_direction = direction == TL_SG_TO_DEVICE ? SG_DXFER_TO_DEV : SG_DXFER_FROM_DEV;
        call.dxfer_len = bytes;
        call.dxferp = data;
    }
    if (ioctl(fd, SG_IO, &call))
        return errno;
    out->scsi_status = call.status;
    out->host_status = call.host_status;
    out->driver_status = call.driver_status;
    out->residue = call.resid > 0 ? (uint32_t)call.resid : 0;
    out->sense_bytes = call.sb_len_wr;
    tl_sense_decode(out->sense, out->sense_bytes, &out->key, &out->asc, &out->ascq);
    return 0;
}

void tl_sense_decode(const uint8_t *sense, uint32_t bytes, uint8_t *key, uint8_t *asc, uint8_t *ascq)
{
    uint32_t at_key, at_asc, end;

    *key = *asc = *ascq = 0;
    if (bytes < 1)
        return;
    switch (sense[0] & 0x7f) { /* bit 7 of the fixed format: its information field counts */
    case 0x70:
    case 0x71:
        at_key = 2;
        at_asc = 12;
        end = bytes < 8 ? bytes : 8u + sense[7]; /* additional length counts from byte 8 */
        break;
    case 0x72:
    case 0x73:
        at_key = 1;
        at_asc = 2;
        end = 8;
        break;
    default:
        return;
    }
    if (end > bytes)
        end = bytes;
    if (at_key < end)
        *key = sense[at_key] & 0x0f;
    if (at_asc + 1 < end) {
        *asc = sense[at_asc];
        *ascq = sense[at_asc + 1];
    }
}

int tl_sg_good(const struct tl_sg_result *result)
{
    if (result->host_status || result->driver_status & ~DRIVER_SENSE)
        return 0;
    return result->scsi_status == 0 || (result->scsi_status == CHECK_CONDITION && result->key == TL_SENSE_RECOVERED);
}
