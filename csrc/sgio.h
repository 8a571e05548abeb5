/* One SCSI command by the SG_IO ioctl, and what the device said to it. */
#ifndef TL_SGIO_H
#define TL_SGIO_H

#include <stdint.h>

#define TL_SG_SENSE_BYTES 64u

enum tl_sg_direction { TL_SG_NONE = 0, TL_SG_TO_DEVICE = 1, TL_SG_FROM_DEVICE = 2 };

/* Sense keys that callers ask for (SPC-5 table 48). */
enum tl_sense_key {
    TL_SENSE_NONE = 0x0,
    TL_SENSE_RECOVERED = 0x1,
    TL_SENSE_NOT_READY = 0x2,
    TL_SENSE_ILLEGAL_REQUEST = 0x5,
    TL_SENSE_UNIT_ATTENTION = 0x6,
};

struct tl_sg_result {
    uint8_t scsi_status;         /* 0 GOOD, 2 CHECK CONDITION, 8 BUSY, 0x18 RESERVATION CONFLICT */
    uint8_t key, asc, ascq;      /* of the sense data; all 0 without any */
    uint32_t host_status;        /* of the host adapter: not 0, the command did not come through */
    uint32_t driver_status;
    uint32_t residue;            /* bytes asked for that were not moved */
    uint8_t sense[TL_SG_SENSE_BYTES];
    uint32_t sense_bytes;
};

/* One command. Returns 0 where it was sent, whatever the device answered, or an errno where it could not be. */
int tl_sg_io(int fd, const uint8_t *cdb, uint32_t cdb_bytes, int direction, void *data, uint32_t bytes,
             uint32_t timeout_ms, struct tl_sg_result *out);

/* Key and additional sense of fixed (70h, 71h) and descriptor (72h, 73h) sense data, all 0 where it is neither, or too
 * short for them. (SPC-5 4.4.) */
void tl_sense_decode(const uint8_t *sense, uint32_t bytes, uint8_t *key, uint8_t *asc, uint8_t *ascq);

/* The command came through and the device did what it was asked; a recovered error is none. */
int tl_sg_good(const struct tl_sg_result *result);

#endif
