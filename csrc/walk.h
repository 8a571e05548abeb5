/* The walk of a tree in canonical order, by several threads, ahead of the one that writes the archive.
 *
 * What is still to come stands in a rope: nodes in canonical order, each a folder to be opened and listed, a range of names of a
 * listed folder, or the leaving of a folder. A worker takes the first node that nobody has taken, makes a chunk of it (headers, content
 * of small files, snapshot records, rows), and puts what a folder turned out to hold behind its node. At the head of the rope, finished
 * nodes are taken off in order: snapshot and rows go where they belong, and what is to be written waits for tl_walk_next().
 *
 * Workers do what is plain. An entry that is not (large, sparse, several names, access control lists, anything that went wrong or changed
 * under their hands) they leave to the caller, at its place, untouched: only there are words for troubles. */
#ifndef TL_WALK_H
#define TL_WALK_H

#include <pthread.h>
#include <sys/stat.h>

#include "bytes.h"
#include "listing.h"
#include "owners.h"
#include "snapshot.h"

struct tl_walk_limits {
    int64_t small_bytes;    /* files up to this size are read by workers; -1: none */
    uint64_t chunk_bytes;   /* about so much goes into one chunk */
    uint64_t ahead_bytes;   /* no more is read ahead when so much waits; 0: nothing but what is next is touched */
    uint32_t range_names;   /* names of one range */
    uint32_t ahead_nodes;   /* how far ahead in the rope workers look */
    uint32_t folders_open;  /* folders kept open beside those in use */
    uint32_t path_bytes_max; /* of a folder, with its closing slash */
    uint32_t names_held;    /* of a folder; where there are more they go through a file */
    uint32_t settle_ns;     /* stamps younger than this are not trusted */
};

/* Which names of a listing are left out: sets name[i].type to TL_TYPE_LEFT_OUT. *path* is the folder's, as in the archive. Returns
 * whether it could be found out. */
typedef int (*tl_exclude)(void *context, struct tl_text path, struct tl_listing *listing);
#define TL_TYPE_LEFT_OUT 0xFF

/* Inodes whose names are all to be taken: sorted numbers. On another file system one may bear the same number: it is taken as well. */
struct tl_inodes {
    const uint64_t *inode;
    uint64_t count;
};

int tl_inodes_have(const struct tl_inodes *inodes, uint64_t inode);

struct tl_walk_rules {
    int one_file_system;
    int caches;                      /* of a folder with a CACHEDIR.TAG that one alone */
    const struct tl_text *markers;   /* of a folder with one of these that one alone */
    size_t marker_count;
    tl_exclude exclude;              /* or NULL */
    void *exclude_context;
};

/* One row of the index per entry; the paths and the links' targets stand one behind the other. */
struct tl_row {
    uint64_t size, offset;
    int64_t modified;
    uint32_t mode, uid, gid, path_bytes, link_bytes;
    uint32_t kind;
};

enum tl_row_kind { TL_ROW_FILE, TL_ROW_FOLDER, TL_ROW_SYMLINK, TL_ROW_HARDLINK, TL_ROW_FIFO, TL_ROW_CHAR, TL_ROW_BLOCK, TL_ROW_GONE };

struct tl_rows {
    struct tl_bytes rows, paths, links;
};

/* Adds a row; *status* may be NULL. Returns whether there was memory. */
int tl_row_add(struct tl_rows *to, enum tl_row_kind kind, struct tl_text path, struct tl_text link,
               const struct stat *status, uint64_t offset);

struct tl_counts {
    uint64_t files, folders, others, bytes;
};

struct tl_folder {
    struct tl_folder *up;
    struct tl_folder *older, *newer; /* the order in which open folders that nobody uses may be closed */
    const uint8_t *since;            /* its ENTER in the snapshot compared with, or NULL */
    uint64_t enter;                  /* where its ENTER stands in the snapshot written */
    uint32_t enter_bytes;
    dev_t device;
    ino_t inode;
    int fd;                          /* -1: closed, to be opened again when it is needed */
    uint32_t pins, users;            /* holding fd open; holding this */
    uint32_t path_bytes;             /* of its path in the archive, with the closing slash */
    uint16_t name_bytes;
    uint8_t moved;                   /* it was told already */
    uint8_t partly;                  /* it holds names of which the snapshot written tells nothing */
    uint8_t tag;                     /* of its ENTER, as it was written */
    uint8_t name[];
};

/* Why an entry or a folder is the caller's. */
enum tl_odd {
    TL_ODD_NAME = 1u << 0,     /* the entry: look at it */
    TL_ODD_FOLDER = 1u << 1,   /* a folder that could not be opened: look at it */
    TL_ODD_HEADER = 1u << 2,   /* the folder's header has to be made by hand */
    TL_ODD_UNLISTED = 1u << 3, /* the folder could not be listed (to its end): error */
    TL_ODD_DEEP = 1u << 4,     /* the folder lies too deep */
    TL_ODD_MOVED = 1u << 5,    /* the folder could not be opened again: error */
};

