#include "trouble.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum gate { SHUT, OPEN, ABANDONED };

struct tl_trouble {
    const struct tl_device_ops *ops;
    void *inner;
    struct tl_trouble_plan plan;
    uint64_t writes, filemarks; /* so far */
    bool late;                  /* a write was swallowed: the next call fails */
    bool writing;               /* leaving this place writes a filemark, which is one of those counted */
    int error;                  /* EIO after a failure of ours; 0: ask the inner drive */
    _Atomic uint32_t gate;      /* futex: a hanging write waits while it is SHUT */
    _Atomic uint32_t hanging;   /* futex: 1 while a write hangs */
    bool abandoned;             /* a write hung at the end: its caller may still ask for its error, which stays */
};

/* Sleeps as long as *word has that value, or until that time of CLOCK_MONOTONIC. */
static void wait_while(_Atomic uint32_t *word, uint32_t value, const struct timespec *until)
{
    const int wait = FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG;

    while (atomic_load(word) == value)
        if (syscall(SYS_futex, word, wait, value, until, NULL, FUTEX_BITSET_MATCH_ANY) && errno == ETIMEDOUT)
            return;
}

static void set(_Atomic uint32_t *word, uint32_t value)
{
    atomic_store(word, value);
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

static int fail(struct tl_trouble *trouble)
{
    trouble->error = EIO;
    return TL_ERR_IO;
}

/* What every call begins with: the error of the write before, if that was hidden. */
static int enter(struct tl_trouble *trouble)
{
    if (!trouble->abandoned)
        trouble->error = 0;
    if (!trouble->late)
        return TL_OK;
    trouble->late = false;
    return fail(trouble);
}

static int hang(struct tl_trouble *trouble)
{
    int status = TL_OK;

    set(&trouble->hanging, 1);
    wait_while(&trouble->gate, SHUT, NULL);
    if (atomic_load(&trouble->gate) == ABANDONED)
        status = fail(trouble);
    set(&trouble->hanging, 0); /* last: nothing of the drive is touched behind this */
    return status;
}

/* How many of n blocks come before block number `number`. */
static uint32_t before(const struct tl_trouble *trouble, uint64_t number, uint32_t n)
{
    if (number <= trouble->writes || number - trouble->writes > n)
        return n;
    return (uint32_t)(number - trouble->writes - 1);
}

static int trouble_write(void *dev, const struct tl_vec *v, uint32_t n, uint32_t *done)
{
    struct tl_trouble *trouble = dev;
    const struct tl_trouble_plan *plan = &trouble->plan;
    int status = enter(trouble);

    *done = 0;
    while (status == TL_OK && *done < n) {
        uint32_t left = n - *done, good = left, put = 0;

        good = before(trouble, plan->hang_write, good);
        good = before(trouble, plan->fail_write, good);
        good = before(trouble, plan->late_write, good);
        if (good > 0) {
            status = trouble->ops->write(trouble->inner, v + *done, good, &put);
            trouble->writes += put;
            trouble->writing |= put > 0 || status == TL_END_OF_MEDIUM;
            *done += put;
            continue;
        }
        if (before(trouble, plan->hang_write, left) == 0) {
            trouble->plan.hang_write = 0; /* once: the block itself comes in the next turn */
            status = hang(trouble);
            continue;
        }
        trouble->writes++;
        if (trouble->writes == plan->fail_write)
            return fail(trouble);
        trouble->late = true;
        *done = n;
    }
    return status;
}

static int mark(struct tl_trouble *trouble, uint32_t count)
{
    trouble->writing = false;
    if (++trouble->filemarks == trouble->plan.fail_filemark)
        return fail(trouble);
    return trouble->ops->write_filemarks(trouble->inner, count);
}

/* Before the tape leaves its place for good; `marks`: a drive that was writing writes a filemark there, not hidden in
 * the inner drive. */
static int leave(struct tl_trouble *trouble, bool marks)
{
    int status = enter(trouble);

    if (status == TL_OK && trouble->writing && marks)
        return mark(trouble, 1);
    trouble->writing = false;
    return status;
}

static int trouble_write_filemarks(void *dev, uint32_t count)
{
    struct tl_trouble *trouble = dev;
    int status = enter(trouble);

    return status ? status : mark(trouble, count);
}

static int trouble_read(void *dev, struct tl_vec *v, uint32_t n, uint32_t *done)
{
    struct tl_trouble *trouble = dev;
    struct tl_position here;
    uint64_t good;
    int status = leave(trouble, false);

    *done = 0;
    if (status)
        return status;
    if (trouble->plan.fail_read_at == UINT64_MAX)
        return trouble->ops->read(trouble->inner, v, n, done);
    status = trouble->ops->position(trouble->inner, &here);
    if (status)
        return status;
    good = trouble->plan.fail_read_at - here.position; /* wraps to a great number where the tape is behind that block */
    if (good >= n)
        return trouble->ops->read(trouble->inner, v, n, done);
    if (good > 0)
        status = trouble->ops->read(trouble->inner, v, (uint32_t)good, done);
    return status ? status : fail(trouble);
}

static int trouble_rewind(void *dev)
{
    struct tl_trouble *trouble = dev;
    int status = leave(trouble, true);

    return status ? status : trouble->ops->rewind(trouble->inner);
}

static int trouble_locate(void *dev, uint64_t position)
{
    struct tl_trouble *trouble = dev;
    int status = leave(trouble, true);

    return status ? status : trouble->ops->locate(trouble->inner, position);
}

static int trouble_to_end_of_data(void *dev)
{
    struct tl_trouble *trouble = dev;
    int status = leave(trouble, false);

    return status ? status : trouble->ops->to_end_of_data(trouble->inner);
}

static int trouble_space_filemarks(void *dev, int64_t count)
{
    struct tl_trouble *trouble = dev;
    bool marked = trouble->writing && count < 0; /* with a filemark that is none of those counted */
    int status = leave(trouble, count < 0);

    return status ? status : trouble->ops->space_filemarks(trouble->inner, count - marked);
}

static int trouble_space_blocks(void *dev, int64_t count)
{
    struct tl_trouble *trouble = dev;
    int status = leave(trouble, false);

    return status ? status : trouble->ops->space_blocks(trouble->inner, count);
}

static int trouble_position(void *dev, struct tl_position *out)
{
    struct tl_trouble *trouble = dev;
    int status = enter(trouble);

    return status ? status : trouble->ops->position(trouble->inner, out);
}

static int trouble_last_errno(void *dev)
{
    struct tl_trouble *trouble = dev;

    return trouble->error ? trouble->error : trouble->ops->last_errno(trouble->inner);
}

/* Past the trouble: what has to be heard of it, the calls before and after say. */
static int trouble_control(void *dev, uint32_t op, void *arg, uint32_t arg_bytes)
{
    struct tl_trouble *trouble = dev;

    return trouble->ops->control ? trouble->ops->control(trouble->inner, op, arg, arg_bytes) : TL_ERR_UNSUPPORTED;
}

const struct tl_device_ops *tl_trouble_ops(void)
{
    static const struct tl_device_ops ops = {
        .abi = TL_DEVICE_ABI,
        .batch_max = 8, /* a batch of some size, so that trouble strikes in the midst of one too */
        .write = trouble_write,
        .write_filemarks = trouble_write_filemarks,
        .read = trouble_read,
        .rewind = trouble_rewind,
        .locate = trouble_locate,
        .to_end_of_data = trouble_to_end_of_data,
        .space_filemarks = trouble_space_filemarks,
        .space_blocks = trouble_space_blocks,
        .position = trouble_position,
        .last_errno = trouble_last_errno,
        .control = trouble_control,
    };
    return &ops;
}

struct tl_trouble *tl_trouble_new(const struct tl_device_ops *inner_ops, void *inner,
                                  const struct tl_trouble_plan *plan)
{
    struct tl_trouble *trouble = calloc(1, sizeof *trouble);

    if (trouble) {
        trouble->ops = inner_ops;
        trouble->inner = inner;
        trouble->plan = *plan;
    }
    return trouble;
}

void tl_trouble_free(struct tl_trouble *trouble)
{
    free(trouble);
}

void tl_trouble_release(struct tl_trouble *trouble)
{
    set(&trouble->gate, OPEN);
}

void tl_trouble_abandon(struct tl_trouble *trouble)
{
    trouble->abandoned = atomic_load(&trouble->hanging) != 0;
    set(&trouble->gate, ABANDONED);
    wait_while(&trouble->hanging, 1, NULL);
}

int tl_trouble_wait_hang(struct tl_trouble *trouble, uint32_t milliseconds)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += milliseconds / 1000;
    until.tv_nsec += milliseconds % 1000 * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    wait_while(&trouble->hanging, 0, &until);
    return atomic_load(&trouble->hanging) != 0;
}
