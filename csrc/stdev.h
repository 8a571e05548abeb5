/* A real tape drive: the table of csrc/device.h over the Linux st driver's no-rewind node, in variable block mode.
 *
 * The driver's answers are told apart by errno, by the drive's status (MTIOCGET) and by the position (MTIOCPOS), which
 * is counted here along and compared before the first write, at each filemark and near the end of the tape. In between
 * there is one write() for each block and nothing else.
 *
 * Early warning: the driver says it once, with ENOSPC for the block behind the one that met it, which it did not send.
 * That block is given to it again: EARLY_WARNING comes with the block after the one that met it, and from then on with
 * each one, until the tape refuses: END_OF_MEDIUM.
 *
 * A mount is over with its first failure that leaves the position in doubt: every call has that status until TL_ST_LOAD, and
 * the driver, which would write a filemark wherever the tape is now, is made to forget that it was writing.
 *
 * All else that such a drive can be asked goes through `control`, one operation and one flat structure each. */
#ifndef TL_STDEV_H
#define TL_STDEV_H

#include <stdint.h>

#include "device.h"
#include "sgio.h"

#define TL_ST_PATH_BYTES 512u
#define TL_ST_SG_DATA_BYTES 65536u

enum tl_st_op {
    TL_ST_OPEN = 1,   /* struct tl_st_open. The path is one of a no-rewind node; nothing is loaded then */
    TL_ST_CLOSE = 2,  /* none. After a write the driver writes a filemark, whose error is heard here */
    TL_ST_LOAD = 3,   /* struct tl_st_facts. Opens anew, rewinds, sets variable blocks. NO_MEDIUM; BUSY: look at `ready` */
    TL_ST_UNLOAD = 4, /* none. Rewinds and ejects */
    TL_ST_FACTS = 5,  /* struct tl_st_facts. Asks what can be asked without a word to the medium */
    TL_ST_READY = 6,  /* struct tl_st_facts. While nothing is loaded: whether a cartridge is there */
    TL_ST_SG = 7,     /* struct tl_st_sg */
};

struct tl_st_open {
    char path[TL_ST_PATH_BYTES];
    uint32_t direct_bytes; /* longest block that the driver takes without its own buffer */
    int32_t error;         /* errno where it failed */
};

/* Whether there is a cartridge, by TEST UNIT READY. */
enum tl_st_ready {
    TL_ST_EMPTY = 0,
    TL_ST_LOADED = 1,
    TL_ST_BECOMING = 2, /* 04/01: it is being loaded; the first load of an LTO-9 cartridge may take two hours */
    TL_ST_STOPPED = 3,  /* 04/02: it is in the drive, and has to be told to load it */
    TL_ST_TROUBLED = 4, /* anything else: key, asc and ascq say what */
};

struct tl_st_facts {
    uint32_t ready;           /* enum tl_st_ready */
    uint8_t key, asc, ascq;   /* of the last TEST UNIT READY */
    uint8_t write_protected;  /* while loaded */
    uint32_t limits_known;    /* 0: READ BLOCK LIMITS needs CAP_SYS_RAWIO, or was refused */
    uint32_t drive_block_min, drive_block_max;
    uint32_t adapter_bytes_max; /* the host adapter takes so much in one command; 0: not known */
    uint32_t block_bytes_max;   /* of both */
    uint32_t density;
    uint32_t over; /* enum tl_status: what ended the mount, or TL_OK */
    uint32_t changes; /* unit attentions that spoke of a new medium */
    int32_t error;    /* errno where something failed */
};

struct tl_st_sg {
    uint8_t cdb[16];
    uint32_t cdb_bytes;
    int32_t direction; /* enum tl_sg_direction */
    uint32_t bytes;    /* of data, at most TL_ST_SG_DATA_BYTES */
    uint32_t timeout_ms;
    int32_t error; /* errno: it was not sent */
    struct tl_sg_result result;
    uint8_t data[TL_ST_SG_DATA_BYTES];
};

struct tl_st;

struct tl_st *tl_st_new(void); /* NULL: no memory */
void tl_st_free(struct tl_st *st);
const struct tl_device_ops *tl_st_ops(void);

#endif
