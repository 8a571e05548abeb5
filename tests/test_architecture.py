"""Who may import whom, and what C may not do. The house is described in the packages' docstrings; this keeps it that
way."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "tapeloom"
C_FILES = sorted([*(ROOT / "csrc").glob("*.c"), *(ROOT / "csrc").glob("*.h")])

LEAVES = {
    "errors",
    "filepool",
    "health",
    "ident",
    "limits",
    "moment",
    "news",
    "numerics",
    "quantity",
    "quoting",
    "schedule",
    "softdrive",
    "tapealert",
    "timing",
    "vlib",
}
"""Parts that import nothing of tapeloom, but for one another's."""

FORBIDDEN = {
    "device": {
        "seal",
        "volume",
        "runtime",
        "catalog",
        "config",
        "graph",
        "compile",
        "plan",
        "agent",
        "ops",
        "cli",
        "api",
    },
    "volume": {"seal", "runtime", "catalog", "config", "graph", "compile", "plan", "agent", "ops", "cli", "api"},
    "library": {
        *("seal", "volume", "runtime", "catalog", "config", "graph", "compile", "plan"),
        *("agent", "index", "ops", "cli", "api"),
    },
    "agent": {"volume", "device", "runtime", "catalog", "config", "graph", "compile", "plan", "ops", "cli", "api"},
    "seal": {
        "device",
        "runtime",
        "catalog",
        "config",
        "graph",
        "compile",
        "plan",
        "agent",
        "index",
        "ops",
        "cli",
        "api",
    },
    "catalog": {"runtime", "device", "config", "graph", "compile", "plan", "agent", "ops", "cli", "api"},
    "config": {"volume", "device", "runtime", "catalog", "graph", "compile", "plan", "agent", "ops", "cli", "api"},
    "graph": {"volume", "device", "runtime", "catalog", "plan", "agent", "ops", "cli", "api"},
    "compile": {"volume", "device", "runtime", "catalog", "plan", "agent", "ops", "cli", "api"},
    "runtime": {"config", "graph", "compile", "plan", "catalog", "agent", "ops", "cli", "api"},
    "plan": {"volume", "device", "runtime", "catalog", "agent", "ops", "cli", "api"},
    "kept": {"volume", "device", "runtime", "catalog", "plan", "agent", "ops", "cli", "api"},
    "picture": {"volume", "device", "runtime", "catalog", "agent", "ops", "cli", "api"},
    "index": {"volume", "device", "runtime", "catalog", "config", "graph", "compile", "plan", "ops", "cli", "api"},
    "ops": {"cli", "api"},
    "api": {"cli"},
}

LINES_MAX = 420

ONLY = {
    "networkx": {"graph", "compile"},
    "peewee": {"catalog"},
    "pydantic": {"config"},
    "tomlkit": {"config"},
    "blake3": {"seal"},
    "cryptography": {"seal"},
    "zstandard": {"seal"},
    "click": {"cli"},
    "rich": {"cli"},
    "pyarrow": {"index"},
}
"""Libraries that one part alone knows."""


def part_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py").removesuffix(".pyx").removesuffix(".pxd")


def module_of(path: Path) -> list[str]:
    """The package that relative imports in this file begin at."""
    return ["tapeloom", *path.relative_to(SOURCE).parts[:-1]]


