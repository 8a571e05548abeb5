"""What digests, compression and sealing cost a backup that comes out of memory and goes onto a null drive."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from sizes import Sizes
from test_backup import archive, back_up
from usage import Cost

from tapeloom.config import load
from tapeloom.limits import KIB, MIB
from tapeloom.seal import new_key_file

CODINGS = {
    "sha256": 'digest = "sha256"',
    "blake3": 'digest = "blake3"',
    "zstd": 'compress = "zstd"',
    "zstd_random": 'compress = "zstd"',
    "sealed": 'encrypt = "K"',
    "zstd_sealed": 'compress = "zstd", encrypt = "K"',
}


@pytest.mark.parametrize("name", CODINGS)
def test_coding(
    benchmark: BenchmarkFixture,
    note: Callable[[str, float], None],
    scratch: Path,
    tmp_path: Path,
    files: list[Path],
    sizes: Sizes,
    name: str,
) -> None:
    new_key_file(tmp_path / "k.key")
    if name.startswith("zstd") and name != "zstd_random":
        files = [wordy(scratch, number, sizes.file_bytes) for number in range(2)]
    sources = [archive(file.parent, tmp_path, sizes.repeats).feeds[0] for file in files[:2]]
    plain: list[Cost] = []

    def run() -> None:
        coded = cost(tmp_path, sources, CODINGS[name])
        note(f"coding_{name}", coded.gb_per_second / plain[-1].gb_per_second)
        note(f"coding_{name}_cpu", coded.cpu_per_gb - plain[-1].cpu_per_gb)

    benchmark.pedantic(
        run, setup=lambda: plain.append(cost(tmp_path, sources, 'digest = "none"')), rounds=min(3, sizes.rounds)
    )


def cost(place: Path, given: Sequence[Sequence[Path]], keys: str) -> Cost:
    """Of one backup of sources with these paths, each in a chain of its own."""
    shutil.rmtree(place / "state", ignore_errors=True)  # a null drive forgets its volume
    sources = ""
    for row, paths in enumerate(given):
        listed = ", ".join(f'"{path}"' for path in paths)
        sources += f"S{row} = {{ paths = [{listed}], {keys} }}\n"
    buffers = ", ".join(f'B{row} = "S{row}"' for row in range(len(given)))
    file = place / "tapeloom.toml"
    file.write_text(
        f'[drives]\nR = "null:"\n[keys]\nK = "k.key"\n[sources]\n{sources}'
        f'[backup.n.A]\ndrive = "R"\nbuffers = {{ {buffers} }}\n'
    )
    return back_up(load(file))


def wordy(scratch: Path, number: int, size: int) -> Path:
    """A file, alone in its folder, of which a compressor makes a third or so: words, each time in another order."""
    folder = scratch / f"wordy-{number}"
    file = folder / "data"
    if not file.exists():
        folder.mkdir()
        chance = random.Random(number)
        words = [chance.randbytes(chance.randrange(2, 9)).hex().encode() for _ in range(4000)]
        page = b" ".join(chance.choices(words, k=64 * KIB))
        with file.open("wb") as out:
            for _ in range(0, size, MIB):
                at = chance.randrange(len(page))
                out.write((page[at:] + page[:at] + page)[:MIB])
            os.fsync(out.fileno())
    return file