/* What has been made of a node. */
struct tl_chunk {
    struct tl_chunk *next; /* of those free */
    struct tl_bytes data, records;
    struct tl_rows rows;
    struct tl_counts counts;
    uint64_t names, linked;
    struct tl_text odd_name; /* TL_ODD_NAME: in the node's listing */
    struct tl_bytes listed;  /* TL_ODD_HEADER: the listing to go with it */
    unsigned odd;
    int error;
    int has_listed, odd_known;
    int listed_file, listed_fd; /* most of the listing is in this file */
    uint64_t listed_bytes;
    uint8_t odd_type;
    uint32_t enter_bytes;    /* records begins with an ENTER of so many bytes that has no length yet */
};

enum tl_node_kind { TL_NODE_FOLDER, TL_NODE_RANGE, TL_NODE_REST, TL_NODE_LEAVE };
enum tl_node_state { TL_NODE_WAITING, TL_NODE_TAKEN, TL_NODE_DONE };

struct tl_node {
    struct tl_node *next;
    struct tl_folder *folder;   /* FOLDER, LEAVE: that one; RANGE: where the names are */
    struct tl_shared *listing;  /* RANGE */
    struct tl_rest *rest;       /* REST: the names of the folder that are left */
    struct tl_chunk *chunk;
    uint32_t first, end;        /* RANGE */
    uint8_t kind, state;
};

struct tl_shared {
    struct tl_listing listing;
    _Atomic uint32_t users;
};

struct tl_walk {
    struct tl_walk_limits limits;
    struct tl_walk_rules rules;
    struct tl_inodes forced;
    const char *spill;            /* the folder for what does not fit into memory */
    struct tl_text prefix;        /* the root's path in the archive, with its slash */
    uint32_t row_skip;            /* bytes of a path that rows leave out */
    const uint8_t *since_end;     /* end of the records compared with; NULL: a full run */
    int wants_rows;
    int looking;                  /* nothing is taken: a row of every name of an inode with several, with its number as size and ctime as time */
    struct timespec started;

    pthread_mutex_t lock;         /* everything below */
    pthread_cond_t work, ready_signal;
    struct tl_node *head, *tail;
    struct tl_chunk *spare;
    uint32_t spares;
    struct tl_folder *oldest, *newest;
    uint32_t folders_open, workers, idle;
    uint64_t waiting_bytes;       /* in chunks that are made and not yet taken off */
    int asked;                    /* the caller waits in tl_walk_next() */
    int ready;                    /* there is something for it */
    int merged;                   /* the head's records, rows and counts are where they belong */
    int gave_data, gave_odd;      /* the head's: they are through when the caller comes again */
    int stop, error;
    struct tl_bytes batch, given; /* small chunks together: being filled, in the caller's hands */
    struct tl_bytes odd_path;
    struct tl_text single;        /* a root that is no folder, in the caller's hands; or data NULL */
    struct tl_folder *odd_pinned;
    struct tl_snapshot snapshot;
    struct tl_rows rows;
    struct tl_counts counts;
    uint64_t position;            /* bytes of the sequence so far */
    dev_t root_device;
    struct tl_owners owners;      /* has a lock of its own */
};

/* What tl_walk_next() has for the caller. */
enum tl_walk_event {
    TL_WALK_END = 0,    /* the tree is through */
    TL_WALK_BYTES = 1,  /* *data*, *bytes* to be written; valid until the next call */
    TL_WALK_ODD = 2,    /* an entry to be handled: see tl_walk_look() */
    TL_WALK_FAILED = 3, /* no memory, or a snapshot that is none: walk->error */
};

struct tl_walk *tl_walk_new(const struct tl_walk_limits *limits);

/* Ends and frees it. No worker may be inside. */
void tl_walk_free(struct tl_walk *w);

/* Begins a tree: the open folder *root*, which is the walk's from now on, under the path *prefix*. *since*: its ENTER in the snapshot, or NULL. The
 * tree before must be through. Returns whether there was memory (where not, *root* is the caller's). */
int tl_walk_begin(struct tl_walk *w, int root, struct tl_text prefix, uint32_t row_skip, const uint8_t *since);

/* One worker: returns when the walk is stopped. */
void tl_walk_work(struct tl_walk *w);

/* Tells workers to return, and whoever waits. */
void tl_walk_stop(struct tl_walk *w);

enum tl_walk_event tl_walk_next(struct tl_walk *w, const uint8_t **data, size_t *bytes);

/* The entry that is the caller's. */
struct tl_walk_odd {
    struct tl_text path;   /* in the archive; a folder's with its slash */
    struct tl_text name;   /* in its parent; ended by a zero byte that is not counted */
    struct tl_text listed; /* TL_ODD_HEADER: the listing for it, or data NULL */
    int listed_fd;         /* or it stands in this file, or -1 */
    uint64_t listed_bytes;
    unsigned what;         /* of enum tl_odd */
    int error;
    int fd;                /* ODD_NAME, ODD_FOLDER: the parent, open; HEADER, UNLISTED: the folder; or -1, and in error why */
    int type;              /* ODD_NAME: DT_* as last seen */
};

