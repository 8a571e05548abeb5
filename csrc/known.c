/* Folders that need not be listed. */
#include <sys/vfs.h>

#include "enter.h"

#define RECORD_BYTES_MIN 11u /* of a name: tag, lengths of the name, one byte of it, inode, ctime, size */

/* File systems that stamp a folder by one clock, this machine's, in the same step in which a name in it comes or goes. On others a stamp that
 * is the same proves nothing: servers stamp by clocks of their own and clients remember for a while what they were told (NFS, SMB, Ceph, Lustre),
 * behind FUSE everyone does as he likes, and an overlay shows the stamps of one layer with the names of all. */
static const uint32_t STAMPING[] = {
    0xEF53,     /* ext2, ext3, ext4 */
    0x58465342, /* XFS */
    0x9123683E, /* Btrfs */
    0x01021994, /* tmpfs */
    0xF2F52010, /* F2FS */
    0x3153464A, /* JFS */
    0x2FC12FC1, /* ZFS */
    0xCA451A4E, /* bcachefs */
};

static int stamps(struct entering *e)
{
    struct tl_worker *worker = e->worker;
    if (worker->stamps >= 0 && worker->device == e->status.st_dev)
        return worker->stamps;
    struct statfs system;
    worker->device = e->status.st_dev;
    worker->stamps = 0;
    if (fstatfs(e->fd, &system) == 0)
        for (size_t i = 0; i < sizeof STAMPING / sizeof *STAMPING; i++)
            worker->stamps |= (uint32_t)system.f_type == STAMPING[i];
    return worker->stamps;
}

/* Where a repaired file system puts what it found: without a stamp. */
static int is_repairers(const struct tl_folder *f)
{
    static const char name[] = "lost+found";
    return f->name_bytes == sizeof name - 1 && memcmp(f->name, name, sizeof name - 1) == 0;
}

/* Stamps in whole seconds are those of a coarse clock: a clock that was put back may come to the same again. */
static int is_fine(const struct entering *e)
{
    return e->status.st_ctim.tv_nsec != 0;
}

/* Whether they can be held in memory: they are no more than this, and fewer where it holds much in folders. */
static int is_small(const struct entering *e)
{
    return (size_t)(e->record.end - e->record.inside) / RECORD_BYTES_MIN < e->walk->limits.names_held;
}

int tl_names_known(struct entering *e)
{
    return e->same && !e->record.partly && !e->elsewhere && e->mark == NULL && is_fine(e) && !is_repairers(e->folder) && is_small(e) &&
           stamps(e);
}
