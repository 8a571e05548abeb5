"""The compiled parts: the kernel (Cython over csrc/) and the devices (cffi over csrc/)."""

from __future__ import annotations

from Cython.Build import cythonize
from setuptools import Extension, setup

CFLAGS = ["-std=c11", "-O3", "-Wall", "-Wextra", "-fvisibility=hidden", "-D_GNU_SOURCE"]

kernel = Extension(
    "tapeloom._kernel",
    sources=[
        "src/tapeloom/_kernel.pyx",
        "csrc/arena.c",
        "csrc/block.c",
        "csrc/crc32c.c",
        "csrc/drain.c",
        "csrc/feed.c",
        "csrc/interleave.c",
        "csrc/ring.c",
        "csrc/split.c",
    ],
    include_dirs=["csrc"],
    extra_compile_args=CFLAGS,
)

segment = Extension(
    "tapeloom._segment",
    sources=[
        "src/tapeloom/_segment.pyx",
        "csrc/block.c",
        "csrc/bridge.c",
        "csrc/feed.c",
        "csrc/producer.c",
        "csrc/ring.c",
    ],
    include_dirs=["csrc"],
    extra_compile_args=CFLAGS,
)

setup(
    ext_modules=cythonize([kernel, segment], language_level=3, include_path=["src"]),
    cffi_modules=["src/tapeloom/_devio_build.py:ffibuilder"],
)
