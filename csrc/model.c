#include "model.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <time.h>

/* Of a buffer: up to here the tape runs at its slowest step, for the host may be slower still. */
#define EASY 0.75

enum motion { STILL, WRITING, READING };

struct tl_model {
    struct tl_device_ops ops;
    const struct tl_device_ops *inner_ops;
    void *inner;
    uint64_t (*bytes_before)(const void *inner);
    struct tl_model_drive drive;
    double more_than[TL_MODEL_STEPS_MAX]; /* of bytes due, for each step: it is taken while more is due than that */
    struct tl_clock clock;
    double counted; /* a clock that nobody waits for */
    enum motion motion;
    double at;     /* by the clock: what the tape does is worked out up to here */
    double runs_at; /* it is on its way back until then */
    double due;
    struct tl_model_counts counts;
};

/* Where the inner drive stands. */
struct place {
    uint64_t position, bytes;
};

static double real_now(void *self)
{
    struct timespec now;

    (void)self;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* An absolute time: waking up late is made good by the next wait. */
static void real_wait(void *self, double until)
{
    double seconds = floor(until);
    struct timespec at = {.tv_sec = (time_t)seconds, .tv_nsec = (long)((until - seconds) * 1e9)};

    (void)self;
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR)
        continue;
}

static double counted_now(void *self)
{
    return *(double *)self;
}

static void counted_wait(void *self, double until)
{
    double *counted = self;

    *counted = fmax(*counted, until);
}

static double now(const struct tl_model *model)
{
    return model->clock.now(model->clock.self);
}

static void wait_until(const struct tl_model *model, double at)
{
    model->clock.wait(model->clock.self, at);
}

/* The drive does something for so long, and the host waits for it. */
static void spend(struct tl_model *model, double seconds, double *on)
{
    *on += seconds;
    wait_until(model, now(model) + seconds);
}

static struct place place(const struct tl_model *model)
{
    struct tl_position here;

    if (model->inner_ops->position(model->inner, &here))
        return (struct place){0, 0};
    return (struct place){here.position, model->bytes_before(model->inner)};
}

/* How far along the tape: 0 at its beginning, 1 at the other end. */
static double along(const struct tl_model *model, uint64_t bytes)
{
    double wraps, part;

    if (model->drive.wrap_bytes <= 0)
        return 0;
    part = modf((double)bytes / model->drive.wrap_bytes, &wraps);
    return fmod(wraps, 2) != 0 ? 1 - part : part;
}

static uint32_t step(const struct tl_model *model)
{
    uint32_t taken = model->drive.step_count - 1;

    while (model->due <= model->more_than[taken] && taken > 0)
        taken--;
    return taken;
}

/* What the tape does up to the moment `until`, but no longer than more than `limit` is due. */
static void work_off(struct tl_model *model, double until, double limit)
{
    while (model->at < until && model->due > limit) {
        double end = fmin(until, model->runs_at);

        if (model->at < end) {
            model->counts.hitching += end - model->at;
        } else {
            uint32_t taken = step(model);
            double rate = model->drive.steps[taken], left = fmax(model->more_than[taken], limit);

            end = model->at + (model->due - left) / rate;
            if (end > until) {
                left = model->due - rate * (until - model->at);
                end = until;
            }
            model->counts.streaming += end - model->at;
            model->due = left;
            if (left <= 0) {
                model->due = 0;
                model->counts.backhitches++;
                model->runs_at = end + model->drive.backhitch;
            }
        }
        model->at = end;
    }
}

/* What it does up to now. With nothing left that is due it stands, as soon as it has gone back. */
static void catch_up(struct tl_model *model)
{
    double present = now(model), back;

    work_off(model, present, 0);
    if (model->at >= present)
        return;
    back = fmin(fmax(model->runs_at, model->at), present);
    model->counts.hitching += back - model->at;
    model->counts.starved += present - back;
    model->at = present;
}

/* Waits until the tape has done what it will have at `at`. */
static void hold(struct tl_model *model)
{
    model->counts.held += fmax(model->at - now(model), 0);
    wait_until(model, model->at);
}

/* The tape stands. What was written is on it: at full rate, for now it is waited for. */
static void settle(struct tl_model *model)
{
    if (model->motion == WRITING) {
        catch_up(model);
        if (model->due > 0) {
            double runs_at = fmax(model->at, model->runs_at);
            double seconds = model->due / model->drive.steps[model->drive.step_count - 1];

            model->counts.hitching += runs_at - model->at;
            model->counts.streaming += seconds;
            model->at = runs_at + seconds;
            hold(model);
        }
    }
    model->motion = STILL;
    model->due = 0;
}

static void stream(struct tl_model *model, enum motion motion, struct place from)
{
    uint64_t bytes = place(model).bytes - from.bytes;

    if (bytes == 0)
        return;
    if (model->motion != motion) {
        if (model->motion != STILL) {
            settle(model);
            spend(model, model->drive.backhitch, &model->counts.hitching);
        }
        model->motion = motion;
        model->at = model->runs_at = now(model);
        model->due = motion == READING ? model->drive.buffer_bytes : 0;
    }
    if (model->drive.feed > 0)
        wait_until(model, now(model) + (double)bytes / model->drive.feed);
    catch_up(model);
    model->counts.bytes += bytes;
    model->due += (double)bytes;
    if (model->due > model->drive.buffer_bytes) {
        work_off(model, INFINITY, model->drive.buffer_bytes);
        hold(model);
    }
}

