"""`verify --against-source`: an object on tape beside the files of its source, as they are now."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tapeloom.cli.attending import waiting_told
from tapeloom.cli.blockbar import bar
from tapeloom.cli.screen import BOUND, counted, local_time, put, put_json, put_section, short_id, size
from tapeloom.volume.header import Level

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tapeloom.agent.report import Trouble
    from tapeloom.ops.against import AgainstResult


def compare(
    file: Path, name: str | None, volume: str | None, copy: str | None, no_wait: bool, json_wanted: bool
) -> int:
    """What the verb does with the option."""
    from tapeloom import kept
    from tapeloom.errors import UsageError
    from tapeloom.ops.against import verify_against_source

    if name is None:
        raise UsageError("--against-source compares one object: name it, or a source for its newest one")
    with bar() as progress:
        result = verify_against_source(
            kept.config(file),
            name,
            volume=volume,
            copy=copy,
            on_progress=progress,
            waiting=waiting_told(no_wait),
        )
    if json_wanted:
        put_json(_as_json(result))
    else:
        _put(result)
    return result.exit_status


def _put(result: AgainstResult) -> None:
    item, report = result.object, result.report
    since = local_time(item.as_of)
    _put_found(f"Changed since {since}", report.changed, report.changed_beyond)
    _put_found("Not compared", report.unread, report.unread_beyond)
    _put_found("Differ, though nothing has touched them since", report.silent, report.silent_beyond)
    put_section("Damaged", [str(fault) for fault in result.faults], more="--json lists them")
    silent = len(report.silent) + report.silent_beyond
    changed = len(report.changed) + report.changed_beyond
    unread = len(report.unread) + report.unread_beyond
    if silent or changed or unread or result.faults:
        put()
    differ = f"{counted(changed, 'change')} since, {counted(silent, 'difference')} that nothing explains"
    verdict = "everything is the same" if report.same else differ + (f", {unread:,} not compared" if unread else "")
    what = f"{counted(report.entries, 'entry', 'entries')} and {size(report.bytes)} of content"
    put(f"{short_id(item.id)} of {item.source}, {since}: {what} compared: {verdict}.")
    if item.level is not Level.FULL:
        level = item.level.name.lower()
        put(f"This object is {level}: what it does not hold itself was not compared, nor what was made since.")


def _put_found(title: str, found: Sequence[Trouble], beyond: int) -> None:
    """At most BOUND lines; what is beyond these is counted, and so is what was only counted."""
    lines = [str(one) for one in found]
    count = len(lines) + beyond
    if count > BOUND:
        lines = [*lines[: BOUND - 1], f"and {count - BOUND + 1:,} more: --json names {len(found):,} of them"]
    put_section(title, lines)


def _as_json(result: AgainstResult) -> dict[str, Any]:
    item, report = result.object, result.report
    return {
        "object": str(item.id),
        "source": item.source,
        "as_of": item.as_json()["as_of"],
        "level": item.level.name.lower(),
        "paths": [str(path) for path in result.paths],
        "entries": report.entries,
        "bytes": report.bytes,
        "same": report.same,
        "changed": _listed(report.changed, report.changed_beyond),
        "silent": _listed(report.silent, report.silent_beyond),
        "unread": _listed(report.unread, report.unread_beyond),
        "faults": [str(fault) for fault in result.faults],
    }


def _listed(found: Sequence[Trouble], beyond: int) -> dict[str, Any]:
    from tapeloom.quoting import in_json

    return {
        "count": len(found) + beyond,
        "named": [{**in_json("path", one.path), "what": one.what} for one in found],
    }
