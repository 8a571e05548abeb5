/* Feeds damaged archives to tl_unpack_run: fuzz GOLDEN FOLDER FIRST_SEED SEEDS. Prints how many files were made. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "unpack.h"

static uint64_t state;

static uint32_t draw(uint32_t below) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 20) % below;
}

static void mend(uint8_t *block) {
    unsigned sum = 8 * ' ';
    for (int i = 0; i < 512; i++)
        sum += i >= 148 && i < 156 ? 0 : block[i];
    snprintf((char *)block + 148, 8, "%06o", sum);
    block[155] = ' ';
}

static void clear(int folder) {
    DIR *all = fdopendir(dup(folder));
    if (!all)
        exit(2);
    rewinddir(all);
    for (struct dirent *one; (one = readdir(all));)
        unlinkat(folder, one->d_name, 0);
    closedir(all);
}

int main(int argc, char **argv) {
    static const uint8_t telling[] = "\0 0179=-./\nx\xff";
    if (argc != 5)
        return 2;
    struct stat status;
    int file = open(argv[1], O_RDONLY), folder = open(argv[2], O_RDONLY | O_DIRECTORY);
    if (file < 0 || folder < 0 || fstat(file, &status) != 0)
        return 2;
    size_t bytes = (size_t)status.st_size;
    uint8_t *golden = malloc(bytes);
    struct tl_unpack *unpack = calloc(1, sizeof *unpack);
    if (!golden || !unpack || read(file, golden, bytes) != status.st_size)
        return 2;
    unpack->numeric = true;
    uint64_t first = strtoull(argv[3], NULL, 10), seeds = strtoull(argv[4], NULL, 10);
    for (uint64_t seed = first; seed < first + seeds; seed++) {
        state = seed * UINT64_C(0x9E3779B97F4A7C15) + 1;
        size_t from = 512 * draw((uint32_t)(bytes / 512)), length = 1 + draw((uint32_t)(bytes - from));
        uint8_t *archive = malloc(length); /* of exactly its length: one byte more is seen */
        if (!archive)
            return 2;
        memcpy(archive, golden + from, length);
        for (uint32_t i = draw(8); i > 0; i--)
            archive[draw((uint32_t)length)] = draw(2) ? telling[draw(sizeof telling)] : (uint8_t)draw(256);
        for (size_t at = 0; at + 512 <= length; at += 512)
            if (memcmp(archive + at + 257, "ustar", 5) == 0 && draw(8))
                mend(archive + at);
        unpack->numeric = draw(2);
        for (size_t at = 0; at < length; at += 512) {
            size_t done = tl_unpack_run(unpack, folder, "./d", 3, archive + at, length - at);
            if (done > length - at)
                return 3;
        }
        if (seed % 64 == 0)
            clear(folder);
        free(archive);
    }
    clear(folder);
    printf("%llu files\n", (unsigned long long)unpack->files);
    free(golden);
    free(unpack);
    return 0;
}
