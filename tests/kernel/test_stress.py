"""Builds and runs stress.c; TAPELOOM_STRESS_SEEDS asks for more topologies than the few hundred of an everyday run."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CSRC = HERE.parent.parent / "csrc"
SOURCES = [HERE / "stress.c", *(CSRC / f"{name}.c" for name in ("arena", "ring", "slots", "interleave", "drain"))]
SEEDS = int(os.environ.get("TAPELOOM_STRESS_SEEDS", "60"))
FIRST_SEED = int(os.environ.get("TAPELOOM_STRESS_FIRST", "1"))
VARIANTS = {
    "plain": [],
    "thread": ["-fsanitize=thread"],
    "address": ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
}


def compile_with(flags: list[str], sources: list[Path], made: Path) -> subprocess.CompletedProcess[str]:
    command = ["cc", "-std=c11", "-D_GNU_SOURCE", "-g", "-O1", "-Wall", "-Wextra", "-Werror", "-pthread", f"-I{CSRC}"]
    return subprocess.run(
        [*command, *flags, *map(str, sources), "-o", str(made)], capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module", params=VARIANTS)
def stress(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command of one variant."""
    folder = tmp_path_factory.mktemp(request.param)
    flags = VARIANTS[request.param]
    empty = folder / "empty.c"
    empty.write_text("int main(void) { return 0; }\n")
    probe = folder / "probe"
    fixed = [setarch, "-R"] if (setarch := shutil.which("setarch")) else []
    if flags:
        if compile_with(flags, [empty], probe).returncode:
            pytest.skip(f"this compiler has no {flags[0]}")
        # ThreadSanitizer does not run where addresses are spread too far; not every container lets setarch mend it.
        fixed = next((way for way in ([], fixed) if subprocess.run([*way, probe], check=False).returncode == 0), None)
        if fixed is None:
            pytest.skip(f"an empty program with {flags[0]} does not run here")
    else:
        fixed = []
    made = folder / "stress"
    built = compile_with(flags, SOURCES, made)
    assert built.returncode == 0, built.stderr
    return [*fixed, str(made)]


@pytest.mark.parametrize("mode", ["threads", "processes"])
def test_random_topologies(stress: list[str], mode: str) -> None:
    ran = subprocess.run([*stress, mode, str(FIRST_SEED), str(SEEDS)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == f"{SEEDS} topologies\n"
