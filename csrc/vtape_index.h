/* The index of a virtual cartridge: what stands at which position. A file mapped into memory; its bytes are written
 * down in vtape.c. Since the map is shared, a writer that is killed leaves every entry it published; since the file
 * is allocated before it is touched, a full disk is an error of index_reserve and never a SIGBUS. */
#ifndef TL_VTAPE_INDEX_H
#define TL_VTAPE_INDEX_H

#include <stdbool.h>
#include <stdint.h>

struct tl_entry {
    uint64_t at;    /* offset in the data file; of a filemark: where the next block goes */
    uint64_t file;  /* filemarks before this entry */
    uint32_t bytes; /* length of the block; 0: a filemark */
    uint32_t zero;
    uint64_t check;
};

struct tl_index {
    int fd;
    bool writable;
    bool flagged;        /* the head says: write-protected */
    bool dirt;           /* something that is no sound entry stands behind the last one: cut before anything is added */
    uint64_t id;         /* of the cartridge: an entry copied from another one is not sound here */
    uint8_t *map;
    uint64_t map_bytes;
    uint64_t room;       /* entries that the file has space for */
    uint64_t count;      /* sound entries: the position of end of data */
    uint64_t synced;     /* entries known to be on the medium */
    uint64_t damaged;    /* entries that were found unsound when the index was opened, and are cut off */
};

/* A head for a blank cartridge, durable on return. Returns 0 or an errno. */
int tl_index_format(int fd, uint64_t id);

/* Sets or clears the write-protect flag in the head. Returns 0 or an errno. */
int tl_index_protect(int fd, bool on);

/* Maps the index and counts its sound entries, none of which reaches behind data_bytes. Changes nothing in the file.
 * TL_OK; TL_ERR_UNSUPPORTED: a newer version; TL_ERR_INVALID: not an index, or its head is damaged; TL_ERR_IO with
 * *error. */
int tl_index_open(struct tl_index *ix, int fd, bool writable, uint64_t data_bytes, int *error);
void tl_index_close(struct tl_index *ix);

/* Space for so many entries in all. Returns 0 or an errno (ENOSPC, EDQUOT, EFBIG ...), then nothing has changed. */
int tl_index_reserve(struct tl_index *ix, uint64_t entries);

/* Forgets the entries from count on, durably: only after this may the data behind them be overwritten. Returns 0 or
 * an errno. */
int tl_index_cut(struct tl_index *ix, uint64_t count);

/* Publishes one entry behind the last; its space must have been reserved. bytes 0: a filemark. */
void tl_index_add(struct tl_index *ix, uint32_t bytes);

/* Makes all entries durable. Returns 0 or an errno. */
int tl_index_sync(struct tl_index *ix);

const struct tl_entry *tl_index_entry(const struct tl_index *ix, uint64_t position);

/* At a position from 0 to count: filemarks before it; where in the data file its block stands or would go. */
uint64_t tl_index_file(const struct tl_index *ix, uint64_t position);
uint64_t tl_index_at(const struct tl_index *ix, uint64_t position);

/* The position behind filemark number `file` (the first is 1; 0 gives 0). file <= tl_index_file(ix, count). */
uint64_t tl_index_behind_mark(const struct tl_index *ix, uint64_t file);

#endif
