"""Tables fit, and nothing in them is ever cut short."""

from __future__ import annotations

import doctest
import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapeloom.cli import tables

TITLES = ("source", "copy", "group", "drive", "status", "blocks", "volumes")
ROW = (
    "a-source-whose-name-is-much-longer-than-it-has-to-be-" + "x" * 40,
    "BMA124-of-the-vault",
    "nightly",
    "R1",
    "complete",
    "1,234,567/1,234,567",
    tables.volume_runs([f"R1-{n:04}" for n in range(1, 15)] + ["R7-0003"]),
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _shown(monkeypatch: pytest.MonkeyPatch, columns: int) -> list[str]:
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    tables.put_table(TITLES, [ROW, ROW], right=("blocks",))
    return re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue()).splitlines()


@pytest.mark.parametrize("columns", [40, 60, 80, 100, 120, 300])
def test_what_counts_stays_whole_at_any_width(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = _shown(monkeypatch, columns)
    assert max(map(len, lines)) <= columns
    for whole in ("BMA124-of-the-vault", "complete", "1,234,567/1,234,567", "R1-0001..R1-0014", "R7-0003"):
        assert sum(whole in line for line in lines) == 2
    assert "…" not in "".join(lines)
    assert "".join(lines).count("x") == 2 * 40, "all of the long name"


def test_a_table_that_cannot_fit_becomes_paragraphs(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [line.split()[0] if line.strip() else "" for line in _shown(monkeypatch, 60)]
    assert [line for line in lines if line in (*TITLES, "")] == [*TITLES, "", *TITLES]
    assert lines.count("source") == 2


def test_names_fold_within_their_column(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = _shown(monkeypatch, 120)
    assert lines[0].split() == list(TITLES)
    assert len(lines) > 3


def test_elsewhere_they_are_plain_and_whole(capsys: pytest.CaptureFixture[str]) -> None:
    tables.put_table(("name", "size"), [("a" * 100, "1"), ("b", "1,000")], right=("size",))
    assert capsys.readouterr().out.splitlines() == [
        f"{'name':100}   size",
        f"{'a' * 100}      1",
        f"{'b':100}  1,000",
    ]


def test_the_examples_in_the_docstrings_hold() -> None:
    assert doctest.testmod(tables) == doctest.TestResults(0, 1)


@pytest.mark.parametrize(
    ("labels", "shown"),
    [
        ([], ""),
        (["only"], "only"),
        (["A9", "A10", "A11"], "A9..A11 (3)"),
        (["A09", "A10", "B11"], "A09, A10, B11"),
        (["A1", "A3", "A5"], "A1, A3, A5"),
        (["A3", "A2", "A1"], "A3, A2, A1"),
        (["A1", "A2", "A3", "A1"], "A1..A3 (3), A1"),
    ],
)
def test_runs_of_volumes(labels: list[str], shown: str) -> None:
    assert tables.volume_runs(labels) == shown


@given(
    st.dictionaries(st.text(max_size=3), st.tuples(st.integers(1, 40), st.integers(0, 60)), min_size=1, max_size=7),
    st.integers(1, 200),
)
def test_columns_share_the_room(columns: dict[str, tuple[int, int]], room: int) -> None:
    least = {title: low for title, (low, _) in columns.items()}
    widths = {title: low + more for title, (low, more) in columns.items()}
    gaps = tables.GAP * (len(columns) - 1)
    fit = tables.fitted(widths, least, room)
    if fit is None:
        assert sum(least.values()) + gaps > room
        return
    assert all(least[title] <= fit[title] <= widths[title] for title in columns)
    used = sum(fit.values()) + gaps
    assert used == min(room, sum(widths.values()) + gaps), "no room is given away"