def python_imports(path: Path) -> Iterator[tuple[int, str]]:
    """(line, whole name) of every import, wherever in the file it stands."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = module_of(path)[: len(module_of(path)) + 1 - node.level] if node.level else []
            start = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{start}.{alias.name}") for alias in node.names)


def cython_imports(path: Path) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if found := re.match(r"\s*from ([\w.]+) c?import (.+)", line):
            yield from (
                (number, f"{found[1]}.{name.split()[0]}") for name in re.findall(r"[\w*]+(?: as \w+)?", found[2])
            )
        elif found := re.match(r"\s*c?import ([\w.]+)", line):
            yield number, found[1]


def imports() -> Iterator[tuple[Path, int, str]]:
    for path in sorted(SOURCE.rglob("*.py")):
        yield from ((path, line, name) for line, name in python_imports(path))
    for path in sorted([*SOURCE.rglob("*.pyx"), *SOURCE.rglob("*.pxd")]):
        yield from ((path, line, name) for line, name in cython_imports(path))


def known_parts() -> set[str]:
    return {part_of(path) for path in SOURCE.rglob("*.py")} - {"__init__"}


def own() -> Iterator[tuple[Path, int, str, str]]:
    """(file, line, its part, the part it imports) for all imports inside of the package."""
    parts = known_parts() | {"_kernel", "_segment", "_devio"}
    for path, line, name in imports():
        words = name.split(".")
        if words[0] == "tapeloom" and len(words) > 1 and words[1] in parts and part_of(path) != words[1]:
            yield path, line, part_of(path), words[1]


def places(found: list[tuple[Path, int, str]]) -> str:
    return "\n".join(f"{path.relative_to(ROOT)}:{line}: imports {what}" for path, line, what in found)


def test_the_parts_are_all_known() -> None:
    """A new part has to say here whom it may know."""
    told = set(FORBIDDEN) | LEAVES | {"cli", "web"}
    told |= {"attach", "handshake"}  # the side of a producer in another process: see below
    assert {part for part in known_parts() if not part.startswith("_")} <= told


def test_imports_go_one_way() -> None:
    assert not places([(path, line, to) for path, line, part, to in own() if to in FORBIDDEN.get(part, set())])


def test_leaves_import_nothing() -> None:
    assert not places([(path, line, to) for path, line, part, to in own() if part in LEAVES and to not in LEAVES])


def test_nobody_imports_the_commands() -> None:
    assert not places([(path, line, to) for path, line, part, to in own() if to in ("cli", "web")])


def test_a_producers_side_is_light() -> None:
    """A program that fills slots loads neither the engine nor what a configuration needs."""
    light = LEAVES | {"attach", "handshake", "_segment"}
    assert not places(
        [(path, line, to) for path, line, part, to in own() if part in ("attach", "handshake") and to not in light]
    )


@pytest.mark.parametrize("library", ONLY)
def test_a_library_is_one_parts_own(library: str) -> None:
    strangers = [
        (path, line, name)
        for path, line, name in imports()
        if name.split(".")[0] == library and part_of(path) not in ONLY[library]
    ]
    assert not places(strangers)


def test_parts_do_not_know_one_another_in_a_circle() -> None:
    knows: dict[str, set[str]] = defaultdict(set)
    for _, _, part, to in own():
        knows[part].add(to)
    done: set[str] = set()

    def follow(part: str, way: tuple[str, ...]) -> None:
        assert part not in way, " -> ".join((*way, part))
        if part not in done:
            for to in sorted(knows[part]):
                follow(to, (*way, part))
            done.add(part)

    for part in sorted(knows):
        follow(part, ())


def test_modules_are_small() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in [*SOURCE.rglob("*.py"), *C_FILES]
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > LINES_MAX
    }
    assert not long


@pytest.mark.parametrize("path", C_FILES, ids=lambda path: path.name)
def test_c_knows_nothing_of_python(path: Path) -> None:
    assert not re.search(r'#\s*include\s*[<"](Python|numpy/|cython)', path.read_text(encoding="utf-8"))


@pytest.mark.skipif(not (shutil.which("cc") and shutil.which("nm")), reason="no C compiler, or no nm")
@pytest.mark.parametrize("path", [path for path in C_FILES if path.suffix == ".c"], ids=lambda path: path.name)
def test_c_has_no_global_that_changes(path: Path, tmp_path: Path) -> None:
    """Every extension has a copy of its own of each object file, so that such a variable would be two."""
    made = tmp_path / "made.o"
    subprocess.run(
        ["cc", "-std=c11", "-O1", "-fPIC", "-D_GNU_SOURCE", "-c", path, "-o", made], check=True, capture_output=True
    )
    listed = subprocess.run(["nm", "--format=posix", made], check=True, capture_output=True, text=True).stdout
    symbols = [line.split()[:2] for line in listed.splitlines()]
    tables = read_only_after_relocation(made)
    assert not [name for name, kind in symbols if kind in "bBdDcC" and name not in tables]


def read_only_after_relocation(made: Path) -> set[str]:
    """Constant tables of addresses: nm calls them data, though they stand in .data.rel.ro."""
    listed = subprocess.run(["objdump", "--syms", made], check=True, capture_output=True, text=True).stdout
    return {line.split()[-1] for line in listed.splitlines() if ".data.rel.ro" in line}
