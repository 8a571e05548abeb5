#include "entry.h"

#include <stdbool.h>

#include "paxhead.h"

#define RECORDS_BYTES_MAX (UINT64_C(528) << 20) /* with the longest listing */
#define NS INT64_C(1000000000)


static bool octal(const uint8_t *field, size_t width, uint64_t *value)
{
    uint64_t n = 0;
    size_t i = 0;
    for (; i < width && field[i] >= '0' && field[i] <= '7'; i++)
        n = n * 8 + (uint64_t)(field[i] - '0');
    *value = n;
    return i > 0 && i < width && (field[i] == 0 || field[i] == ' ');
}

static bool decimal(struct tl_text text, uint64_t *value)
{
    uint64_t n = 0;
    if (text.bytes == 0 || text.bytes > 18)
        return false;
    for (size_t i = 0; i < text.bytes; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        n = n * 10 + (uint64_t)(text.data[i] - '0');
    }
    *value = n;
    return true;
}

/* Seconds and nine digits behind the point; a time beyond what 64 bits hold is the last one that they do. */
static bool stamp(struct tl_text text, int64_t *ns)
{
    const bool before = text.bytes && text.data[0] == '-';
    uint64_t seconds, fraction;
    text.data += before;
    text.bytes -= before;
    if (text.bytes < 11 || text.data[text.bytes - 10] != '.')
        return false;
    if (!decimal((struct tl_text){text.data, text.bytes - 10}, &seconds) ||
        !decimal((struct tl_text){text.data + text.bytes - 9, 9}, &fraction))
        return false;
    if (seconds >= INT64_MAX / NS)
        *ns = before ? INT64_MIN : INT64_MAX;
    else
        *ns = ((int64_t)seconds * NS + (int64_t)fraction) * (before ? -1 : 1);
    return true;
}

static bool checksum_right(const uint8_t *block)
{
    uint64_t stated, sum = 8 * ' ';
    for (size_t i = 0; i < TL_PAX_BLOCK; i++)
        sum += block[i];
    for (size_t i = 148; i < 156; i++)
        sum -= block[i];
    return octal(block + 148, 8, &stated) && stated == sum;
}

static struct tl_text text_in(const uint8_t *field, size_t width)
{
    const uint8_t *end = memchr(field, 0, width);
    return (struct tl_text){field, end ? (size_t)(end - field) : width};
}

static bool is_key(struct tl_text key, const char *name)
{
    return key.bytes == strlen(name) && memcmp(key.data, name, key.bytes) == 0;
}

static bool take_record(struct tl_entry *e, struct tl_text key, struct tl_text value)
{
    uint64_t ignored;
    if (is_key(key, "mtime"))
        return stamp(value, &e->modified);
    if (is_key(key, "path") || is_key(key, "GNU.sparse.name"))
        e->path = value;
    else if (is_key(key, "linkpath"))
        e->link = value;
    else if (is_key(key, "GNU.dumpdir"))
        e->listing = value;
    else if (is_key(key, "size"))
        return decimal(value, &e->stored);
    else if (is_key(key, "GNU.sparse.realsize"))
        return decimal(value, &e->size);
    else if (is_key(key, "uid"))
        return decimal(value, &e->uid);
    else if (is_key(key, "gid"))
        return decimal(value, &e->gid);
    else if (is_key(key, "GNU.sparse.major"))
        return decimal(value, &ignored) && ignored == 1;
    return true;
}

/* The records lie from *head* to *end* of the header. */
static bool take_records(struct tl_entry *e, const uint8_t *head, size_t at, size_t end)
{
    while (at < end) {
        const uint8_t *text = head + at;
        const size_t left = end - at;
        const uint8_t *space = memchr(text, ' ', left < 12 ? left : 12);
        uint64_t length;
        if (space == NULL || !decimal((struct tl_text){text, (size_t)(space - text)}, &length) || length > left)
            return false;
        const uint8_t *key = space + 1, *newline = text + length - 1;
        if (key >= newline || *newline != '\n')
            return false;
        const uint8_t *equals = memchr(key, '=', (size_t)(newline - key));
        if (equals == NULL)
            return false;
        if (!take_record(e, (struct tl_text){key, (size_t)(equals - key)},
                         (struct tl_text){equals + 1, (size_t)(newline - equals - 1)}))
            return false;
        if (e->listing.data == equals + 1) {
            e->listing_record = at;
            e->listing_record_bytes = (size_t)length;
        }
        at += (size_t)length;
    }
    return true;
}

