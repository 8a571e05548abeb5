"""Builds `tapeloom._devio`: the drives of csrc/, bound with cffi in API mode.

`setup.py` takes `ffibuilder` from here. Run as a program, it compiles the module in place, and needs nothing else of
tapeloom.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from cffi import FFI  # type: ignore[import-untyped]

CFLAGS = ["-std=c11", "-O3", "-Wall", "-Wextra", "-fvisibility=hidden", "-D_GNU_SOURCE"]

INCLUDED = (
    *(
        "aside.h",
        "device.h",
        "devio.h",
        "model.h",
        "nulldev.h",
        "sgio.h",
        "spooldev.h",
        "stdev.h",
        "stdrive.h",
        "trouble.h",
    ),
    *("vtape.h", "vtape_data.h", "vtape_index.h"),
)
SOURCES = (
    "aside.c",
    "model.c",
    "nulldev.c",
    "served.c",
    "sgio.c",
    "spooldev.c",
    "stctl.c",
    "stdev.c",
    "stscsi.c",
    "stwrite.c",
    "trouble.c",
    "vtape.c",
    "vtape_data.c",
    "vtape_index.c",
)

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
    int tl_control(const struct tl_device_ops *ops, void *dev, uint32_t op, void *arg, uint32_t arg_bytes);

    struct tl_sg_result {
        uint8_t scsi_status, key, asc, ascq;
        uint32_t host_status, driver_status, residue;
        uint8_t sense[64];
        uint32_t sense_bytes;
    };
    int tl_sg_io(int fd, const uint8_t *cdb, uint32_t cdb_bytes, int direction, void *data, uint32_t bytes,
                 uint32_t timeout_ms, struct tl_sg_result *out);
    void tl_sense_decode(const uint8_t *sense, uint32_t bytes, uint8_t *key, uint8_t *asc, uint8_t *ascq);
    int tl_sg_good(const struct tl_sg_result *result);

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
    uint64_t tl_vtape_bytes_before(const void *tape);
    int tl_vtape_takes_direct(int fd);

    struct tl_null_counts { uint64_t blocks, bytes, filemarks, calls; };
    struct tl_null *tl_null_new(void);
    void tl_null_free(struct tl_null *null);
    const struct tl_device_ops *tl_null_ops(void);
    void tl_null_counts(const struct tl_null *null, struct tl_null_counts *out);
    uint64_t tl_null_bytes_before(const void *null);

    struct tl_model_drive {
        uint32_t step_count;
        double steps[...];
        double buffer_bytes, backhitch, filemark, locate, locate_end, wrap_bytes, feed;
    };
    struct tl_model_counts {
        uint64_t bytes, backhitches, moves, filemarks;
        double streaming, hitching, starved, moving, marking, changing, held;
    };
    struct tl_clock { double (*now)(void *self); void (*wait)(void *self, double until); void *self; };
    struct tl_model *tl_model_new(
        const struct tl_device_ops *inner_ops, void *inner, uint64_t (*bytes_before)(const void *inner),
        const struct tl_model_drive *drive, const struct tl_clock *clock);
    void tl_model_free(struct tl_model *model);
    const struct tl_device_ops *tl_model_ops(const struct tl_model *model);
    void tl_model_change(struct tl_model *model, double seconds);
    double tl_model_now(const struct tl_model *model);
    void tl_model_counts(const struct tl_model *model, struct tl_model_counts *out);
    const struct tl_clock *tl_clock_real(void);

    struct tl_spool *tl_spool_new(int fd, uint32_t place_bytes, uint32_t places, uint64_t blocks_max);
    void tl_spool_free(struct tl_spool *spool);
    const struct tl_device_ops *tl_spool_ops(void);
    void tl_spool_forget(struct tl_spool *spool, uint64_t position, uint64_t blocks);
    uint32_t tl_spool_most(const struct tl_spool *spool);

    #define TL_ASIDE_BYTES ...
    #define TL_ASIDE_BOUNCE_BYTES ...
    #define TL_ASIDE_REGIONS ...
    enum tl_aside_call {
        TL_ASIDE_NOTHING, TL_ASIDE_WRITE, TL_ASIDE_WRITE_FILEMARKS, TL_ASIDE_READ, TL_ASIDE_REWIND, TL_ASIDE_LOCATE,
        TL_ASIDE_TO_END_OF_DATA, TL_ASIDE_SPACE_FILEMARKS, TL_ASIDE_SPACE_BLOCKS, TL_ASIDE_POSITION, TL_ASIDE_CONTROL,
        ...
    };
    struct tl_aside *tl_aside_new(
        int memory_fd, int request_fd, int answer_fd, int process_fd, uint32_t batch_max, uint32_t block_bytes_max);
    void tl_aside_free(struct tl_aside *aside);
    const struct tl_device_ops *tl_aside_ops(const struct tl_aside *aside);
    int tl_aside_map(struct tl_aside *aside, uint32_t region, void *base, uint64_t bytes);
    void tl_aside_forget(struct tl_aside *aside, uint32_t region);
    void tl_aside_abandon(struct tl_aside *aside);
    int tl_aside_gone(const struct tl_aside *aside, uint32_t milliseconds);
    uint32_t tl_aside_in_call(const struct tl_aside *aside, int64_t *since_ns);
    void tl_aside_counts(const struct tl_aside *aside, uint64_t *calls, uint64_t *bounced_bytes);
    struct tl_served *tl_served_new(int memory_fd, int request_fd, int answer_fd);
    int tl_served_map(struct tl_served *served, int fd, uint64_t offset, uint64_t bytes);
    void tl_served_unmap(struct tl_served *served, uint32_t region);
    int tl_served_run(struct tl_served *served, const struct tl_device_ops *ops, void *dev);

    #define TL_ST_PATH_BYTES ...
    #define TL_ST_SG_DATA_BYTES ...
    enum tl_st_op { TL_ST_OPEN, TL_ST_CLOSE, TL_ST_LOAD, TL_ST_UNLOAD, TL_ST_FACTS, TL_ST_READY, TL_ST_SG, ... };
    enum tl_st_ready { TL_ST_EMPTY, TL_ST_LOADED, TL_ST_BECOMING, TL_ST_STOPPED, TL_ST_TROUBLED, ... };
    struct tl_st_open { char path[...]; uint32_t direct_bytes; int32_t error; };
    struct tl_st_facts {
        uint32_t ready;
        uint8_t key, asc, ascq;
        uint8_t write_protected;
        uint32_t limits_known;
        uint32_t drive_block_min, drive_block_max;
        uint32_t adapter_bytes_max;
        uint32_t block_bytes_max;
        uint32_t density;
        uint32_t over;
        uint32_t changes;
        int32_t error;
    };
    struct tl_st_sg {
        uint8_t cdb[16];
        uint32_t cdb_bytes;
        int32_t direction;
        uint32_t bytes;
        uint32_t timeout_ms;
        int32_t error;
        struct tl_sg_result result;
        uint8_t data[...];
    };
    struct tl_st *tl_st_new(void);
    void tl_st_free(struct tl_st *st);
    const struct tl_device_ops *tl_st_ops(void);

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
#include "aside.h"
#include "devio.h"
#include "model.h"
#include "nulldev.h"
#include "sgio.h"
#include "spooldev.h"
#include "stdev.h"
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
        libraries=["m"],
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
