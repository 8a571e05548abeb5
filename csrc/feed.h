/* Filling slots with one object's data sequence: bytes, or what a descriptor gives, cut into blocks and sealed.
 *
 * A feeder belongs to one thread. A block is published when more data comes after it is full, or when the object ends: so
 * the flag END stands on the last block that has data, and an object has no empty block but when it is empty itself. An object
 * whose blocks a producer in another process has filled is ended in a block of its own: the producer never says END on tape.
 *
 * Blocks that were compressed or sealed elsewhere come in whole by tl_feed_coded(), and nothing else does then. */
#ifndef TL_FEED_H
#define TL_FEED_H

#include "block.h"
#include "ring.h"

struct tl_feeder {
    const struct tl_view *view;
    const struct tl_crc32c *crc;
    uint32_t stream;
    uint32_t slot;          /* being filled, or TL_NONE */
    uint32_t object;        /* the job's number of the object */
    uint32_t filled;        /* payload bytes in the slot */
    uint32_t payload_max;   /* payload bytes of a full block */
    struct tl_header header; /* of the next block: seq and offset move on */
};

void tl_feed_init(struct tl_feeder *f, const struct tl_view *view, const struct tl_crc32c *crc, uint32_t stream);

/* Begins an object. Of *header*, object, as_of, parent, level, content, name, header_bytes, key_id and wrapped_key count. */
void tl_feed_begin(struct tl_feeder *f, const struct tl_header *header, uint32_t object);

/* Where the next payload bytes go: at least one byte of room in a slot, which it waits for. Called when there are more bytes: a
 * full block is published by it, without END. */
enum tl_ring_status tl_feed_room(struct tl_feeder *f, uint8_t **data, uint32_t *bytes);

/* The first bytes of that room are filled. */
void tl_feed_filled(struct tl_feeder *f, uint32_t bytes);

/* Publishes what is there as a block, however short. */
enum tl_ring_status tl_feed_flush(struct tl_feeder *f);

/* Publishes, as the next block, a slot whose payload stands behind its header page already: a producer in another process has
 * filled it with *bytes* bytes. Nothing of the feeder's own may be unpublished. */
enum tl_ring_status tl_feed_slot(struct tl_feeder *f, uint32_t slot, uint32_t bytes);

/* What is said of one coded block, beside what is said of its object. */
struct tl_coded {
    uint64_t seq, offset;
    uint32_t payload_bytes, sequence_bytes;
    uint16_t flags;
    uint8_t codec;
};

/* The header that such a block of this object will have, with both checksums zero: what sealing authenticates. *to* has room
 * for header_bytes. Nothing of the feeder changes. */
void tl_feed_header(const struct tl_feeder *f, const struct tl_coded *coded, void *to);

/* Publishes a block with this payload, copied once into a slot that it waits for. `seq` and `offset` of *coded* must be the
 * next ones, and payload_bytes fit. With *ending* the slot is also given in a stop in order. */
enum tl_ring_status tl_feed_coded(struct tl_feeder *f, const struct tl_coded *coded, const void *payload, int ending);

/* Ends the object with TL_FLAG_END and *flags*. */
enum tl_ring_status tl_feed_end(struct tl_feeder *f, uint16_t flags);

/* Forgets the object: the slot being filled goes home. */
void tl_feed_drop(struct tl_feeder *f);

enum tl_ring_status tl_feed_bytes(struct tl_feeder *f, const void *data, uint64_t bytes);
enum tl_ring_status tl_feed_zeros(struct tl_feeder *f, uint64_t bytes);

/* Up to *bytes* from fd at *offset* by pread(). *got: how many came; fewer with OK means end of file, or *error = errno. */
enum tl_ring_status tl_feed_file(struct tl_feeder *f, int fd, uint64_t offset, uint64_t bytes, uint64_t *got,
                                 int *error);

/* Everything from a pipe or socket until its end, by read(). */
enum tl_ring_status tl_feed_pipe(struct tl_feeder *f, int fd, uint64_t *got, int *error);

#endif
