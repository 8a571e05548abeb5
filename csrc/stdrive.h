/* What stdev.c (the table) and stctl.c (open, load, facts) share of a real drive. */
#ifndef TL_STDRIVE_H
#define TL_STDRIVE_H

#include <stdbool.h>
#include <stdint.h>

#include "stdev.h"

#define TL_ST_UNKNOWN UINT64_MAX

struct tl_st {
    char path[TL_ST_PATH_BYTES];
    int fd; /* -1: not open */
    bool mounted;
    bool protected_;
    bool writing;   /* the last thing done was a write: leaving this place writes a filemark first */
    bool near_end;  /* early warning was met since the tape came to this place */
    int over;       /* the status that ended this mount, or TL_OK */
    int error;      /* errno of the last failure */
    uint64_t position; /* as counted here */
    uint64_t file, end; /* or TL_ST_UNKNOWN */
    uint32_t block_min, block_max;
    uint32_t direct_bytes;
    uint8_t *bounce; /* direct_bytes of page-aligned memory, for blocks that lie elsewhere */
    struct tl_st_facts facts;
};

/* One operation of MTIOCTOP. Returns 0 or an errno. */
int tl_st_do(struct tl_st *st, short op, int count);

/* MTIOCPOS. Returns 0 or an errno. */
int tl_st_where(struct tl_st *st, uint64_t *position);

/* mt_gstat of MTIOCGET, 0 where it fails. Takes a late error of the driver with it: only where none can be waiting. */
long tl_st_gstat(const struct tl_st *st);

#define TL_ST_QUICK_MS 60000u /* for a command that moves no tape */

/* One SCSI command, as tl_sg_io. A unit attention is news, and hides the answer: what it says is noted, and the command is
 * sent again. News of a reset or of a new medium ends a mount, for a driver before 6.15 does not hear of what this command
 * was told. */
int tl_st_send(struct tl_st *st, const uint8_t *cdb, uint32_t cdb_bytes, int direction, void *data, uint32_t bytes,
               uint32_t timeout_ms, struct tl_sg_result *out);

/* READ BLOCK LIMITS, and what the host adapter makes of them, into the facts. */
void tl_st_find_limits(struct tl_st *st);

/* Filemarks before here by READ POSITION, long form; TL_ST_UNKNOWN where the drive or the system refuses. */
uint64_t tl_st_file_number(struct tl_st *st);

/* Notes a failure without ending the mount. */
int tl_st_refused(struct tl_st *st, int status, int error);

/* The driver writes a filemark where it believes that it is behind a written block when the tape moves or the node is
 * closed, though a write failed because there is another tape in the drive: at that one's beginning, before all that is on
 * it. It forgets by most operations; this one moves nothing, and unlocks a door that is not locked. */
void tl_st_forget_writing(struct tl_st *st);

/* Notes that the mount is over, by what drive and position say. Returns the status. */
int tl_st_ended(struct tl_st *st, int error);

/* One block. OK, EARLY_WARNING, END_OF_MEDIUM, or a failure; counts the position. */
int tl_st_write_block(struct tl_st *st, const struct tl_vec *v);

int tl_st_control(void *dev, uint32_t op, void *arg, uint32_t arg_bytes);

#endif
