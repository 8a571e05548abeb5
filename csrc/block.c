#include "block.h"

#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "block.c writes struct tl_header as it lies in memory: little-endian hosts only"
#endif

_Static_assert(sizeof(struct tl_header) == TL_HEADER_SMALL, "struct tl_header is the 512 bytes of FORMAT.md");
_Static_assert(offsetof(struct tl_header, header_crc) == 12, "FORMAT.md");
_Static_assert(offsetof(struct tl_header, object) == 32, "FORMAT.md");
_Static_assert(offsetof(struct tl_header, as_of) == 64, "FORMAT.md");
_Static_assert(offsetof(struct tl_header, name) == 96, "FORMAT.md");
_Static_assert(offsetof(struct tl_header, key_id) == 352, "FORMAT.md");
_Static_assert(offsetof(struct tl_header, wrapped_key) == 368, "FORMAT.md");
_Static_assert(offsetof(struct tl_header, reserved) == 408, "FORMAT.md");

static const uint8_t magic[8] = {'T', 'L', 'O', 'O', 'M', 'B', 'L', 'K'};

/* The CRC of the header with its own field taken as zero. */
static uint32_t header_crc(const struct tl_crc32c *crc, const uint8_t *block, uint32_t header_bytes)
{
    static const uint8_t zeros[4] = {0};
    const size_t at = offsetof(struct tl_header, header_crc);
    uint32_t c = crc->update(0, block, at);
    c = crc->update(c, zeros, sizeof zeros);
    return crc->update(c, block + at + sizeof zeros, header_bytes - at - sizeof zeros);
}

void tl_block_complete(void *block)
{
    struct tl_header *h = block;
    memcpy(h->magic, magic, sizeof magic);
    h->version = TL_BLOCK_VERSION;
    h->zero = 0;
    const size_t reserved = offsetof(struct tl_header, reserved);
    memset((uint8_t *)block + reserved, 0, h->header_bytes - reserved);
}

void tl_block_seal_with(const struct tl_crc32c *crc, void *block, uint32_t payload_crc)
{
    struct tl_header *h = block;
    tl_block_complete(h);
    h->payload_crc = payload_crc;
    h->header_crc = header_crc(crc, block, h->header_bytes);
}

void tl_block_seal(const struct tl_crc32c *crc, void *block)
{
    const struct tl_header *h = block;
    tl_block_seal_with(crc, block, crc->update(0, (const uint8_t *)block + h->header_bytes, h->payload_bytes));
}

enum tl_block_verdict tl_block_check(const struct tl_crc32c *crc, const void *block, size_t bytes)
{
    const struct tl_header *h = block;
    if (bytes < sizeof magic || memcmp(h->magic, magic, sizeof magic) != 0)
        return TL_BLOCK_FOREIGN;
    if (bytes < TL_HEADER_SMALL || (h->header_bytes != TL_HEADER_SMALL && h->header_bytes != TL_HEADER_PAGE) ||
        bytes < h->header_bytes || header_crc(crc, block, h->header_bytes) != h->header_crc)
        return TL_BLOCK_HEADER;
    if (h->version != TL_BLOCK_VERSION || (h->flags & TL_FLAGS_MUST_KNOW) || h->codec > TL_CODEC_ZSTD)
        return TL_BLOCK_VERSION_NEW;
    if (bytes - h->header_bytes != h->payload_bytes)
        return TL_BLOCK_PAYLOAD;
    if (crc->update(0, (const uint8_t *)block + h->header_bytes, h->payload_bytes) != h->payload_crc)
        return TL_BLOCK_PAYLOAD;
    return TL_BLOCK_OK;
}
