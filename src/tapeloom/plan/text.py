"""A plan as text of at most 100 columns, and as data."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import to_builtins

from tapeloom.plan.records import Chain, Plan, PoolPlan
from tapeloom.quantity import rough_bytes, rough_rate, rough_size

COLUMNS = 100


def to_json(plan: Plan) -> dict[str, Any]:
    """The plan as plain data, ready for `json.dumps`: the names are those of the records."""
    found: dict[str, Any] = to_builtins(plan)
    return found


def to_text(plan: Plan) -> str:
    """The plan for people, ending with a line feed. No line is longer than `COLUMNS`, unless one name alone is."""
    sections = [
        _head(plan),
        _section("Chains", _chains(plan)),
        _section("Slots", _slots(plan)),
        _section("Media agents", _agents(plan)),
        *([_section("Restoring one object", restoring)] if (restoring := _restoring(plan)) else []),
        *([_section("Starting a drive", starting)] if (starting := _starting(plan)) else []),
        *([_section("Spools", _spools(plan))] if plan.spools else []),
        _section("Memory", _memory(plan)),
        _section("Processes and threads", _threads(plan)),
        _section("Bottleneck", _bottleneck(plan)),
    ]
    if plan.remarks:
        sections.append(_section("Remarks", [line for remark in plan.remarks for line in _wrap(remark, "- ")]))
    return "\n".join("".join(f"{line}\n" for line in section) for section in sections)


def _head(plan: Plan) -> list[str]:
    lines = _wrap(f"Plan of {', '.join(plan.groups)}", "")
    return [*lines, f"{plan.file}", f"schedule {plan.fingerprint[:16]}"]


def _section(title: str, lines: Iterable[str]) -> list[str]:
    return [title, *(f"  {line}".rstrip() for line in lines)]


def _wrap(text: str, bullet: str, width: int = COLUMNS - 2) -> list[str]:
    return textwrap.wrap(
        text,
        width,
        initial_indent=bullet,
        subsequent_indent=" " * len(bullet),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _table(rows: Sequence[Sequence[str]], right: Sequence[int] = (), width: int = COLUMNS - 2) -> list[str]:
    """Aligned columns, the first row being the heading. A first column that is too wide gets a line of its own."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    widths[0] = min(widths[0], max(8, width - sum(widths[1:]) - 2 * (len(widths) - 1)))
    lines = []
    for row in rows:
        cells = [
            cell.rjust(widths[column]) if column in right else cell.ljust(widths[column])
            for column, cell in enumerate(row)
        ]
        if len(row[0]) > widths[0] and any(row[1:]):
            lines.append(row[0])
            cells[0] = " " * widths[0]
        lines.append("  ".join(cells).rstrip())
    return lines


def _rate(rate: float | None) -> str:
    return "-" if rate is None else rough_rate(rate)


def _lead(chain: Chain, width: int) -> list[str]:
    """The sources of a chain, followed by an arrow, on as many lines as they need. Objects come as they lie on tape."""
    return _wrap(f"{(', ' if chain.feed == 'drive' else ', then ').join(chain.sources)} ->", "", width)


def _chains(plan: Plan) -> list[str]:
    first = "object" if any(chain.feed == "drive" for chain in plan.chains) else "source"
    rows = [(f"{first} -> buffer -> buffer", "drive", "group", "slots", "rate", "set by")]
    for chain in plan.chains:
        *more, last = _lead(chain, 40)
        rows += [(line, "", "", "", "", "") for line in more]
        for number, stage in enumerate(chain.stages):
            buffer = f"{stage.agent}.{stage.buffer}"
            slots = f"pool of {chain.pool}" if chain.pool else f"{chain.slots_own}..{chain.slots_max}"
            about = (slots, _rate(chain.rate), chain.limited_by or "-") if number == 0 else ("", "", "")
            label = f"{last} {buffer}" if number == 0 else f"{' ' * (len(last) - 4)}{'  ' * stage.depth}-> {buffer}"
            rows.append((label, stage.drive, f"{stage.kind} {stage.group}", *about))
    if all(chain.rate is None for chain in plan.chains):
        rows = [row[:4] for row in rows]  # type: ignore[misc]
    return _table(rows)


