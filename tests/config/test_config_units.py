from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapeloom.config import units
from tapeloom.config.faults import Malformed


@pytest.mark.parametrize(
    ("said", "count"),
    [
        (0, 0),
        (4096, 4096),
        ("0B", 0),
        ("17B", 17),
        ("512KiB", 524288),
        ("512 KiB", 524288),
        ("64GB", 64 * 10**9),
        ("1kB", 1000),
        ("1KB", 1000),
        ("1.5 TiB", 3 * 2**39),
        ("0.1MB", 100_000),
        ("18TB", 18 * 10**12),
        ("2PiB", 2**51),
        ("1.3GiB", 1395864371),
    ],
)
def test_sizes(said: object, count: int) -> None:
    assert units.parse_bytes(said) == count


@pytest.mark.parametrize(
    ("said", "what", "hint"),
    [
        ("512Kib", "no unit", 'did you mean "512KiB"?'),
        ("64gb", "no unit", 'did you mean "64GB"?'),
        ("64G", "no unit", 'did you mean "64GB" or "64GiB"?'),
        ("64", "no unit", "a number and a unit"),
        ("64 parsecs", "no unit", "a number and a unit"),
        ("-1GB", "negative", None),
        (-1, "negative", None),
        ("", "not a size", "a number and a unit"),
        ("GB", "not a size", "a number and a unit"),
        ("1,5GB", "not a size", "a number and a unit"),
        ("1_000B", "not a size", "a number and a unit"),
        ("\u0661GB", "not a size", "a number and a unit"),
        (" 1GB", "not a size", "a number and a unit"),
        ("1GB\n", "not a size", "a number and a unit"),
        ("9" * 30 + "B", "not a size", "a number and a unit"),
        ("99999PB", "too large", None),
        (2**63, "too large", None),
        pytest.param(16**5000, "too large", None, id="thousands of digits"),
        (True, "true is not a size", "a whole number of bytes"),
        (1.5, "1.5 is not a size", "a whole number of bytes"),
        ([], "an array is not a size", "a whole number of bytes"),
    ],
)
def test_no_sizes(said: object, what: str, hint: str | None) -> None:
    refused(units.parse_bytes, said, what, hint)


@pytest.mark.parametrize(("said", "rate"), [("400MB/s", 4e8), ("1.5 MiB/s", 1572864.0), (1000, 1000.0), (0.5, 0.5)])
def test_rates(said: object, rate: float) -> None:
    assert units.parse_rate(said) == rate


@pytest.mark.parametrize(
    ("said", "what", "hint"),
    [
        ("400MB", "not a rate", 'did you mean "400MB/s"?'),
        ("400Mb/s", "no unit", 'did you mean "400MB/s"?'),
        ("fast", "not a rate", '"400MB/s"'),
        ("-1MB/s", "negative", None),
        (-1, "negative", None),
        (0, "zero", '"400MB/s"'),
        ("0B/s", "zero", '"400MB/s"'),
        (float("inf"), "not a rate", '"400MB/s"'),
        (float("nan"), "not a rate", '"400MB/s"'),
        (False, "not a rate", '"400MB/s"'),
    ],
)
def test_no_rates(said: object, what: str, hint: str | None) -> None:
    refused(units.parse_rate, said, what, hint)


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("30s", 30.0),
        ("15min", 900.0),
        ("15 min", 900.0),
        ("2h", 7200.0),
        ("1d", 86400.0),
        ("500ms", 0.5),
        (7, 7.0),
        (0.25, 0.25),
    ],
)
def test_durations(said: object, seconds: float) -> None:
    assert units.parse_seconds(said) == seconds


@pytest.mark.parametrize(
    ("said", "what", "hint"),
    [
        ("15m", "no unit", 'did you mean "15min"?'),
        ("15MIN", "no unit", 'did you mean "15min"?'),
        ("3 hours", "no unit", 'did you mean "3h"?'),
        ("15", "no unit", "a number and a unit"),
        ("soon", "not a duration", "a number and a unit"),
        ("-3s", "negative", None),
        (-0.5, "negative", None),
        (float("nan"), "not a duration", '"15min"'),
        ("99999999999d", "too large", None),
        (None, "not a duration", '"15min"'),
    ],
)
def test_no_durations(said: object, what: str, hint: str | None) -> None:
    refused(units.parse_seconds, said, what, hint)


def refused(parse: object, said: object, what: str, hint: str | None) -> None:
    with pytest.raises(Malformed) as caught:
        parse(said)  # type: ignore[operator]
    assert what in str(caught.value)
    assert (caught.value.hint is None) == (hint is None)
    assert hint is None or hint in (caught.value.hint or "")


@given(st.integers(0, 2**63 - 1))
def test_what_is_shown_reads_back(count: int) -> None:
    assert units.parse_bytes(units.show_bytes(count)) == count


@given(st.one_of(st.text(), st.from_regex(r"[0-9.]{1,5} ?[kKMGTPiBb]{0,3}(/s)?", fullmatch=True)))
def test_schema_patterns_accept_what_the_parsers_accept(text: str) -> None:
    for parse, pattern in (
        (units.parse_bytes, units.BYTES_PATTERN),
        (units.parse_rate, units.RATE_PATTERN),
        (units.parse_seconds, units.SECONDS_PATTERN),
    ):
        try:
            parse(text)
            said = None
        except Malformed as error:
            said = str(error)
        if said is None:
            assert re.fullmatch(pattern, text)
        elif re.fullmatch(pattern, text):
            assert "zero" in said or "too large" in said  # which a pattern cannot see
