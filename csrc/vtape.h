/* The virtual tape: a drive that takes cartridges, each a pair of files. See vtape.c for their bytes. */
#ifndef TL_VTAPE_H
#define TL_VTAPE_H

#include <stdbool.h>
#include <stdint.h>

#include "device.h"

#define TL_VTAPE_BLOCK_BYTES_MAX (8u * 1024u * 1024u)

struct tl_vtape;

struct tl_vtape_cartridge {
    int data_fd, index_fd;  /* stay the caller's; open until the cartridge is unmounted */
    int writable;           /* 0: both were opened for reading only */
    int direct;             /* data_fd was opened with O_DIRECT */
    uint64_t capacity;      /* bytes of the data file; UINT64_MAX: as much as the disk holds */
    uint64_t early_warning; /* bytes before capacity at which the warning begins */
};

/* A drive without a cartridge: its functions answer TL_ERR_NO_MEDIUM. NULL: no memory. */
struct tl_vtape *tl_vtape_new(void);

/* Without the closing filemark that tl_vtape_unmount writes: what is in the drive is left as by a killed writer. */
void tl_vtape_free(struct tl_vtape *tape);
const struct tl_device_ops *tl_vtape_ops(void);

/* Makes the two empty files of a new cartridge into a blank one. Returns 0 or an errno. */
int tl_vtape_format(int index_fd, uint64_t id);
int tl_vtape_protect(int index_fd, int on);

/* Puts a cartridge in, at its beginning. TL_OK; TL_ERR_BUSY: there is one; TL_ERR_INVALID: the index is none, or its
 * head is damaged; TL_ERR_UNSUPPORTED: written by a newer version; TL_ERR_IO. */
int tl_vtape_mount(struct tl_vtape *tape, const struct tl_vtape_cartridge *cartridge);

/* Takes it out. After a write, a filemark is written first, and the files are cut to what is recorded; the cartridge
 * is out whatever the status is, which tells how that went. */
int tl_vtape_unmount(struct tl_vtape *tape);

/* How many bytes of the tape lie before the place where it stands. `tape`: a struct tl_vtape. */
uint64_t tl_vtape_bytes_before(const void *tape);

/* Of the mounted cartridge: it cannot be written; how many entries of its index were found damaged and are not shown.
 * */
int tl_vtape_write_protected(const struct tl_vtape *tape);
uint64_t tl_vtape_damaged(const struct tl_vtape *tape);

/* 1: the file system under this file takes direct input and output as the virtual tape does it. */
int tl_vtape_takes_direct(int fd);

#endif
