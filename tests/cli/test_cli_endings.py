"""How command lines end: exit statuses, nothing but sentences on standard error, and bugs."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from cli_world import Site

from tapeloom.catalog import Catalog
from tapeloom.cli import listing
from tapeloom.cli.main import main
from tapeloom.device import open_drive

WRONG = [
    [],
    ["bakup"],
    ["--no-such-option"],
    ["-c"],
    ["backup", "nightyl"],
    ["backup", "--wait", "-1"],
    ["backup", "--wait", "soon"],
    ["plan", "nope"],
    ["plan", "--svg", "/no/such/folder/plan.svg"],
    ["config"],
    ["config", "chek"],
    ["objects", "docs"],
    ["objects", "--jsn"],
    ["jobs", "01a2"],
    ["volumes", "R1"],
    ["verify", "docs"],
    ["restore"],
    ["restore", "docs"],
    ["restore", "docs", "--to", "out"],
    ["restore", "docs", "--to", "out", "--copy", "A", "--volume", "V"],
    ["restore", "docs", "--to", "out", "--existing", "skip"],
    ["restore", "docs", "--to", "out", "--existing", "maybe", "--in-place"],
    ["restore", "\udcff\x1b[31m", "--to", "out"],
    ["cat", "docs", "--copy", "A", "--volume", "V"],
    ["cat", "no\nsuch"],
    ["demo", "--folder", "/dev/null"],
    ["bench", "--block", "512"],
    ["bench", "--block", "17KiB"],
    ["bench", "--streams", "0"],
    ["bench", "vtape:tapes/R1", "--mirrors", "2"],
    ["bench", "ribbon:"],
]


@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_wrong_use_is_a_sentence_and_exit_status_2(
    words: list[str], site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(site.folder)
    status = main(words)
    said = site.capture.readouterr()
    assert status == 2
    assert not said.out
    assert said.err.startswith("tapeloom: " if words else "Usage: ")
    assert "Traceback" not in said.err
    assert "\x1b" not in said.err
    assert not (site.folder / "out").exists()


BAD_FILES = {
    "empty": "",
    "not TOML": "[server\n",
    "not a file": None,
    "a loop": '[drives]\nR1 = "vtape:t/1"\nR2 = "vtape:t/2"\n'
    '[mirror.1.A]\ndrive = "R1"\nbuffers = { B1 = "B.B1" }\n[mirror.1.B]\ndrive = "R2"\nbuffers = { B1 = "A.B1" }\n',
    "no tape drive": '[drives]\nR1 = "/dev/null"\n[sources]\nD = "data"\n'
    '[backup.g.A]\ndrive = "R1"\nbuffers = { B1 = "D" }\n',
    "no backup group": '[drives]\nR1 = "vtape:t/1"\nR2 = "vtape:t/2"\n'
    '[restore.v.A]\ndrive = "R1"\nbuffers = { B1 = "D" }\n[copy.1.B]\ndrive = "R2"\nbuffers = { B1 = "A.B1" }\n',
    "too little memory": '[server]\nmemory = "64KiB"\n[drives]\nR1 = "vtape:t/1"\n[sources]\nD = "data"\n'
    '[backup.g.A]\ndrive = "R1"\nbuffers = { B1 = "D" }\n',
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_files(name: str, site: Site) -> None:
    text = BAD_FILES[name]
    site.file.unlink()
    if text is not None:
        site.file.write_text(text)
    said = site.run("backup")
    assert said.status == 2
    assert not said.out
    assert all(line.startswith("tapeloom: ") for line in said.err.splitlines())
    assert not (site.folder / "tapes").exists()


def test_the_nearest_verb_is_named(site: Site) -> None:
    assert "did you mean backup?" in site.run("bakup").err


def test_help_needs_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["--help"]) == 0
    shown = capfd.readouterr().out
    assert all(len(line) <= 80 for line in shown.splitlines())
    verbs = [line.split()[0] for line in shown.partition("Commands:")[2].splitlines() if line.strip()]
    assert verbs[:3] == ["init", "config", "key"]
    for verb in verbs:
        assert main([verb, "--help"]) == 0
        assert capfd.readouterr().out.startswith(f"Usage: tapeloom {verb}")


def test_who_holds_the_state_folder_is_named(site: Site) -> None:
    with Catalog.open(site.folder / "state"):
        said = site.run("backup")
    assert said.status == 3
    assert f"process {os.getpid()}" in said.err
    assert "--wait SECONDS waits for it" in said.err
    with Catalog.open(site.folder / "state"):
        assert "also after 0.01 s" in site.run("backup", "--wait", "0.01").err


def test_who_holds_a_drive_is_named(site: Site) -> None:
    with open_drive(f"vtape:{site.folder / 'tapes' / 'R2'}", name="R2"):
        said = site.run("backup", "--json")
    assert said.status == 3
    assert not said.out
    assert "drive R2" in said.err
    assert f"pid {os.getpid()}" in said.err


def test_waiting_for_a_holder(site: Site) -> None:
    with Catalog.open(site.folder / "state"):
        process = site.start("backup", "--wait", "600")
        assert process.stderr is not None
        assert process.stderr.readline().startswith("Waiting up to 600 s: the state folder")
    process.communicate()
    assert process.returncode == 0


def test_a_bug_is_named_as_one(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(file: Path) -> None:
        raise ZeroDivisionError("on purpose")

    monkeypatch.setattr(listing, "open_catalog", broken)
    monkeypatch.setattr("tempfile.tempdir", str(site.folder))
    said = site.run("objects")
    assert said.status == 1
    assert len(said.err.splitlines()) == 1
    assert "this is a bug in tapeloom (ZeroDivisionError: on purpose)" in said.err
    (saved,) = site.folder.glob("tapeloom-bug-*.txt")
    assert str(saved) in said.err
    assert "Traceback" in saved.read_text()
    monkeypatch.setenv("TAPELOOM_DEBUG", "1")
    assert "Traceback" in site.run("objects").err


def test_nobody_reads_the_output(site: Site) -> None:
    site.good("backup")
    for verb in (["cat", "docs"], ["objects"], ["config", "schema"]):
        reading, writing = os.pipe()
        process = site.start(*verb, stdout=writing)
        os.close(reading)
        os.close(writing)
        assert process.communicate()[1] == ""
        assert process.returncode == 141


def test_a_full_disk_under_standard_output(site: Site) -> None:
    with open("/dev/full", "w") as full:
        process = site.start("config", "schema", stdout=full)
        assert process.communicate()[1] == "tapeloom: the system refused: No space left on device\n"
    assert process.returncode == 1


def test_outputs_that_are_closed(site: Site) -> None:
    site.good("backup")
    command = (
        f"exec {shlex.join([sys.executable, '-m', 'tapeloom.cli.main', '-c', str(site.file), 'objects'])} >&- 2>&-"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    assert subprocess.run(["sh", "-c", command], env=environment, check=False).returncode == 0


@pytest.mark.parametrize(
    ("words", "unwanted"),
    [
        (["--help"], {"numpy", "networkx", "pydantic", "peewee", "rich", "tapeloom.config", "tapeloom.catalog"}),
        (["objects"], {"networkx", "rich", "tapeloom.compile", "tapeloom.runtime"}),
        (["restore", "docs", "--to", "out", "--in-place"], {"networkx", "rich", "tapeloom.compile"}),
    ],
)
def test_only_what_a_verb_needs_is_loaded(words: list[str], unwanted: set[str], site: Site) -> None:
    site.good("backup")
    code = (
        "import sys; from tapeloom.cli.main import main; "
        f"status = main({['-c', str(site.file), *words]!r}); "
        f"print(*(sys.modules.keys() & {unwanted!r}), file=sys.stderr); sys.exit(status)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=site.folder, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr.strip()) == (0, "")


def test_a_backup_loads_what_its_job_has(site: Site) -> None:
    """No compiler and no pydantic for a configuration that was checked before, no Arrow where nothing has changed, and
    nothing of the agents, sources and codings that are not in it."""
    for _ in range(2):  # the first makes the state folder, the second keeps there what it has checked
        site.good("backup")
    unwanted = {
        "networkx",
        "pydantic",
        "rich",
        "pyarrow",
        "subprocess",
        "tapeloom.agent.command",
        "tapeloom.compile",
        "tapeloom.config.loading",
        "tapeloom.runtime.digest",
        "tapeloom.runtime.producer",
        "tapeloom.runtime.reading",
        "tapeloom.runtime.spool",
        "tapeloom.seal",
    }
    code = (
        "import sys; from tapeloom.cli.main import main; "
        f"status = main({['-c', str(site.file), 'backup', '--level', 'incremental']!r}); "
        f"print('loaded:', *sorted(sys.modules.keys() & {unwanted!r})); sys.exit(status)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=site.folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == "loaded:"
