/* CRC32C (Castagnoli, reflected polynomial 0x82F63B78; RFC 3720 appendix B.4 has test vectors). */
#ifndef TL_CRC32C_H
#define TL_CRC32C_H

#include <stddef.h>
#include <stdint.h>

struct tl_crc32c {
    const char *name;
    /* crc: 0 to begin, or the result so far. Returns the CRC of everything seen. */
    uint32_t (*update)(uint32_t crc, const void *data, size_t bytes);
};

/* The implementation of that name ("table", "sse42", "armv8"), or NULL where this processor cannot run it. */
const struct tl_crc32c *tl_crc32c_named(const char *name);

/* The fastest that this processor runs. */
const struct tl_crc32c *tl_crc32c_best(void);

/* Names of all implementations compiled in, NULL-terminated, the reference first. */
const char *const *tl_crc32c_names(void);

#endif
