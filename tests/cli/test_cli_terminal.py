"""On a terminal: bars while something runs, tables with colours that fit into it, prose that is folded."""

from __future__ import annotations

import os
import pty
import re
import threading
from collections.abc import Callable

import pytest
from cli_world import Said, Site

Shown = Callable[..., Said]


@pytest.fixture
def shown(site: Site, monkeypatch: pytest.MonkeyPatch) -> Shown:
    """Runs a command line with a terminal of 80 columns for both outputs; everything is in `out`."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("NO_COLOR", raising=False)

    def shown(*words: str) -> Said:
        ours, theirs = pty.openpty()
        process = site.start(*words, stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)
        parts: list[bytes] = []

        def read() -> None:
            try:
                while part := os.read(ours, 65536):
                    parts.append(part)
            except OSError:  # EIO: the other end is closed
                pass

        reader = threading.Thread(target=read)
        reader.start()
        status = process.wait()
        reader.join()
        os.close(ours)
        return Said(status, b"".join(parts).decode(), "")

    return shown


def _plain(text: str) -> list[str]:
    """What stands there for the eye in the end: escapes gone, of a line only what was written last."""
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r\n", "\n").split("\n")
    return [line.rsplit("\r", 1)[-1].rstrip() for line in lines]


def test_a_backup_has_a_bar_for_each_drive(site: Site, shown: Shown) -> None:
    said = shown("backup")
    assert said.status == 0
    assert "━" in said.out
    assert re.search(r"R2.*BMA2.*━.*B/s", said.out)
    assert any(line.startswith("docs    BMA1  nightly  R1     complete") for line in _plain(said.out))
    assert shown("backup").status == 0  # now it knows how much to expect


def test_tables_fit_and_have_colours(site: Site, shown: Shown) -> None:
    site.good("backup")
    for verb in (["objects"], ["volumes"], ["jobs"], ["verify"], ["jobs", site.good("jobs", "--json").json[0]["id"]]):
        said = shown(*verb)
        assert said.status == 0
        assert max(map(len, _plain(said.out))) <= 80
        assert "32m" in said.out  # green: all is well


def test_a_terminal_without_colours(site: Site, shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    site.good("backup")
    monkeypatch.setenv("NO_COLOR", "1")
    assert "32m" not in shown("objects").out


def test_restore_has_a_bar_and_says_where_it_all_is(site: Site, shown: Shown) -> None:
    site.good("backup")
    said = shown("restore", "docs", "--to", str(site.folder / "out"))
    assert said.status == 0
    assert "━" in said.out
    assert "2 files" in " ".join(_plain(said.out))


def test_bench_has_a_bar(shown: Shown) -> None:
    said = shown("bench", "--bytes", "2MiB", "--streams", "1", "--mirrors", "0")
    assert said.status == 0
    assert "3/3" in said.out
    assert max(map(len, _plain(said.out))) <= 80


def test_cat_does_not_write_to_a_terminal(site: Site, shown: Shown) -> None:
    site.good("backup")
    said = shown("cat", "docs")
    assert said.status == 2
    assert "standard output is a terminal" in said.out


def test_names_cannot_speak_to_the_terminal(site: Site, shown: Shown) -> None:
    site.good("backup")
    said = shown("objects", "\x1b]0;owned\x07")
    assert said.status == 2
    assert "\x1b]0" not in said.out
    assert "owned" in said.out
