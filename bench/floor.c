/* The floor of every walk: readdir and fstatat of each folder named on standard input, by as many threads as are asked for. */
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static char **folders;
static size_t count;
static atomic_size_t next_folder;
static atomic_size_t entries;

static void *walk(void *unused)
{
    size_t i, seen = 0;
    struct dirent *entry;
    struct stat found;
    (void)unused;
    while ((i = atomic_fetch_add(&next_folder, 1)) < count) {
        DIR *folder = opendir(folders[i]);
        if (!folder) {
            perror(folders[i]);
            exit(1);
        }
        while ((entry = readdir(folder)))
            seen += !fstatat(dirfd(folder), entry->d_name, &found, AT_SYMLINK_NOFOLLOW);
        closedir(folder);
    }
    atomic_fetch_add(&entries, seen);
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t threads[64];
    int wanted = argc > 1 ? atoi(argv[1]) : 1;
    char *line = NULL;
    size_t room = 0;
    ssize_t length;
    while ((length = getline(&line, &room, stdin)) > 0) {
        line[strcspn(line, "\n")] = 0;
        folders = realloc(folders, (count + 1) * sizeof *folders);
        folders[count++] = strdup(line);
    }
    if (wanted < 1 || wanted > 64)
        return 2;
    for (int i = 0; i < wanted; i++)
        if (pthread_create(&threads[i], NULL, walk, NULL))
            return 1;
    for (int i = 0; i < wanted; i++)
        pthread_join(threads[i], NULL);
    printf("%zu\n", atomic_load(&entries));
    return 0;
}