static struct place leave(struct tl_model *model)
{
    if (model->motion == WRITING)
        settle(model);
    return place(model);
}

/* Returns the status. What was read ahead is still good where the tape stands as it did. */
static int arrive(struct tl_model *model, struct place from, int status)
{
    struct place here = place(model);
    double way = fabs(along(model, here.bytes) - along(model, from.bytes));

    if (here.position != from.position) {
        settle(model);
        model->counts.moves++;
        spend(model, model->drive.locate + model->drive.locate_end * way, &model->counts.moving);
    }
    return status;
}

static int model_write(void *dev, const struct tl_vec *v, uint32_t n, uint32_t *done)
{
    struct tl_model *model = dev;
    struct place from = place(model);
    int status = model->inner_ops->write(model->inner, v, n, done);

    stream(model, WRITING, from);
    return status;
}

static int model_write_filemarks(void *dev, uint32_t count)
{
    struct tl_model *model = dev;
    int status;

    settle(model);
    status = model->inner_ops->write_filemarks(model->inner, count);
    if (status == TL_OK) {
        model->counts.filemarks += count;
        spend(model, model->drive.filemark, &model->counts.marking);
    }
    return status;
}

static int model_read(void *dev, struct tl_vec *v, uint32_t n, uint32_t *done)
{
    struct tl_model *model = dev;
    struct place from = place(model);
    int status = model->inner_ops->read(model->inner, v, n, done);

    stream(model, READING, from);
    return status;
}

static int model_rewind(void *dev)
{
    struct tl_model *model = dev;
    struct place from = leave(model);

    return arrive(model, from, model->inner_ops->rewind(model->inner));
}

static int model_locate(void *dev, uint64_t position)
{
    struct tl_model *model = dev;
    struct place from = leave(model);

    return arrive(model, from, model->inner_ops->locate(model->inner, position));
}

static int model_to_end_of_data(void *dev)
{
    struct tl_model *model = dev;
    struct place from = leave(model);

    return arrive(model, from, model->inner_ops->to_end_of_data(model->inner));
}

static int model_space_filemarks(void *dev, int64_t count)
{
    struct tl_model *model = dev;
    struct place from = leave(model);

    return arrive(model, from, model->inner_ops->space_filemarks(model->inner, count));
}

static int model_space_blocks(void *dev, int64_t count)
{
    struct tl_model *model = dev;
    struct place from = leave(model);

    return arrive(model, from, model->inner_ops->space_blocks(model->inner, count));
}

static int model_position(void *dev, struct tl_position *out)
{
    struct tl_model *model = dev;

    return model->inner_ops->position(model->inner, out);
}

static int model_last_errno(void *dev)
{
    struct tl_model *model = dev;

    return model->inner_ops->last_errno(model->inner);
}

static int model_control(void *dev, uint32_t op, void *arg, uint32_t arg_bytes)
{
    struct tl_model *model = dev;

    return model->inner_ops->control(model->inner, op, arg, arg_bytes);
}

struct tl_model *tl_model_new(const struct tl_device_ops *inner_ops, void *inner,
                              uint64_t (*bytes_before)(const void *inner), const struct tl_model_drive *drive,
                              const struct tl_clock *clock)
{
    struct tl_model *model = calloc(1, sizeof *model);

    if (!model)
        return NULL;
    model->ops = (struct tl_device_ops){
        .abi = TL_DEVICE_ABI,
        .batch_max = drive->feed > 0 ? 1 : inner_ops->batch_max, /* a slow host gives one after another */
        .write = model_write,
        .write_filemarks = model_write_filemarks,
        .read = model_read,
        .rewind = model_rewind,
        .locate = model_locate,
        .to_end_of_data = model_to_end_of_data,
        .space_filemarks = model_space_filemarks,
        .space_blocks = model_space_blocks,
        .position = model_position,
        .last_errno = model_last_errno,
        .control = inner_ops->control ? model_control : NULL,
    };
    model->inner_ops = inner_ops;
    model->inner = inner;
    model->bytes_before = bytes_before;
    model->drive = *drive;
    for (uint32_t faster = 1; faster < drive->step_count; faster++)
        model->more_than[faster] =
            drive->buffer_bytes * (EASY + (1 - EASY) * (faster - 1) / (drive->step_count - 1));
    model->clock = clock ? *clock : (struct tl_clock){counted_now, counted_wait, &model->counted};
    return model;
}

void tl_model_free(struct tl_model *model)
{
    free(model);
}

const struct tl_device_ops *tl_model_ops(const struct tl_model *model)
{
    return &model->ops;
}

void tl_model_change(struct tl_model *model, double seconds)
{
    settle(model);
    spend(model, seconds, &model->counts.changing);
}

double tl_model_now(const struct tl_model *model)
{
    return now(model);
}

void tl_model_counts(const struct tl_model *model, struct tl_model_counts *out)
{
    *out = model->counts;
}

const struct tl_clock *tl_clock_real(void)
{
    static const struct tl_clock real = {real_now, real_wait, NULL};

    return &real;
}
