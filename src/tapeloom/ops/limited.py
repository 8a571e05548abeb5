"""What kept each drive of a job from being faster, in one sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from tapeloom.quantity import rough_rate
from tapeloom.schedule import Kind, Schedule

if TYPE_CHECKING:
    from tapeloom.runtime.pace import Pace

TOLD_SECONDS = 3.0
"""Of a drive that had less to do than that, nothing is said."""
MOST = 0.6
"""The share that one source has in all waiting for sources, if it is to be named alone."""
NAMED = 3
"""So many sources are named; more are counted."""


class Limit(Struct, frozen=True):
    """What a drive was limited by for that share of the time, 0 to 1: "itself", "source D2", "drive R5, its mirror",
    "this machine"."""

    by: str
    share: float


class Fed(Struct, frozen=True):
    """How fast a drive was on the whole, and why not faster: `limit` is what most of the time went for, of `shares`."""

    drive: str
    rate: float
    rate_writing: float
    starvations: int
    shares: tuple[Limit, ...]
    limit: Limit

    def __str__(self) -> str:
        dry = {0: "", 1: ", ran dry once,"}.get(self.starvations, f", ran dry {self.starvations:,} times,")
        share = f"{self.limit.share * 100:.0f} % of the time"
        why = f"was the limit itself {share}" if self.limit.by == ITSELF else f"was limited by {self.limit.by}, {share}"
        return f"{self.drive} wrote at {rough_rate(self.rate)}{dry} and {why}"

    def as_json(self) -> dict[str, object]:
        return {
            "rate": round(self.rate),
            "rate_writing": round(self.rate_writing),
            "shares": {one.by: round(one.share, 3) for one in self.shares},
            "limited_by": self.limit.by,
        }


ITSELF = "itself"
MACHINE = "this machine"
UNSEEN = "what fed it"
"""It slept, but was never seen asleep."""


def fed(schedule: Schedule, agent: int, pace: Pace) -> Fed | None:
    """None where there is nothing to say: it wrote nothing, or was done before anybody could look."""
    if pace.bytes == 0 or pace.seconds < TOLD_SECONDS:
        return None
    shares = [Limit(ITSELF, pace.drive_seconds / pace.seconds)]
    shares += [Limit(name, seconds / pace.seconds) for name, seconds in pace.sources.items()]
    shares += [Limit(_named(schedule, agent, one), seconds / pace.seconds) for one, seconds in pace.agents.items()]
    if not (pace.sources or pace.agents):
        shares.append(Limit(UNSEEN, pace.asleep_seconds / pace.seconds))
    shares.append(Limit(MACHINE, max(0.0, 1 - sum(one.share for one in shares))))
    sources = [one for one in shares if one.by in pace.sources]
    limit = max((one for one in shares if one not in sources), key=lambda one: one.share)
    if sum(one.share for one in sources) > limit.share:
        limit = _together(sources)
    drive = str(schedule.drive_names[schedule.agents["drive"][agent]])
    return Fed(
        drive,
        pace.bytes / pace.seconds,
        pace.rate_writing,
        pace.starvations,
        tuple(one for one in shares if one.share >= 0.0005),
        limit,
    )


def _together(sources: list[Limit]) -> Limit:
    """All sources as one; by name where they are few, or one of them is most of it."""
    ordered = sorted(sources, key=lambda one: -one.share)
    total = sum(one.share for one in sources)
    if ordered[0].share >= MOST * total:
        return ordered[0]
    if len(sources) > NAMED:
        return Limit(f"its {len(sources)} sources", total)
    kinds = {one.by.partition(" ")[0] for one in ordered}
    names = [one.by.partition(" ")[2] if len(kinds) == 1 else one.by for one in ordered]
    several = f"{kinds.pop()}s " if len(kinds) == 1 else ""
    return Limit(f"{several}{', '.join(names[:-1])} and {names[-1]}", total)


def _named(schedule: Schedule, agent: int, holder: int) -> str:
    """A drive by what it is to another one, which it holds up."""
    row, mine = schedule.agents[holder], schedule.agents["kind"][agent]
    match Kind(row["kind"]):
        case Kind.SPOOL:
            return str(schedule.agent_names[holder])
        case Kind.DIGEST:
            return f"the {schedule.agent_names[holder]}"
        case Kind.BACKUP:
            kin = "which it mirrors"
        case Kind.MIRROR if mine == Kind.BACKUP:
            kin = "its mirror"
        case Kind.MIRROR:
            kin = "another mirror"
        case _:
            kin = "which writes the same"
    return f"drive {schedule.drive_names[row['drive']]}, {kin}"
