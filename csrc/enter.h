/* A folder that a worker goes into: shared by names.c, known.c, compare.c, looking.c and enter.c. All functions return whether there was
 * memory; where errno is EBADMSG, the snapshot is none. */
#ifndef TL_ENTER_H
#define TL_ENTER_H

#include "spill.h"
#include "walk.h"

/* The names of a folder that does not fit into memory, one window of them after another. */
struct tl_rest {
    struct tl_spill names;
    struct tl_merge merge;
};

struct entering {
    struct tl_worker *worker;
    struct tl_walk *walk;
    struct tl_folder *folder;
    struct tl_chunk *chunk;
    struct tl_shared *shared;
    struct tl_rest *rest;    /* NULL: the listing has all names */
    struct tl_merge *merge;  /* with the snapshot's level */
    struct tl_node **link;   /* where the next node behind this one goes */
    struct stat status;
    struct tl_record record; /* known: the folder's own */
    int fd;
    const struct tl_text *mark; /* that name says that nothing else of the folder is wanted; or NULL */
    int elsewhere;           /* on another file system, of which nothing is wanted */
    int known;               /* the snapshot has it as a folder */
    int same;                /* and nothing has happened to the folder itself */
    int names_differ;        /* from those that the snapshot has */
    int below;               /* it holds folders, the nodes of which have been made */
};

/* names.c: what the rules say of the folder as a whole. */
void tl_names_ruled(struct entering *e);

/* known.c: whether the names that the snapshot has are all that stand in the folder now: nothing came or went since. */
int tl_names_known(struct entering *e);

/* names.c: the names, sorted and thinned out, into the listing, or into rest where they are too many. */
int tl_names_list(struct entering *e);

/* The next window of rest into the listing. None there: these were all. */
int tl_names_window(struct entering *e);

/* compare.c: begins with the names that the snapshot has. */
void tl_compare_begin(struct entering *e);

/* Looks at these names alone, up to the first of which there is nothing any more or something else: then names_differ. */
int tl_compare_known(struct entering *e);

/* Merges the listing with them: every name is looked at, those gone stand among them. *last*: no names come behind the listing's. */
int tl_compare(struct entering *e, int last);

int tl_same_time(const struct timespec *a, const struct timespec *b);

/* looking.c: a folder, where nothing is taken. */
int tl_look_over(struct entering *e);

/* odd.c: adds the records from *begin* to *end*, of names that this run does not take. */
int tl_keep_records(const struct tl_walk *w, const uint8_t *begin, const uint8_t *end, struct tl_bytes *to);

/* enter.c */
int tl_enter_add_folder(struct entering *e, struct tl_text name, const uint8_t *since);

#endif