static bool take_header(struct tl_entry *e, const uint8_t *block)
{
    uint64_t seconds;
    if (!checksum_right(block) || !octal(block + 100, 8, &e->mode) || !octal(block + 108, 8, &e->uid) ||
        !octal(block + 116, 8, &e->gid) || !octal(block + 124, 12, &e->stored) || !octal(block + 136, 12, &seconds))
        return false;
    e->modified = seconds >= INT64_MAX / NS ? INT64_MAX : (int64_t)seconds * NS;
    e->size = UINT64_MAX;
    e->path = text_in(block, 100);
    e->link = text_in(block + 157, 100);
    return true;
}

static bool take_kind(struct tl_entry *e, uint8_t letter)
{
    static const enum tl_row_kind kinds[] = {TL_ROW_FILE,  TL_ROW_HARDLINK, TL_ROW_SYMLINK, TL_ROW_CHAR,
                                             TL_ROW_BLOCK, TL_ROW_FOLDER,   TL_ROW_FIFO};
    if (letter < '0' || letter > '6')
        return false;
    e->kind = kinds[letter - '0'];
    if (e->kind != TL_ROW_FILE)
        e->stored = e->size = 0;
    else if (e->size == UINT64_MAX)
        e->size = e->stored;
    if (e->kind != TL_ROW_SYMLINK && e->kind != TL_ROW_HARDLINK)
        e->link.bytes = 0;
    return e->stored <= INT64_MAX;
}

static bool take_path(struct tl_entry *e)
{
    struct tl_text *p = &e->path;
    if (p->bytes && p->data[p->bytes - 1] == '/')
        p->bytes--;
    if (p->bytes >= 2 && p->data[0] == '.' && p->data[1] == '/') {
        p->data += 2;
        p->bytes -= 2;
    } else if (p->bytes == 1 && p->data[0] == '.') {
        p->bytes = 0;
    } else if (p->bytes == 0) {
        return false;
    }
    return memchr(p->data, 0, p->bytes) == NULL;
}

static bool is_empty(const uint8_t *block)
{
    return block[0] == 0 && memcmp(block, block + 1, TL_PAX_BLOCK - 1) == 0;
}

enum tl_entry_found tl_entry_read(const uint8_t *data, size_t bytes, struct tl_entry *e)
{
    uint64_t records = 0;
    *e = (struct tl_entry){.header_bytes = TL_PAX_BLOCK};
    if (bytes < TL_PAX_BLOCK)
        return TL_ENTRY_MORE;
    if (is_empty(data))
        return TL_ENTRY_END;
    if (data[156] == 'x') {
        if (!checksum_right(data) || !octal(data + 124, 12, &records) || records > RECORDS_BYTES_MAX)
            return TL_ENTRY_WRONG;
        e->header_bytes = 2 * TL_PAX_BLOCK + (size_t)records + tl_pax_padding(records);
        if (bytes < e->header_bytes)
            return TL_ENTRY_MORE;
    }
    const uint8_t *block = data + e->header_bytes - TL_PAX_BLOCK;
    const bool right = take_header(e, block) && take_records(e, data, TL_PAX_BLOCK, TL_PAX_BLOCK + (size_t)records) &&
                       take_kind(e, block[156]) && take_path(e);
    return right ? TL_ENTRY_WHOLE : TL_ENTRY_WRONG;
}

