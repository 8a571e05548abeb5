"""How numbers, times and lists are written for people."""

from __future__ import annotations

import doctest
import time
from collections.abc import Iterator

import pytest

from tapeloom.cli import screen


def test_the_examples_in_the_docstrings_hold() -> None:
    assert doctest.testmod(screen) == doctest.TestResults(0, 2)


def test_long_lists_are_counted() -> None:
    assert screen.bounded(["a"] * screen.BOUND) == ["a"] * screen.BOUND
    lines = screen.bounded([str(n) for n in range(1000)], "ask elsewhere")
    assert len(lines) == screen.BOUND
    assert lines[-1] == f"and {1000 - screen.BOUND + 1} more: ask elsewhere"


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("zone")
def test_times_are_in_the_readers_zone() -> None:
    assert screen.local_time(0) == "1970-01-01 05:30:00+0530"


@pytest.mark.parametrize(("text", "shown"), [("a\x1b[1mb", "a\\x1b[1mb"), ("é冬\n", "é冬\n"), ("\udcff", "\\udcff")])
def test_control_characters_are_shown_as_escapes(text: str, shown: str) -> None:
    assert screen.printable(text) == shown