def _slots(plan: Plan) -> list[str]:
    pooled = [line for pool in plan.pools for line in _wrap(_pool(pool), "")]
    coupled = sum(len(chain.stages) - 1 for chain in plan.chains)
    text = (
        f"{plan.slots} slots of {rough_size(plan.slot_bytes)}, one for each tape block of up to "
        f"{rough_size(plan.block_bytes)}. a..b: a that nobody else can take, b at most; "
        f"{plan.slots_common} are common to all. "
    )
    shared = f"{coupled} of {coupled + len(plan.chains)} buffers need none of their own."
    alone = "No buffer is chained to another."
    return [*_wrap(text + (f"The buffers of a chain share its slots: {shared}" if coupled else alone), ""), *pooled]


def _pool(pool: PoolPlan) -> str:
    shared = f"shared by the {pool.chains} chains that it feeds" if pool.chains > 1 else "for the chain that it feeds"
    return f"pool of {pool.agent}: {pool.slots_own}..{pool.slots_max} slots to read into, {shared}"


def _agents(plan: Plan) -> list[str]:
    rows = [("agent", "group", "drive", "run_blocks", "on_lag", "rate", "of", "data")]
    for agent in plan.agents:
        rows.append(
            (
                agent.name,
                f"{agent.kind} {agent.group}",
                agent.drive,
                str(agent.run_blocks),
                agent.on_lag,
                _rate(agent.rate),
                _rate(agent.drive_rate),
                f"{agent.data_share:.0%}",
            )
        )
    return _table(rows, right=(3, 5, 6, 7))


def _restoring(plan: Plan) -> list[str]:
    """What it costs, for each agent whose objects lie among one another."""
    return [
        line
        for agent in plan.agents
        if agent.restore_bytes is not None and agent.restore_seconds is not None and len(agent.buffers) > 1
        for line in _wrap(
            f"one of the {len(agent.buffers)} that {agent.name} writes at once: {agent.restore_bytes:.3g} x its bytes, "
            f"{agent.restore_seconds:.3g} x the time of one in one piece, in runs of {agent.run_blocks} blocks",
            "",
        )
    ]


def _starting(plan: Plan) -> list[str]:
    """What drives wait for that need seconds to start again."""
    lines = []
    for agent in plan.agents:
        if not agent.start_bytes_wanted:
            continue
        rate = rough_rate(agent.start_bytes_wanted / agent.run_seconds)
        why = f"{rate} for {agent.run_seconds:g} s, twice as long as a stop takes"
        if agent.start_limit is not None:
            half = {"memory": "half of its slots", "lag_max": "half of its lag_max"}[agent.start_limit]
            why = f"{half}, where {why}, would be {rough_bytes(agent.start_bytes_wanted)}"
        enough = f"once {rough_bytes(agent.start_bytes)} wait" if agent.start_bytes else "with the first block"
        lines += _wrap(f"{agent.name} starts {agent.drive} {enough}: {why}", "")
    return lines


def _spools(plan: Plan) -> list[str]:
    return [
        line
        for spool in plan.spools
        for line in _wrap(
            f"spool of {spool.agent}: up to {rough_bytes(spool.bytes_max)} in {spool.folder}, used when it lags, in "
            f"segments of {rough_bytes(spool.segment_bytes)}",
            "",
        )
    ]


def _memory(plan: Plan) -> list[str]:
    rows = [("item", "count", "", "bytes each", "", "bytes", "")]
    rows += [
        (item.name, f"{item.count:,}", "x", f"{item.each_bytes:,}", "=", f"{item.bytes:,}", rough_size(item.bytes))
        for item in plan.memory
    ]
    rows.append(("sum", "", "", "", "", f"{plan.memory_bytes:,}", rough_size(plan.memory_bytes)))
    return _table(rows, right=(1, 3, 5, 6))


def _threads(plan: Plan) -> list[str]:
    head = f"{plan.processes} process{'es' * (plan.processes > 1)}, {len(plan.threads)} threads beside the main one"
    return [head, *(line for thread in plan.threads for line in _wrap(thread.task, f"{thread.number:4d}  "))]


def _bottleneck(plan: Plan) -> list[str]:
    lines = _wrap(plan.prediction.text, "")
    if plan.prediction.job_rate is not None:
        lines += _wrap(f"all sources together: {rough_rate(plan.prediction.job_rate)}, if they can deliver it", "")
    return lines
