/* Extended attributes as pax records, as src/tapeloom/agent/metadata.py makes them: the plain ones. */
#ifndef TL_ATTRIBUTES_H
#define TL_ATTRIBUTES_H

#include "bytes.h"

enum tl_attributes {
    TL_ATTRIBUTES_READ,      /* all of them, perhaps none */
    TL_ATTRIBUTES_ODD,       /* access control lists, very many, names that have to be written otherwise, or an error */
    TL_ATTRIBUTES_NO_MEMORY,
};

/* The records of the attributes of the open file *fd* into *records*, which is emptied first; of *path*, which is not followed, where
 * *fd* is -1. */
enum tl_attributes tl_attributes_read(struct tl_bytes *records, int fd, const char *path);

#endif
