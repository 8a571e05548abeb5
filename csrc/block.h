/* The block: the unit on tape, as csrc/FORMAT.md describes it byte by byte. */
#ifndef TL_BLOCK_H
#define TL_BLOCK_H

#include <stddef.h>
#include <stdint.h>

#include "crc32c.h"

#define TL_BLOCK_VERSION 1u
#define TL_HEADER_SMALL 512u   /* payload sector-aligned */
#define TL_HEADER_PAGE 4096u   /* payload page-aligned */
#define TL_NAME_MAX 256u

enum tl_block_kind { TL_KIND_OBJECT = 1, TL_KIND_RECORD = 2 };
enum tl_block_codec { TL_CODEC_NONE = 0, TL_CODEC_ZLIB = 1, TL_CODEC_ZSTD = 2 };
enum tl_block_flags {
    TL_FLAG_END = 1u << 0,
    TL_FLAG_FAILED = 1u << 1,
    TL_FLAG_SEALED = 1u << 8,
    TL_FLAGS_MUST_KNOW = 0xFF00u & ~TL_FLAG_SEALED, /* those that this reader does not know */
};
enum tl_block_level { TL_LEVEL_FULL = 0, TL_LEVEL_INCREMENTAL = 1, TL_LEVEL_DIFFERENTIAL = 2 };
enum tl_block_content { TL_CONTENT_OPAQUE = 0, TL_CONTENT_PAX = 1, TL_CONTENT_JSON = 2, TL_CONTENT_INDEX = 3 };

/* The header as it stands on tape. Little-endian hosts only; block.c refuses to compile elsewhere. */
struct tl_header {
    uint8_t magic[8];
    uint16_t version;
    uint16_t header_bytes;
    uint32_t header_crc;
    uint8_t kind;
    uint8_t codec;
    uint16_t flags;
    uint32_t payload_bytes;
    uint32_t payload_crc;
    uint32_t sequence_bytes;
    uint8_t object[16];
    uint64_t seq;
    uint64_t offset;
    int64_t as_of;
    uint8_t parent[16];
    uint8_t level;
    uint8_t content;
    uint16_t name_bytes;
    uint32_t zero;
    uint8_t name[TL_NAME_MAX];
    uint8_t key_id[16];      /* zeros where the object is not sealed */
    uint8_t wrapped_key[40];
    uint8_t reserved[104];
};

/* What tl_block_check() found. Pinned: they cross into Python. */
enum tl_block_verdict {
    TL_BLOCK_OK = 0,
    TL_BLOCK_FOREIGN = 1,     /* no magic: not a block of ours */
    TL_BLOCK_HEADER = 2,      /* the header's checksum or its lengths are wrong */
    TL_BLOCK_VERSION_NEW = 3, /* a valid header of a version, or with a codec or flag, that this reader does not know */
    TL_BLOCK_PAYLOAD = 4,     /* header right, payload damaged */
};

/* Finishes the header at *block* as far as it does not depend on checksums: magic, version, and zeros from `reserved` to
 * header_bytes. What sealing authenticates is this, with both checksums zero. */
void tl_block_complete(void *block);

/* Finishes a block in place: *block* points at header_bytes of header whose every field but the two checksums, magic and
 * version is set, with the payload behind it. Bytes 408..header_bytes are zeroed. */
void tl_block_seal(const struct tl_crc32c *crc, void *block);

/* The same when the payload's CRC is known already (made while the data was in the cache). */
void tl_block_seal_with(const struct tl_crc32c *crc, void *block, uint32_t payload_crc);

/* Looks at a block of *bytes* bytes as it came from a medium. Never reads beyond them. Header fields may be believed
 * only when the verdict is OK or PAYLOAD. */
enum tl_block_verdict tl_block_check(const struct tl_crc32c *crc, const void *block, size_t bytes);

#endif
