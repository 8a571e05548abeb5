"""Times as people give them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import click

_MOMENT = re.compile(
    r"(?P<day>\d{4}-\d\d-\d\d)(?:[T ](?P<minute>\d\d:\d\d)(?P<second>:\d\d)?(?:\.(?P<part>\d{1,9}))?)?"
    r"(?P<zone>Z|[+-]\d\d(?::?\d\d)?)?"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_ns(text: str) -> int:
    """The last ns, since 1970 UTC, of the day, minute or second that the text names: ISO 8601, local time where it has
    no zone. ValueError: it is no such text.

    >>> to_ns("1970-01-02Z"), to_ns("1970-01-01 00:00Z"), to_ns("1970-01-01T01:00:00.5+01:00")
    (172799999999999, 59999999999, 500000000)
    """
    found = _MOMENT.fullmatch(text.strip())
    if found is None or (found["part"] and not found["second"]):
        raise ValueError(f"{text!r} is no time")
    zone = (found["zone"] or "").replace("Z", "+00:00")
    begin = datetime.fromisoformat(f"{found['day']}T{found['minute'] or '00:00'}{found['second'] or ''}{zone}")
    if found["part"]:
        return _ns(begin) + int(found["part"].ljust(9, "0"))
    unit = {"seconds": 1} if found["second"] else {"minutes": 1} if found["minute"] else {"days": 1}
    if found["minute"]:
        return _ns(begin) + int(timedelta(**unit).total_seconds()) * 10**9 - 1
    return _ns(begin + timedelta(days=1)) - 1  # by the clock on the wall: some days have 23 hours


def _ns(moment: datetime) -> int:
    return (moment.astimezone() - _EPOCH) // timedelta(microseconds=1) * 1000


def moment(ctx: click.Context, param: click.Parameter, text: str | None) -> int | None:
    """An option's time, in ns since 1970 UTC."""
    try:
        return None if text is None else to_ns(text)
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{text!r} is no time: write 2026-11-20, '2026-11-20 03:00' or 2026-11-20T03:00:00Z", ctx, param
        ) from None
