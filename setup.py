"""The compiled parts: the kernel and its segments (Cython over csrc/), and the devices (cffi over csrc/)."""

from __future__ import annotations

from glob import glob

from Cython.Build import cythonize
from setuptools import Extension, setup

CFLAGS = ["-std=c11", "-O3", "-Wall", "-Wextra", "-fvisibility=hidden", "-D_GNU_SOURCE"]


def extension(name: str, *c_files: str) -> Extension:
    return Extension(
        f"tapeloom.{name}",
        sources=[f"src/tapeloom/{name}.pyx", *(f"csrc/{file}.c" for file in c_files)],
        depends=glob("csrc/*.h"),
        include_dirs=["csrc"],
        extra_compile_args=CFLAGS,
    )


kernel = extension("_kernel", "arena", "block", "crc32c", "drain", "feed", "interleave", "ring", "split")
segment = extension("_segment", "block", "bridge", "feed", "producer", "ring")

setup(
    ext_modules=cythonize([kernel, segment], language_level=3, include_path=["src"]),
    cffi_modules=["src/tapeloom/_devio_build.py:ffibuilder"],
)