/* What tl_walk_next() has given with TL_WALK_ODD. Valid until the next call of that. Returns whether there was memory. */
int tl_walk_look(struct tl_walk *w, struct tl_walk_odd *odd);

/* For the snapshot: the odd entry is in the archive as *status* says, with *marks*. A folder: it holds nothing. */
int tl_walk_record(struct tl_walk *w, const struct stat *status, unsigned marks);

/* For the snapshot: the odd entry is not in the archive. What the snapshot compared with knows of it stays known, in doubt. */
int tl_walk_keep(struct tl_walk *w);

/* TL_ODD_HEADER: it could not be made. The folder has no row then, and its record is in doubt. */
void tl_walk_headless(struct tl_walk *w);

/* Whether the snapshot compared with has the folder that is odd. */
int tl_walk_knows(const struct tl_walk *w);

/* A row of the caller's, at the present position. */
int tl_walk_row(struct tl_walk *w, enum tl_row_kind kind, struct tl_text path, struct tl_text link,
                const struct stat *status);

/* The rows that have come together are the caller's: all, or none where the last may have to go again. */
void tl_walk_take_rows(struct tl_walk *w, struct tl_rows *to);

/* The caller has written *bytes* of its own. */
void tl_walk_wrote(struct tl_walk *w, uint64_t bytes);

/* ---- between walk.c, folder.c, enter.c and gather.c ---- */

/* Reading on in one level of a snapshot. */
struct tl_merge {
    struct tl_records since;
    struct tl_record record;
    int there; /* what tl_records_next() said: the record is that */
};

struct tl_worker {
    struct tl_walk *walk;
    struct tl_bytes path;      /* of the folder in hand, and behind it of a name */
    struct tl_bytes scratch;
    struct tl_bytes records;   /* of attributes */
    struct tl_record_before before;
    struct tl_merge merge;
    int settled;
    dev_t device;   /* the last that was asked: */
    int stamps;     /* -1: none was; whether its file system stamps a folder whenever a name in it comes or goes */
};

/* folder.c: under the lock, but for those that say otherwise. */
struct tl_folder *tl_folder_new(struct tl_folder *up, struct tl_text name, uint32_t path_bytes); /* anywhere */
void tl_folder_hold(struct tl_folder *f);
void tl_folder_drop(struct tl_walk *w, struct tl_folder *f);
int tl_folder_pin(struct tl_walk *w, struct tl_folder *f, int *error); /* its descriptor, or -1 */
void tl_folder_unpin(struct tl_walk *w, struct tl_folder *f);
void tl_folder_opened(struct tl_walk *w, struct tl_folder *f, int fd); /* it is open and pinned now */
int tl_folder_path(const struct tl_folder *f, struct tl_text prefix, struct tl_bytes *path); /* anywhere */

/* Opens *name* so that reading leaves its access time alone, where that is allowed. -1: errno. Anywhere. */
int tl_open_unseen(int parent, const char *name, int flags);

/* enter.c, gather.c: make node->chunk. Anywhere. *more*: nodes to come behind this one. Return whether there was memory. */
int tl_enter(struct tl_worker *worker, struct tl_node *node, int parent, int *opened, struct tl_node **more);
int tl_enter_rest(struct tl_worker *worker, struct tl_node *node, int folder, struct tl_node **more);
void tl_rest_free(struct tl_rest *rest);
/* Under the lock: the node could not be gone into. What the snapshot compared with has of it stays known, in doubt. */
int tl_keep_known(struct tl_walk *w, struct tl_node *node);
int tl_gather(struct tl_worker *worker, struct tl_node *node, int parent, struct tl_node **more);

/* walk.c: under the lock. */
struct tl_chunk *tl_chunk_take(struct tl_walk *w);
void tl_rope_insert(struct tl_walk *w, struct tl_node *node, struct tl_node *more);
void tl_rope_discard(struct tl_node *more); /* nodes that were never put in; anywhere */
void tl_rope_advance(struct tl_walk *w);    /* takes finished nodes off the head until there is something for the caller */

/* walk.c: anywhere. */
struct tl_node *tl_node_new(enum tl_node_kind kind, struct tl_folder *folder, struct tl_shared *listing, uint32_t first,
                            uint32_t end);
struct tl_chunk *tl_chunk_new(struct tl_walk *w);
void tl_shared_drop(struct tl_shared *listing);

/* gather.c */

/* Whether a later change might bear the same stamps as *status* has, which was looked at no earlier than *now*. */
unsigned tl_doubt(const struct tl_walk *w, const struct stat *status, const struct timespec *now);

/* Sleeps, once per worker, where that makes stamps trustworthy that were made before the walk began. Returns whether it has slept:
 * look again then. */
int tl_settle(struct tl_worker *worker, const struct stat *status, const struct timespec *now);

void tl_now(struct timespec *now);

/* Adds the record of *name*, which is no folder, with *marks* and those that its status asks for. Returns whether there was memory. */
int tl_note(struct tl_chunk *chunk, struct tl_record_before *before, struct tl_text name, const struct stat *status,
            unsigned marks);

#endif
