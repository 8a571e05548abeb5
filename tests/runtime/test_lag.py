"""Who is to blame for time that was lost: the watch over made-up figures of the arena."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from runtime_world import schedule_of, text

from tapeloom.runtime.lag import LagWatch

LAG = 'on_lag = "detach"\nlag_max = "10s"'


@dataclass(frozen=True)
class Stream:
    head: int
    waiting_since_ns: int = 1


@dataclass(frozen=True)
class Cursor:
    claimed: int
    released: int
    detached: bool = False


@dataclass
class Figures:
    """What the watch asks an arena: one stream, a cursor for A, M1 and M2 each."""

    stream: Stream
    cursors: list[Cursor]
    gone: dict[int, str] = field(default_factory=dict)

    def stream_statistics(self, row: int) -> Stream:
        return self.stream

    def cursor_statistics(self, row: int) -> Cursor:
        return self.cursors[row]

    def watch(self, settings: str = LAG) -> LagWatch:
        plan = text(2, slots=64, mirror=settings).replace("[drives]", 'spool_max = "64MiB"\n[drives]')
        return LagWatch(schedule_of(plan), self, self.gone.__setitem__)  # type: ignore[arg-type]


def test_the_last_one_is_blamed_and_nobody_else() -> None:
    figures = Figures(Stream(100), [Cursor(100, 100), Cursor(95, 95), Cursor(90, 90)])
    watch = figures.watch()
    for _ in range(10):
        watch.tick(1.0)
    assert not figures.gone
    watch.tick(1.0)
    assert figures.gone == {2: "it held the others up for 11.0 s (lag_max 10 s)"}
    for _ in range(20):
        watch.tick(1.0)
    assert list(figures.gone) == [2], "said once"


@pytest.mark.parametrize(
    ("why", "figures"),
    [
        ("nobody waits", Figures(Stream(100, 0), [Cursor(100, 100), Cursor(90, 90), Cursor(90, 90)])),
        ("the foremost has not begun all", Figures(Stream(100), [Cursor(99, 99), Cursor(90, 90), Cursor(90, 90)])),
        ("the foremost still writes", Figures(Stream(100), [Cursor(100, 95), Cursor(90, 90), Cursor(90, 90)])),
        ("all are level", Figures(Stream(100), [Cursor(100, 100), Cursor(100, 100), Cursor(100, 100)])),
        ("the original is last", Figures(Stream(100), [Cursor(80, 80), Cursor(100, 100), Cursor(100, 100)])),
        ("alone", Figures(Stream(9), [Cursor(9, 9, True), Cursor(5, 5), Cursor(2, 2, True)])),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_nobody_is_blamed(why: str, figures: Figures) -> None:
    watch = figures.watch()
    for _ in range(100):
        watch.tick(1.0)
    assert not figures.gone, why


def test_bytes_behind_are_enough() -> None:
    figures = Figures(Stream(100, 0), [Cursor(60, 60), Cursor(41, 41), Cursor(40, 40)])
    watch = figures.watch('on_lag = "detach"\nlag_max = { bytes = "304KiB", time = "1h" }')
    watch.tick(0.1)
    assert list(figures.gone) == [2]


def test_who_waits_is_never_detached() -> None:
    figures = Figures(Stream(100), [Cursor(100, 100), Cursor(90, 90), Cursor(90, 90)])
    watch = figures.watch('on_lag = "wait"\nlag_max = "1s"')
    for _ in range(100):
        watch.tick(10.0)
    assert not figures.gone


COPY = """
[server]
memory = "64MiB"
[drives]
R1 = "null:"
R2 = "null:"
R3 = "null:"
[restore.vault.R]
drive = "R1"
buffers = { A = "D1", B = "D2" }
[copy.1.C]
drive = "R2"
buffers = { A = "R.A", B = "R.B" }
[copy.2.S]
drive = "R3"
lag_max = "10s"
buffers = { A = "C.A" }
"""


@pytest.mark.parametrize(("dry", "blamed"), [(True, [2]), (False, [])])
def test_a_chain_that_a_drive_feeds_starves_when_its_pool_is_dry(dry: bool, blamed: list[int]) -> None:
    class Copying(Figures):
        def stream_statistics(self, row: int) -> Stream:
            return {0: Stream(100, 0), 1: Stream(50, 0), 2: Stream(0, int(dry))}[row]

    figures = Copying(Stream(0), [Cursor(100, 100), Cursor(50, 50), Cursor(40, 40)])
    watch = LagWatch(schedule_of(COPY), figures, figures.gone.__setitem__)  # type: ignore[arg-type]
    for _ in range(11):
        watch.tick(1.0)
    assert list(figures.gone) == blamed


def at_the_end(writing: dict[int, int], whole: set[int], *, moves: bool = False, settings: str = LAG) -> dict[int, str]:
    """Who is given up within 12 s, of A (0), M1 (1), M2 (2)."""
    figures = Figures(Stream(100), [Cursor(100, 100)] * 3)
    watch = figures.watch(settings)
    for second in range(12):
        watch.at_the_end(1.0, {row: since and since + second * moves for row, since in writing.items()}, whole)
    return figures.gone


def test_when_all_else_is_written_who_stands_still_holds_up_the_end() -> None:
    assert at_the_end({2: 7}, {0, 1}) == {2: "it held up the end of the job for 11.0 s (lag_max 10 s)"}
    assert list(at_the_end({1: 7, 2: 8}, {0})) == [1, 2], "two of them"
    assert list(at_the_end({1: 0, 2: 8}, {0})) == [2], "the other waits for nothing but its turn"


def test_who_else_is_let_finish() -> None:
    assert not at_the_end({2: 7}, {0, 1}, moves=True), "it is slow, and comes on"
    assert not at_the_end({2: 0}, {0, 1}), "it is not with its drive"
    assert not at_the_end({2: 7}, set()), "nobody else has the objects"
    assert not at_the_end({0: 5, 2: 7}, set()), "the original still writes"
    assert not at_the_end({0: 5}, {1, 2}), "an original waits"
    assert not at_the_end({2: 7}, {0, 1}, settings='on_lag = "wait"')
    assert not at_the_end({2: 7}, {0, 1}, settings='on_lag = "spool"\nlag_max = "10s"'), "its spool has it all"


def test_a_chain_that_still_runs_elsewhere_is_more_to_wait_for() -> None:
    """S takes A alone; C takes B, too, and R1 is still reading it."""
    figures = Figures(Stream(100), [Cursor(100, 100)] * 3)
    watch = LagWatch(schedule_of(COPY), figures, figures.gone.__setitem__)  # type: ignore[arg-type]
    for _ in range(12):
        watch.at_the_end(1.0, {1: 5, 2: 7}, set())
    assert not figures.gone
    for _ in range(11):
        watch.at_the_end(1.0, {2: 7}, {1})
    assert list(figures.gone) == [2]
