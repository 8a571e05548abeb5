/* Names of users and groups by their numbers, each asked of the system once. Threads share one table. */
#ifndef TL_OWNERS_H
#define TL_OWNERS_H

#include <pthread.h>

#include "bytes.h"

struct tl_owner {
    uint32_t number;
    uint32_t bytes;
    uint8_t *name;
};

struct tl_owners {
    pthread_rwlock_t lock;
    struct tl_owner **kept[2]; /* of users, of groups; sorted by number. What was found stays where it is. */
    uint32_t count[2];
};

enum tl_owner_kind { TL_OWNER_USER = 0, TL_OWNER_GROUP = 1 };

void tl_owners_init(struct tl_owners *o);
void tl_owners_free(struct tl_owners *o);

/* The name, empty where the system knows none. Valid as long as the table. */
struct tl_text tl_owner_name(struct tl_owners *o, enum tl_owner_kind kind, uint32_t number);

#endif
