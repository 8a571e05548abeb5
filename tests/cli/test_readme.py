"""What README says of files, verbs and commands holds."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tapeloom.cli.main import VERBS, main
from tapeloom.compile import problems
from tapeloom.config import load

TOP = Path(__file__).parent.parent.parent
README = (TOP / "README.md").read_text(encoding="utf-8")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def test_its_configurations_are_right(tmp_path: Path) -> None:
    first, second = _blocks("toml")
    assert tomllib.loads(first) == tomllib.loads((TOP / "tests" / "config" / "fig2.toml").read_text())
    for text in (first, second):
        (tmp_path / "tapeloom.toml").write_text(text, encoding="utf-8")
        assert problems(load(tmp_path / "tapeloom.toml")) == []


def test_its_program_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tapeloom.toml").write_text(
        '[drives]\nR1 = "vtape:tapes/R1"\n[sources]\ncamera = { producer = true }\n'
        '[backup.nightly.BMA1]\ndrive = "R1"\nbuffers = { B1 = "camera" }\n'
    )
    exec(_blocks("python")[0], {})
    assert capsys.readouterr().out == "complete\nb'frame 1frame 2'\n"


def test_its_week_runs(tmp_path: Path) -> None:
    """The script as it stands there, in an empty folder; what follows it in words is true of it."""
    program = "import sys; from tapeloom.cli.main import main; sys.exit(main())"
    command = f"#!/bin/sh\nexec {sys.executable} -c '{program}' \"$@\"\n"
    (tmp_path / "tapeloom").write_text(command)
    (tmp_path / "tapeloom").chmod(0o755)
    paths = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    rest = """
set -e
exec 3>&1 >restores
tapeloom restore docs --to now && diff -r data now
id=$(tapeloom objects docs --json | python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["id"])')
tapeloom restore $id --to sunday && cat sunday/papers/draft sunday/papers/report >&3
tapeloom restore docs articles/report --to one && cat one/articles/report >&3
for n in 0 1 2; do
  id=$(tapeloom objects docs --json | python3 -c "import json, sys; print(json.load(sys.stdin)[$n]['id'])")
  mkdir -p stock && tapeloom cat $id | tar -C stock --listed-incremental=/dev/null -x
done
diff -r data stock && tapeloom find report --versions | wc -l >&3
"""
    script = f"set -e\ntapeloom init\n{_blocks('sh')[2]}{rest}"
    done = subprocess.run(
        ["sh", "-c", script], cwd=tmp_path, env=os.environ | paths, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-5:] == ["a draft", "first words", "first words", "more words", "4"]


@pytest.mark.parametrize("verb", VERBS)
def test_it_names_every_verb(verb: str) -> None:
    assert re.search(rf"^\|.*`{verb}\b.*\|", README, re.MULTILINE)


def test_its_test_command_is_the_one_of_ci() -> None:
    test = _blocks("sh")[1].strip()
    assert test in (TOP / ".ci" / "run").read_text().splitlines()


def test_its_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^):]+)\)", README):
        assert (TOP / target).is_file(), target


def test_its_picture_is_what_plan_draws(tmp_path: Path) -> None:
    """After a change that is meant: `tapeloom -c tests/config/fig2.toml plan --svg tests/golden/fig2.svg`."""
    drawn = tmp_path / "fig2.svg"
    assert main(["-c", str(TOP / "tests" / "config" / "fig2.toml"), "plan", "--svg", str(drawn)]) == 0
    assert drawn.read_bytes() == (TOP / "tests" / "golden" / "fig2.svg").read_bytes()
    assert "tests/golden/fig2.svg" in README
