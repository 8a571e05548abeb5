"""`restore --dry-run`: the chain, the volumes, what is to be read; and that this is what happens."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path

import pytest
from chain_world import Chains, read, week
from hypothesis import given
from hypothesis import strategies as st
from ops_world import World

from tapeloom.cli.main import main
from tapeloom.cli.moments import to_ns
from tapeloom.ops.planning import spans_of
from tapeloom.ops.preparing import Request
from tapeloom.ops.restore import plan_restore


@pytest.fixture
def made(world: World) -> Chains:
    world.chain(sources=["D1"], given={"D1": "{ producer = true }"})
    made = Chains(world)
    for tree in list(week())[:3]:
        made.add(tree)
    return made


def run(made: Chains, *words: str) -> int:
    return main(["-c", str(made.world.file), *words])


def test_what_is_shown_is_what_would_be_read(made: Chains, capfd: pytest.CaptureFixture[str]) -> None:
    for path in (made.world.folder / "tapes").iterdir():
        path.rename(path.with_name(f"{path.name}-away"))
    assert run(made, "restore", "D1", "--dry-run", "--json") == 0
    shown = json.loads(capfd.readouterr().out)
    plan = plan_restore(made.world.config, Request("D1"))
    assert shown == json.loads(json.dumps(plan.as_json()))
    assert [row["id"] for row in shown["chain"]] == [str(item.id) for item in made.items]
    assert [row["level"] for row in shown["chain"]] == ["full", "incremental", "incremental"]
    assert [row["label"] for row in shown["volumes"]] == ["R1-0001"]
    assert shown["blocks"] == sum(row["blocks"] for row in shown["chain"])
    assert shown["bytes"] == sum(row["bytes"] for row in shown["chain"])
    assert shown["seeks"] == sum(row["seeks"] for row in shown["volumes"])
    assert 0 < shown["seconds"] < 1


def test_for_people(made: Chains, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(made, "restore", "D1", "kind", "--dry-run", "--copy", "M1") == 0
    out = capfd.readouterr().out
    assert "incremental" in out
    assert "R2-0001" in out
    assert "1 block with 12 KiB from 1 volume, 1 seek: about 0.0 s. Nothing was read." in out
    for n in range(3):
        made.index(n).unlink()
    assert run(made, "restore", "D1", "--dry-run") == 0
    assert "they are applied whole, one after another" in capfd.readouterr().out


def test_a_restore_on_the_command_line(made: Chains, capfd: pytest.CaptureFixture[str]) -> None:
    out = made.world.folder / "out"
    assert run(made, "restore", "D1", "a/7", "b/*", "--to", str(out)) == 0
    assert sorted(read(out)) == sorted({"a": 0, "a/7": 0, "b": 0} | {p: 0 for p in made.trees[2] if p.startswith("b/")})
    at = datetime.fromtimestamp(made.items[0].as_of / 1e9).astimezone()
    assert run(made, "restore", "D1", "--at", at.strftime("%Y-%m-%dT%H:%M:%S.%f%z"), "--to", f"{out}-at") in (0, 2)
    capfd.readouterr()
    assert run(made, "restore", str(made.items[0].id), "--to", f"{out}-first") == 0
    assert read(Path(f"{out}-first")) == dict(made.trees[0])
    assert run(made, "restore", "D1", "--to", f"{out}-first", "--in-place", "--existing", "replace", "--delete") == 0
    assert read(Path(f"{out}-first")) == dict(made.trees[2])
    assert "entries removed" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "--to DIR has to say where to"),
        (("--to", "out", "--json"), "--json goes with --dry-run"),
        (("--to", "out", "--delete"), "--delete goes with --in-place"),
        (("--to", "out", "--at", "yesterday"), "'yesterday' is no time"),
        (("--to", "out", "--at", "2026-02-30"), "'2026-02-30' is no time"),
        (("--to", "out", "--at", "2001-01-01"), "no object of 2001-01-01 23:59:59"),
        (("a", "--to", "out", "--delete", "--in-place"), "--delete goes with a whole state"),
    ],
)
def test_wrong_use(made: Chains, words: tuple[str, ...], said: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(made, "restore", "D1", *words) == 2
    assert said in " ".join(capfd.readouterr().err.split())
    assert not (made.world.folder / "out").exists()


ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(st.datetimes(datetime(1970, 1, 3), datetime(2200, 1, 1), timezones=ZONES))
def test_a_time_means_the_end_of_the_unit_that_it_names(moment: datetime) -> None:
    exact = round(moment.replace(microsecond=0).timestamp()) * 10**9
    assert to_ns(moment.isoformat(timespec="microseconds")) == exact + moment.microsecond * 1000
    assert to_ns(moment.isoformat(" ", "seconds")) == exact + 10**9 - 1
    minute = exact - moment.second * 10**9
    assert to_ns(moment.isoformat(timespec="minutes")) == minute + 60 * 10**9 - 1


@pytest.mark.parametrize(
    "text", ["", "now", "2026", "2026-11", "2026-11-20T3", "2026-11-20 03:00.5", "2026-13-01", "1e9"]
)
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match=r"no time|out of range|must be|day is|month"):
        to_ns(text)


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(1, 50))), st.integers(1, 40))
def test_spans_are_the_blocks_of_the_parts_and_no_others(gaps: list[tuple[int, int]], step: int) -> None:
    parts, at = [], 0
    for gap, length in gaps:
        parts.append((at + gap, at + gap + length))
        at += gap + length
    spans = spans_of(parts, step)
    assert {seq for first, last in spans for seq in range(first, last + 1)} == {
        byte // step for begin, end in parts for byte in range(begin, end)
    }
    assert all(last + 1 < first for (_, last), (first, _) in pairwise(spans))
