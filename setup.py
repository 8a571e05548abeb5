"""The compiled parts: the kernel and its segments (Cython over csrc/), and the devices (cffi over csrc/)."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from glob import glob
from pathlib import Path

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


def find_python_headers() -> None:
    """Debian and Ubuntu keep Python.h in a package of its own. Where it is missing it is unpacked beside this build,
    for which nobody has to be root."""
    if Path(sysconfig.get_paths()["include"], "Python.h").exists():
        return
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    folder = Path(tempfile.mkdtemp(prefix="tapeloom-headers-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    try:
        subprocess.run(["apt-get", "download", f"libpython{version}-dev"], cwd=folder, check=True, capture_output=True)
        (package,) = folder.glob("*.deb")
        subprocess.run(["dpkg-deb", "-x", package, folder], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError, ValueError):
        sys.exit(
            f"tapeloom is compiled, and Python.h of Python {version} is not here: "
            f"install python3-dev (or python{version}-dev)"
        )
    include = folder / "usr/include"
    os.environ["CFLAGS"] = f"{os.environ.get('CFLAGS', '')} -I{include / f'python{version}'} -I{include}"


find_python_headers()
kernel = extension(
    *("_kernel", "arena", "block", "crc32c", "drain", "feed", "interleave", "lack", "ring", "slots", "split"),
)
untree = extension("_untree", "unpack")
merge = extension("_merge", "entry")
segment = extension("_segment", "block", "bridge", "feed", "producer", "ring", "slots")
tree = extension(
    *("_tree", "attributes", "compare", "crc32c", "enter", "folder", "gather", "known", "linked", "listing", "looking"),
    *("names", "odd", "owners", "paxhead", "snapshot", "spill", "walk", "workers"),
)

setup(
    ext_modules=cythonize([kernel, merge, segment, tree, untree], language_level=3, include_path=["src"]),
    cffi_modules=["src/tapeloom/_devio_build.py:ffibuilder"],
)