int tl_entry_order(struct tl_text path, struct tl_text key)
{
    const size_t both = path.bytes < key.bytes ? path.bytes : key.bytes;
    for (size_t i = 0; i < both; i++) {
        const int p = path.data[i] == '/' ? 0 : path.data[i];
        if (p != key.data[i])
            return p - key.data[i];
    }
    return (path.bytes > key.bytes) - (path.bytes < key.bytes);
}

static int order(struct tl_text a, struct tl_text b)
{
    const int first = memcmp(a.data, b.data, a.bytes < b.bytes ? a.bytes : b.bytes);
    return first ? first : (a.bytes > b.bytes) - (a.bytes < b.bytes);
}

int tl_listed_next(struct tl_listed *l)
{
    const struct tl_text before = l->name;
    l->letter = 0;
    if (l->at == l->end)
        return 1;
    const uint8_t *end = memchr(l->at, 0, (size_t)(l->end - l->at));
    if (end == NULL || (*l->at != 'Y' && *l->at != 'N' && *l->at != 'D'))
        return 0;
    l->letter = *l->at;
    l->name = (struct tl_text){l->at + 1, (size_t)(end - l->at - 1)};
    l->at = end + 1;
    return l->name.bytes && (before.data == NULL || order(before, l->name) < 0);
}

int tl_listed_keeps(struct tl_listed *l, struct tl_text name)
{
    int there = -1;
    while (l->letter && (there = order(l->name, name)) < 0)
        if (!tl_listed_next(l))
            return -1;
    if (!l->letter || there != 0)
        return 0;
    return (l->letter != 'Y' ? TL_LISTED_FOLDER : 0) | (l->letter != 'D' ? TL_LISTED_OTHER : 0);
}

static bool add_row(struct tl_rows *to, const struct tl_entry *e, uint64_t offset)
{
    const struct tl_row row = {
        .size = e->size,
        .offset = offset,
        .modified = e->modified,
        .mode = (uint32_t)e->mode,
        .uid = (uint32_t)e->uid,
        .gid = (uint32_t)e->gid,
        .path_bytes = (uint32_t)e->path.bytes,
        .link_bytes = (uint32_t)e->link.bytes,
        .kind = e->kind,
    };
    return tl_bytes_add(&to->paths, e->path.data, e->path.bytes) && tl_bytes_add(&to->links, e->link.data, e->link.bytes) &&
           tl_bytes_add(&to->rows, &row, sizeof row);
}

int tl_pass(struct tl_passing *to, const struct tl_entry *e, uint64_t offset)
{
    if (to->wants_rows && !add_row(&to->rows, e, offset))
        return 0;
    to->last.used = 0;
    if (!tl_bytes_add(&to->last, e->path.data, e->path.bytes))
        return 0;
    for (size_t i = 0; i < to->last.used; i++)
        if (to->last.data[i] == '/')
            to->last.data[i] = 0;
    to->counts.files += e->kind == TL_ROW_FILE;
    to->counts.folders += e->kind == TL_ROW_FOLDER;
    to->counts.others += e->kind != TL_ROW_FILE && e->kind != TL_ROW_FOLDER;
    to->counts.bytes += e->stored;
    return 1;
}

int64_t tl_pass_run(struct tl_passing *to, const uint8_t *data, size_t bytes, struct tl_text bound, int with_links,
                    uint64_t offset)
{
    size_t done = 0;
    struct tl_entry e;
    while (tl_entry_read(data + done, bytes - done, &e) == TL_ENTRY_WHOLE) {
        const uint64_t left = bytes - done - e.header_bytes;
        if (e.stored > left || tl_pax_padding(e.stored) > left - e.stored || e.listing.data != NULL ||
            (e.kind == TL_ROW_HARDLINK && !with_links))
            break;
        if (tl_entry_order(e.path, (struct tl_text){to->last.data, to->last.used}) <= 0 ||
            (bound.data != NULL && tl_entry_order(e.path, bound) >= 0))
            break;
        if (!tl_pass(to, &e, offset + done))
            return -1;
        done += e.header_bytes + (size_t)e.stored + tl_pax_padding(e.stored);
    }
    return (int64_t)done;
}
