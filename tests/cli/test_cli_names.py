"""A name on the command line that nothing has is wrong use, whatever verb it is given to: status 2, one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_world import CONFIGURATION, Site

from tapeloom.cli.main import VERBS, main

LIBRARY = """\
R4 = "vlib:lib?bay=0"

[libraries]
L1 = "vlib:lib?drives=1&slots=4&cartridges=2"

[sources]
"""
WRONG = """\
plan NIX
backup NIX
copy NIX
objects NIX
objects --retire NIX
jobs NIX
files NIX
files docs --at 2001-01-01
find x --source NIX
restore NIX --to out
restore docs nix --to out
restore docs --at 2001-01-01 --to out
restore docs --copy NIX --to out
restore docs --volume NIX --to out
cat NIX
cat docs --copy NIX
cat docs --volume NIX
verify NIX
verify --volume NIX
verify --copy NIX
verify docs --copy NIX
verify NIX --against-source
compact NIX --to R3
compact R1-0001 --to NIX
refresh NIX --to R3
refresh R1-0001 --to NIX
migrate --from NIX --to R3
migrate --from R1-0001 --to NIX
demux NIX --to R3
demux R1-0001 --to NIX
consolidate NIX --to R3
consolidate docs --to NIX
label X --drive NIX
label X --drive R1 --pool NIX
label NIX --drive R4
relabel NIX
relabel EMPTY --drive NIX
relabel EMPTY --pool NIX
load NIX --drive R1
load NIX --drive R4
load R1-0001 --drive NIX
unload --drive NIX
retire NIX --reason x --yes
scratch NIX --reason x --yes
inventory NIX
mount NIX
mount V00001L9 --drive NIX
unmount NIX
import-export --library NIX
import-export --out NIX --yes
import --volume NIX
import --drive NIX
export-catalog --to NIX
bench NIX"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shared: nothing that is refused changes it."""
    folder = tmp_path_factory.mktemp("names")
    (folder / "tapeloom.toml").write_text(CONFIGURATION.replace("[sources]\n", LIBRARY))
    for source in ("docs", "mail"):
        (folder / "data" / source).mkdir(parents=True)
        (folder / "data" / source / "file").write_text(source)
    for words in (["backup"], ["label", "EMPTY", "--drive", "R1"], ["inventory"]):
        assert main(["-c", str(folder / "tapeloom.toml"), *words]) == 0
    return folder


@pytest.mark.parametrize("line", WRONG.splitlines())
def test_a_name_that_nothing_has(
    world: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    monkeypatch.chdir(tmp_path)
    said = Site(world, capfd).run(*line.split())
    assert said.status == 2, said
    assert said.err.startswith("tapeloom: ")
    assert len(said.err.splitlines()) == 1
    assert said.out == ""
    assert list(tmp_path.iterdir()) == []


def test_each_verb_that_takes_a_name_is_tried() -> None:
    of_files = {"init", "config", "key", "demo"}
    nameless = {"volumes", "drives"}
    assert {line.split()[0] for line in WRONG.splitlines()} == set(VERBS) - of_files - nameless
