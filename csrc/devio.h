/* One plain function for each entry of a device's table: for callers that cannot call a function pointer well. */
#ifndef TL_DEVIO_H
#define TL_DEVIO_H

#include "device.h"

static inline int tl_write(const struct tl_device_ops *ops, void *dev, const struct tl_vec *v, uint32_t n,
                           uint32_t *done)
{
    return ops->write(dev, v, n, done);
}

static inline int tl_write_filemarks(const struct tl_device_ops *ops, void *dev, uint32_t count)
{
    return ops->write_filemarks(dev, count);
}

static inline int tl_read(const struct tl_device_ops *ops, void *dev, struct tl_vec *v, uint32_t n, uint32_t *done)
{
    return ops->read(dev, v, n, done);
}

static inline int tl_rewind(const struct tl_device_ops *ops, void *dev)
{
    return ops->rewind(dev);
}

static inline int tl_locate(const struct tl_device_ops *ops, void *dev, uint64_t position)
{
    return ops->locate(dev, position);
}

static inline int tl_to_end_of_data(const struct tl_device_ops *ops, void *dev)
{
    return ops->to_end_of_data(dev);
}

static inline int tl_space_filemarks(const struct tl_device_ops *ops, void *dev, int64_t count)
{
    return ops->space_filemarks(dev, count);
}

static inline int tl_space_blocks(const struct tl_device_ops *ops, void *dev, int64_t count)
{
    return ops->space_blocks(dev, count);
}

static inline int tl_position(const struct tl_device_ops *ops, void *dev, struct tl_position *out)
{
    return ops->position(dev, out);
}

static inline int tl_last_errno(const struct tl_device_ops *ops, void *dev)
{
    return ops->last_errno(dev);
}

static inline int tl_control(const struct tl_device_ops *ops, void *dev, uint32_t op, void *arg, uint32_t arg_bytes)
{
    return ops->control ? ops->control(dev, op, arg, arg_bytes) : TL_ERR_UNSUPPORTED;
}

#endif
