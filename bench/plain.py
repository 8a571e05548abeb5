"""The plain loops of plain.c and carry.c, compiled once a run and called by ctypes, which lets go of the GIL."""

from __future__ import annotations

import ctypes
import mmap
import os
import shutil
import subprocess
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from usage import Cost, measured

_ROOT = Path(__file__).resolve().parent.parent
_SOURCES = [
    "bench/plain.c",
    "bench/carry.c",
    *(f"csrc/{name}.c" for name in ("arena", "crc32c", "interleave", "ring", "slots")),
]


class Plain:
    """What tapeloom is measured against.

    Raises RuntimeError where there is no C compiler, with its own words where it refuses.
    """

    def __init__(self, folder: Path):
        compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            raise RuntimeError("the benchmarks compile their plain loops: install a C compiler")
        library = folder / "plain.so"
        flags = ["-std=c11", "-O3", "-D_GNU_SOURCE", "-fvisibility=hidden", "-shared", "-fPIC", "-pthread"]
        built = subprocess.run(
            [compiler, *flags, "-Icsrc", *_SOURCES, "-o", str(library)], cwd=_ROOT, capture_output=True, text=True
        )
        if built.returncode:
            raise RuntimeError(f"plain.c does not compile:\n{built.stderr}")
        self._library = ctypes.CDLL(str(library))

    def read_crc(self, paths: Sequence[Path], request_bytes: int, repeats: int) -> Cost:
        """Reads each file on a thread of its own and makes its CRC32C, and all once more, `repeats` times."""
        names = (ctypes.c_char_p * len(paths))(*(os.fsencode(path) for path in paths))
        total = ctypes.c_uint64()
        with measured() as usage:
            error = self._library.plain_read_crc(names, len(paths), request_bytes, repeats, ctypes.byref(total))
        if error:
            raise OSError(error, os.strerror(error))
        return Cost(total.value, usage)

    def write(self, file: Path, memory: mmap.mmap, piece_bytes: int, pieces: int, total_bytes: int) -> Cost:
        """Writes `total_bytes` from the beginning of the file on with O_DIRECT, `pieces` pieces a call, round and round
        out of `memory`, and waits until they are on the disk."""
        whole = (ctypes.c_char * len(memory)).from_buffer(memory)
        fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_DIRECT)
        try:
            with measured() as usage:
                error = self._library.plain_write(
                    fd, whole, ctypes.c_uint64(len(memory)), piece_bytes, pieces, ctypes.c_uint64(total_bytes)
                )
        finally:
            os.close(fd)
        if error:
            raise OSError(error, os.strerror(error))
        return Cost(total_bytes, usage)

    def carry(
        self,
        source: Path,
        requests: Sequence[tuple[int, int]],
        targets: Sequence[Path],
        memory: mmap.mmap,
        block_bytes: int,
        write_blocks: int,
        *,
        check: bool,
        threads: bool,
    ) -> Cost:
        """Reads the requests, (offset, blocks) each, with O_DIRECT, and writes what came to the beginning of every
        target, so many blocks a call, until it is on the disk. `check`: with the CRC32C of each block; `threads`: one
        that reads and one for each target, else one loop."""
        whole = (ctypes.c_char * len(memory)).from_buffer(memory)
        table = (ctypes.c_uint64 * (2 * len(requests)))(*chain.from_iterable(requests))
        fds = [os.open(source, os.O_RDONLY | os.O_DIRECT)]
        try:
            fds += [os.open(target, os.O_WRONLY | os.O_DIRECT) for target in targets]
            with measured() as usage:
                error = self._library.plain_carry(
                    fds[0],
                    table,
                    len(requests),
                    (ctypes.c_int * len(targets))(*fds[1:]),
                    len(targets),
                    whole,
                    ctypes.c_uint64(len(memory)),
                    block_bytes,
                    write_blocks,
                    check,
                    threads,
                )
        finally:
            for fd in fds:
                os.close(fd)
        if error:
            raise OSError(error, os.strerror(error))
        return Cost(sum(blocks for _, blocks in requests) * block_bytes, usage)

    def kernel_cycle_ns(self, buffers: int, run_blocks: int, rounds: int) -> float:
        """Nanoseconds that one core takes to hand a block from its producer to a device that takes everything."""
        elapsed = ctypes.c_int64()
        if not self._library.kernel_cycle(buffers, run_blocks, rounds, ctypes.byref(elapsed)):
            raise AssertionError("the kernel did not write what was published")
        return elapsed.value / (buffers * run_blocks * rounds)
