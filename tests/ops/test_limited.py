"""The sentence on each drive at a job's end."""

from __future__ import annotations

from pathlib import Path

import pytest

from tapeloom.compile import compile_job
from tapeloom.config import load
from tapeloom.ops.limited import fed
from tapeloom.runtime.pace import Pace
from tapeloom.schedule import Schedule

TEXT = """
[drives]
R1 = "memory:"
R2 = "memory:"
R5 = "memory:"
[sources]
D1 = "unused"
[backup.nightly.A]
drive = "R1"
buffers = { B = "D1" }
[mirror.near.M]
drive = "R5"
buffers = { B = "A.B" }
[mirror.far.N]
drive = "R2"
buffers = { B = "A.B" }
"""
A, M, N = range(3)


@pytest.fixture(scope="module")
def schedule(tmp_path_factory: pytest.TempPathFactory) -> Schedule:
    file: Path = tmp_path_factory.mktemp("limited") / "tapeloom.toml"
    file.write_text(TEXT)
    return compile_job(load(file))


def pace(
    drive: float = 0.0,
    sources: dict[str, float] | None = None,
    agents: dict[int, float] | None = None,
    *,
    dry: int = 0,
    seconds: float = 100.0,
    asleep: float | None = None,
) -> Pace:
    waited = sum((sources or {}).values()) + sum((agents or {}).values()) if asleep is None else asleep
    return Pace(20_000_000_000, seconds, drive, waited, dry, sources or {}, agents or {})


SENTENCES = [
    (
        A,
        pace(30, {"source D2": 38}, dry=12),
        "R1 wrote at 200 MB/s, ran dry 12 times, and was limited by source D2, 38 %",
    ),
    (A, pace(97, {"source D2": 2}), "R1 wrote at 200 MB/s and was the limit itself 97 %"),
    (A, pace(20, {"source D2": 5}, {M: 60}, dry=1), "ran dry once, and was limited by drive R5, its mirror, 60 %"),
    (M, pace(20, agents={A: 60}), "R5 wrote at 200 MB/s and was limited by drive R1, which it mirrors, 60 %"),
    (M, pace(20, agents={N: 60}), "limited by drive R2, another mirror, 60 %"),
    (A, pace(33, {"source D1": 20, "source D2": 15}), "limited by sources D1 and D2, 35 %"),
    (A, pace(33, {"source D1": 30, "source D2": 5}), "limited by source D1, 30 %"),
    (A, pace(30, {f"source D{n}": 10 for n in range(5)}), "limited by its 5 sources, 50 %"),
    (A, pace(30, {"drive R8": 40}), "limited by drive R8, 40 %"),
    (A, pace(30), "limited by this machine, 70 %"),
    (A, pace(10, asleep=80), "limited by what fed it, 80 %"),
]


@pytest.mark.parametrize(("agent", "seen", "said"), SENTENCES, ids=[said for _, _, said in SENTENCES])
def test_one_sentence_says_what_the_limit_was(schedule: Schedule, agent: int, seen: Pace, said: str) -> None:
    told = str(fed(schedule, agent, seen))
    assert told.endswith(f"{said} of the time")


def test_of_a_tiny_job_nothing_is_said(schedule: Schedule) -> None:
    assert fed(schedule, A, pace(1, seconds=2.9)) is None
    assert fed(schedule, A, Pace(0, 100.0, 0.0, 100.0, 0)) is None


def test_all_shares_are_in_the_report(schedule: Schedule) -> None:
    told = fed(schedule, A, pace(30, {"source D2": 38, "source D1": 0.001}, {M: 10}, dry=12))
    assert told is not None
    assert told.as_json() == {
        "rate": 200_000_000,
        "rate_writing": round(20e9 / (100 - 48.001)),
        "shares": {"itself": 0.3, "source D2": 0.38, "drive R5, its mirror": 0.1, "this machine": 0.22},
        "limited_by": "source D2",
    }
