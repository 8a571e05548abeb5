/* Entries of an archive of ours, looked at where they lie: a merge of archives passes most of them on as they are.
 *
 * Only what src/tapeloom/agent/pax.py writes is known here. Every length is bounded by the memory that is given. */
#ifndef TL_ENTRY_H
#define TL_ENTRY_H

#include "bytes.h"
#include "walk.h"

struct tl_entry {
    struct tl_text path;    /* as in a row: no "./" before it, no slash behind it */
    struct tl_text link;    /* as it stands in the archive */
    struct tl_text listing; /* the value of GNU.dumpdir; data NULL: it has none */
    size_t listing_record, listing_record_bytes; /* where in the header the record of it begins */
    size_t header_bytes;    /* with the records before it */
    uint64_t stored;        /* the content that follows, without its padding */
    uint64_t size;          /* of the file, holes included */
    int64_t modified;       /* ns since 1970 */
    uint64_t mode, uid, gid;
    enum tl_row_kind kind;
};

enum tl_entry_found {
    TL_ENTRY_WHOLE, /* the whole header lies here */
    TL_ENTRY_MORE,  /* header_bytes says how much of it has to be looked at, at least */
    TL_ENTRY_END,   /* the archive's end mark */
    TL_ENTRY_WRONG, /* no entry, or none of ours */
};

enum tl_entry_found tl_entry_read(const uint8_t *data, size_t bytes, struct tl_entry *entry);

/* Two paths in canonical order: less than, equal to or greater than zero. The second one is a key: its slashes are NULs. */
int tl_entry_order(struct tl_text path, struct tl_text key);

/* The names that a folder's list (GNU.dumpdir) has, asked for in ascending order. */
struct tl_listed {
    const uint8_t *at, *end; /* what is left of the list, but for its last NUL */
    struct tl_text name;     /* the one in hand */
    uint8_t letter;          /* its letter; 0: there is none any more */
};

enum { TL_LISTED_FOLDER = 1, TL_LISTED_OTHER = 2 };

/* Goes on to the next name. Returns whether the list ascends and has no letters but Y, N and D. */
int tl_listed_next(struct tl_listed *l);

/* What may stay under a name: a folder, something else, both or nothing. Less than 0: the list is wrong. */
int tl_listed_keeps(struct tl_listed *l, struct tl_text name);

/* What has been passed on. */
struct tl_passing {
    struct tl_bytes last; /* the key of the last entry */
    struct tl_rows rows;
    struct tl_counts counts;
    int wants_rows;
};

/* Notes an entry, which stands at byte *offset* of the new archive. Returns whether there was memory. */
int tl_pass(struct tl_passing *to, const struct tl_entry *entry, uint64_t offset);

/* Notes the entries that begin at *data*, as long as they lie there whole with their content, ascend, stand before the key *bound*
 * (data NULL: all do), list no names, and are no hard links but *with_links*. Returns how many bytes they take; less than 0: no
 * memory. */
int64_t tl_pass_run(struct tl_passing *to, const uint8_t *data, size_t bytes, struct tl_text bound, int with_links,
                    uint64_t offset);

#endif
