"""Times as people give them: the span that each names."""

from __future__ import annotations

import doctest
import time
from collections.abc import Iterator

import pytest

from tapeloom import moment

SECOND = 10**9
DAY = 86400 * SECOND


@pytest.fixture
def vienna(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Vienna")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_the_examples_hold() -> None:
    outcome = doctest.testmod(moment)
    assert outcome.attempted == 2
    assert outcome.failed == 0


@pytest.mark.parametrize(
    ("text", "first", "span"),
    [
        ("1970-01-01Z", 0, DAY),
        ("1970-01-01T00:00Z", 0, 60 * SECOND),
        ("1970-01-01 00:00:07Z", 7 * SECOND, SECOND),
        ("1970-01-01 00:00:07.25Z", 7 * SECOND + SECOND // 4, 1),
        (" 1970-01-01 02:00+02 ", 0, 60 * SECOND),
        ("1970-01-01 02:00+0200", 0, 60 * SECOND),
    ],
)
def test_spans(text: str, first: int, span: int) -> None:
    assert (moment.first_ns(text), moment.last_ns(text)) == (first, first + span - 1)


def test_days_by_the_clock_on_the_wall(vienna: None) -> None:
    assert moment.last_ns("2026-03-29") - moment.first_ns("2026-03-29") == 23 * 3600 * SECOND - 1
    assert moment.first_ns("2026-03-30") == moment.last_ns("2026-03-29") + 1


@pytest.mark.parametrize(
    "text",
    ["", "now", "2026-1-1", "2026-02-30", "2026-01-01 25:00", "2026-01-01 03", "9999-12-31", "2026-01-01 03:00.5"],
)
def test_what_is_no_time(text: str) -> None:
    for ask in (moment.first_ns, moment.last_ns):
        with pytest.raises(ValueError, match="is no time"):
            ask(text)
