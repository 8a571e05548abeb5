"""Times as people give them: a day, a minute or a second, in ISO 8601, local where no zone is said. A leaf.

Such a time is a span, and whoever asks wants its beginning or its end: what stood at a time is what stood when it
ended, and what came since then came from its beginning on.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

PATTERN: Final = r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(?:(:\d\d)(?:\.(\d{1,9}))?)?)?(Z|[+-]\d\d(?::?\d\d)?)?"
"""Day, minute, second, its part, zone."""
EXAMPLES: Final = "2026-11-20, 2026-11-20 03:00 or 2026-11-20T03:00:00Z"

_WHOLE = re.compile(PATTERN)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def first_ns(text: str) -> int:
    """The first ns of the span, since 1970 UTC. ValueError: the text is no time.

    >>> first_ns("1970-01-02Z"), first_ns("1970-01-01 00:01Z"), first_ns("1970-01-01T01:00:00.5+01")
    (86400000000000, 60000000000, 500000000)
    """
    return _span(text)[0]


def last_ns(text: str) -> int:
    """The last ns of the span, since 1970 UTC. ValueError: the text is no time.

    >>> last_ns("1970-01-02Z"), last_ns("1970-01-01 00:00Z"), last_ns("1970-01-01T01:00:00.5+01:00")
    (172799999999999, 59999999999, 500000000)
    """
    return _span(text)[1]


def _span(text: str) -> tuple[int, int]:
    found = _WHOLE.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no time")
    day, minute, second, part, zone = found.groups()
    try:
        begin = datetime.fromisoformat(f"{day}T{minute or '00:00'}{second or ''}{(zone or '').replace('Z', '+00:00')}")
        if part:
            return (_ns(begin) + int(part.ljust(9, "0")),) * 2
        if minute:
            return _ns(begin), _ns(begin) + (1 if second else 60) * 10**9 - 1
        return _ns(begin), _ns(begin + timedelta(days=1)) - 1  # by the clock on the wall: some days have 23 hours
    except (ValueError, OverflowError):  # no such day, or too far away
        raise ValueError(f"{text!r} is no time") from None


def _ns(moment: datetime) -> int:
    return (moment.astimezone() - _EPOCH) // timedelta(microseconds=1) * 1000
