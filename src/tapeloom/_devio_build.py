"""Builds `tapeloom._devio`: the drives of csrc/, bound with cffi in API mode.

`setup.py` takes `ffibuilder` from here. Run as a program, it compiles the module in place, and needs nothing else of
tapeloom.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from cffi import FFI  # type: ignore[import-untyped]

CFLAGS = ["-std=c11", "-O3", "-Wall", "-Wextra", "-fvisibility=hidden", "-D_GNU_SOURCE"]

INCLUDED = ("device.h", "devio.h", "nulldev.h", "spooldev.h", "trouble.h", "vtape.h", "vtape_data.h", "vtape_index.h")
SOURCES = ("nulldev.c", "spooldev.c", "trouble.c", "vtape.c", "vtape_data.c", "vtape_index.c")

# What Python uses of device.h, devio.h, and the headers of the drives; the compiler checks it against them.
CDEF = """
    #define TL_DEVICE_ABI ...
    #define TL_VTAPE_BLOCK_BYTES_MAX ...

    enum tl_status {
        TL_OK, TL_FILEMARK, TL_END_OF_DATA, TL_EARLY_WARNING, TL_END_OF_MEDIUM, TL_BEGIN_OF_TAPE,
        TL_ERR_IO, TL_ERR_WRITE_PROTECTED, TL_ERR_NO_MEDIUM, TL_ERR_BUSY, TL_ERR_BLOCK_SIZE, TL_ERR_ROOM,
        TL_ERR_INVALID, TL_ERR_POSITION_LOST, TL_ERR_UNSUPPORTED, TL_ERR_HOST_FULL, ...
    };
    struct tl_vec { void *data; uint32_t bytes; uint32_t room; };
    struct tl_position { uint64_t position; uint64_t file; uint64_t end_of_data; };
    struct tl_device_ops { uint32_t abi; uint32_t batch_max; ...; };

    int tl_write(const struct tl_device_ops *ops, void *dev, const struct tl_vec *v, uint32_t n, uint32_t *done);
    int tl_write_filemarks(const struct tl_device_ops *ops, void *dev, uint32_t count);
    int tl_read(const struct tl_device_ops *ops, void *dev, struct tl_vec *v, uint32_t n, uint32_t *done);
    int tl_rewind(const struct tl_device_ops *ops, void *dev);
    int tl_locate(const struct tl_device_ops *ops, void *dev, uint64_t position);
    int tl_to_end_of_data(const struct tl_device_ops *ops, void *dev);
    int tl_space_filemarks(const struct tl_device_ops *ops, void *dev, int64_t count);
    int tl_space_blocks(const struct tl_device_ops *ops, void *dev, int64_t count);
    int tl_position(const struct tl_device_ops *ops, void *dev, struct tl_position *out);
    int tl_last_errno(const struct tl_device_ops *ops, void *dev);

    struct tl_vtape_cartridge {
        int data_fd, index_fd;
        int writable;
        int direct;
        uint64_t capacity;
        uint64_t early_warning;
    };
    struct tl_vtape *tl_vtape_new(void);
    void tl_vtape_free(struct tl_vtape *tape);
    const struct tl_device_ops *tl_vtape_ops(void);
    int tl_vtape_format(int index_fd, uint64_t id);
    int tl_vtape_protect(int index_fd, int on);
    int tl_vtape_mount(struct tl_vtape *tape, const struct tl_vtape_cartridge *cartridge);
    int tl_vtape_unmount(struct tl_vtape *tape);
    int tl_vtape_write_protected(const struct tl_vtape *tape);
    uint64_t tl_vtape_damaged(const struct tl_vtape *tape);
    int tl_vtape_takes_direct(int fd);

    struct tl_null_counts { uint64_t blocks, bytes, filemarks, calls; };
    struct tl_null *tl_null_new(uint64_t rate, uint64_t buffer);
    void tl_null_free(struct tl_null *null);
    const struct tl_device_ops *tl_null_ops(void);
    void tl_null_counts(const struct tl_null *null, struct tl_null_counts *out);

    struct tl_spool *tl_spool_new(int fd, uint32_t place_bytes, uint32_t places, uint64_t blocks_max);
    void tl_spool_free(struct tl_spool *spool);
    const struct tl_device_ops *tl_spool_ops(void);
    void tl_spool_forget(struct tl_spool *spool, uint64_t position, uint64_t blocks);
    uint32_t tl_spool_most(const struct tl_spool *spool);

    struct tl_trouble_plan {
        uint64_t fail_write, late_write, hang_write, fail_filemark, fail_read_at;
    };
    struct tl_trouble *tl_trouble_new(
        const struct tl_device_ops *inner_ops, void *inner, const struct tl_trouble_plan *plan);
    void tl_trouble_free(struct tl_trouble *trouble);
    const struct tl_device_ops *tl_trouble_ops(void);
    void tl_trouble_release(struct tl_trouble *trouble);
    void tl_trouble_abandon(struct tl_trouble *trouble);
    int tl_trouble_wait_hang(struct tl_trouble *trouble, uint32_t milliseconds);
"""

HEADERS = """
#include "devio.h"
#include "nulldev.h"
#include "spooldev.h"
#include "trouble.h"
#include "vtape.h"
"""


def builder(csrc: str) -> FFI:
    """The module's description, its C files in the folder `csrc`."""
    ffi = FFI()
    ffi.cdef(CDEF)
    ffi.set_source(
        "tapeloom._devio",
        HEADERS,
        sources=[f"{csrc}/{name}" for name in SOURCES],
        include_dirs=[csrc],
        depends=[f"{csrc}/{name}" for name in INCLUDED],
        extra_compile_args=CFLAGS,
    )
    return ffi


def compile_in_place() -> Path:
    """Compiles into the folder of this file; returns the path of the module."""
    here = Path(__file__).resolve().parent
    with tempfile.TemporaryDirectory(dir=here, prefix=".devio-") as scratch:
        made = Path(builder(str(here.parents[1] / "csrc")).compile(tmpdir=scratch))
        return made.replace(here / made.name)  # in one step: the module may be in use


ffibuilder = builder("csrc")

if __name__ == "__main__":
    print(compile_in_place())
