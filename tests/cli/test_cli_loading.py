"""What is loaded, and when: loading is most of a small command, and of an increment of a tree without a change."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cli_world import Site

from tapeloom.catalog import Catalog
from tapeloom.cli.main import LIGHT

HEAVY = {"numpy", "pydantic", "networkx", "pyarrow", "rich"}

BEFORE_THE_WALK = (
    *("cli.main", "cli.backing_up", "kept", "config.model", "catalog", "ops.levels", "ops.lineage", "ops.codings"),
    *("agent.tree", "agent.snapshot", "_tree", "volume.header"),
)
"""What a backup loads before it begins to read trees."""


@pytest.fixture
def used(site: Site) -> Site:
    """With backups in it: the first makes the state folder, the second keeps there what it has checked."""
    site.good("backup")
    site.good("backup")
    return site


def python(program: str, *arguments: str, folder: Path) -> str:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    environment.pop("OPENBLAS_NUM_THREADS", None)
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_tree_can_be_read_before_anything_heavy_is_loaded(used: Site) -> None:
    program = f"""
import sys
from importlib import import_module
for name in {BEFORE_THE_WALK!r}:
    import_module("tapeloom." + name)
    print(name, *sys.modules.keys() & {HEAVY!r})

from tapeloom import kept
from tapeloom.catalog import Catalog
from tapeloom.ops.codings import open_snapshot
config = kept.config(sys.argv[1])
with Catalog.open(config.server.state) as catalog:
    assert catalog.volumes()
    one = catalog.objects("docs")[-1]
    with open_snapshot(config, catalog.snapshot_path(one)) as snapshot:
        print(snapshot.object_id == one.id, *sys.modules.keys() & {HEAVY!r})
"""
    found = python(program, str(used.file), folder=used.folder)
    assert found.splitlines() == [*BEFORE_THE_WALK, "True"]


LIGHT_LINES = {"key": ["new", "one.key"], "backup": ["--help"]}
"""Others say something without any more words."""


@pytest.mark.parametrize("verb", sorted(LIGHT))
def test_a_light_verb_loads_nothing_heavy(verb: str, used: Site) -> None:
    program = f"""
import sys
from tapeloom.cli.main import main
status = main(sys.argv[1:])
print("loaded:", *sys.modules.keys() & {HEAVY!r})
sys.exit(status)
"""
    file = used.folder / "another.toml" if verb == "init" else used.file
    said = python(program, "-c", str(file), verb, *LIGHT_LINES.get(verb, []), folder=used.folder)
    assert said.splitlines()[-1] == "loaded:"


NO_MATTER_WHO = """
import os, sys

class Watch:
    def find_spec(self, name, path, target=None):
        if name == "numpy":
            print("with threads:", os.environ.get("OPENBLAS_NUM_THREADS"))

sys.meta_path.insert(0, Watch())
from tapeloom.cli.main import main
status = main(sys.argv[1:])
print("afterwards:", os.environ.get("OPENBLAS_NUM_THREADS"))
sys.exit(status)
"""


@pytest.mark.parametrize("verb", ["backup", "jobs", "objects", "verify", "config"])
def test_numpy_starts_no_threads(verb: str, used: Site) -> None:
    """One for each processor, for linear algebra that nobody asks for."""
    with Catalog.open(used.folder / "state", readonly=True) as catalog:
        job, one = str(catalog.jobs()[0].id), str(catalog.objects("docs")[-1].id)
    words = {"jobs": [job], "objects": ["--retire", one, "--yes"], "config": ["check"]}.get(verb, [])
    said = python(NO_MATTER_WHO, "-c", str(used.file), verb, *words, folder=used.folder).splitlines()
    assert [line for line in said if line.startswith(("with threads", "afterwards"))] == [
        "with threads: 1",
        "afterwards: None",
    ]
