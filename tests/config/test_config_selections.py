"""What the buffers of restore media agents may be assigned to."""

from __future__ import annotations

import tomllib
from collections.abc import Callable

import jsonschema
import pytest

from tapeloom.config import Config, Selection, json_schema
from tapeloom.errors import Problem
from tapeloom.moment import first_ns, last_ns

Loaded = Callable[[str], Config]
Mistakes = Callable[[str], list[Problem]]

VALIDATOR = jsonschema.Draft202012Validator(json_schema())
ID = "0190163d-8694-739b-aea5-966c26f8ad91"


def file(selected: str) -> str:
    """A restore agent with one buffer, in line 9, and an agent that copies it."""
    drives = '[drives]\nR1 = "null:"\nR2 = "null:"\n'
    copy = '[copy.1.C]\ndrive = "R2"\nbuffers = { B = "R.B1" }\n'
    return f'{drives}{copy}[restore.v.R]\ndrive = "R1"\nbuffers.B1 = {selected}\n'


@pytest.mark.parametrize(
    ("selected", "words", "meant"),
    [
        ('"D4"', ("D4",), Selection(names=("D4",))),
        (f'["D4", "{ID}"]', ("D4", ID), Selection(names=("D4", ID))),
        (
            '{ source = "D4", level = "full" }',
            ("D4 level=full",),
            Selection(sources=("D4",), level="full"),
        ),
        (
            '{ source = ["D4", "D5"], single = true }',
            ("D4,D5 single",),
            Selection(sources=("D4", "D5"), single=True),
        ),
        (
            '{ job = "0190", copies_below = 2, volume = "R2-0001" }',
            ("job=0190 copies_below=2 volume=R2-0001",),
            Selection(job="0190", copies_below=2, volume="R2-0001"),
        ),
        (
            '{ since = "2026-01-01Z", until = "2026-01-31 03:00+01:00" }',
            ("since=2026-01-01Z until=2026-01-31 03:00+01:00",),
            Selection(since_ns=1_767_225_600 * 10**9, until_ns=(1_769_824_800 + 60) * 10**9 - 1),
        ),
    ],
)
def test_selections(loaded: Loaded, selected: str, words: tuple[str, ...], meant: Selection) -> None:
    text = file(selected)
    agent = loaded(text).agents["R"]
    assert agent.buffers == {"B1": words}
    assert agent.selections == {"B1": meant}
    VALIDATOR.validate(tomllib.loads(text))


def test_times_of_toml_itself_will_do(loaded: Loaded) -> None:
    agent = loaded(file("{ since = 2026-01-01, until = 2026-01-31T03:00:00Z }")).agents["R"]
    assert agent.selections["B1"].since_ns == first_ns("2026-01-01")
    assert agent.selections["B1"].until_ns == last_ns("2026-01-31T03:00:00Z")
    assert agent.buffers["B1"] == ("since=2026-01-01 until=2026-01-31T03:00:00+00:00",)


def test_a_selection_may_be_a_table_of_its_own(loaded: Loaded) -> None:
    config = loaded(file('"D1"') + '[restore.v.R.buffers.B2]\nsource = "D2"\n')
    assert config.agents["R"].selections == {"B1": Selection(names=("D1",)), "B2": Selection(sources=("D2",))}
    assert config.where("restore", "v", "R", "buffers", "B2", "source") == 11


def test_only_restore_agents_have_selections(loaded: Loaded) -> None:
    assert loaded(file('"D1"')).agents["C"].selections == {}


@pytest.mark.parametrize(
    ("selected", "what", "hint"),
    [
        ("{}", "buffers.B1: this selects nothing", "for example"),
        ("{ single = true }", "buffers.B1: this selects nothing", "for example"),
        ('{ source = "D4", levle = "full" }', "B1.levle: this is not a key of a selection", '"level"?'),
        ("{ colour = 1 }", "B1.colour: this is not a key of a selection", '"copies_below", "volume", "single"'),
        ('{ level = "ful" }', 'B1.level: "ful" is not a choice', 'did you mean "full"?'),
        ('{ since = "yesterday" }', 'B1.since: "yesterday" is not a time', "2026-11-20 03:00"),
        ('{ until = "2026-13-01" }', 'B1.until: "2026-13-01" is not a time', "for example"),
        ('{ until = "9999-12-31" }', 'B1.until: "9999-12-31" is not a time', "for example"),
        ("{ since = 5 }", "B1.since: 5 is not a time", "for example"),
        ("{ since = 03:00:00 }", "B1.since: 03:00:00 is not a time", "for example"),
        ('{ since = "2026-02-02", until = "2026-02-01" }', "buffers.B1: it begins after its end", "`since`"),
        ("{ copies_below = 1 }", "B1.copies_below: 1 is too small", "at least 2"),
        ("{ copies_below = true }", "B1.copies_below: true is not a whole number", None),
        ('{ source = "D4", single = 1 }', "B1.single: 1 is not true or false", None),
        ("{ source = [] }", "B1.source: this is empty", "the name of a source"),
        ("{ source = 5 }", "B1.source: 5 is not", "the name of a source"),
        ('{ job = "" }', "B1.job: this is empty", None),
        (
            '["D4", { source = "D5" }]',
            "B1[1]: a buffer takes names or one selection, not a selection in an array",
            'source = ["D4", "D5"]',
        ),
        ('{ names = ["D4"], source = "D5" }', "B1.names: this is not a key of a selection", None),
        ("[]", "buffers.B1: this is empty", "an object feeds it"),
        ("5", "buffers.B1: 5 is not an array", "an object feeds it"),
    ],
)
def test_mistakes(mistakes: Mistakes, selected: str, what: str, hint: str | None) -> None:
    (problem,) = mistakes(file(selected))
    assert problem.line == 9
    assert problem.what.startswith("restore.v.R.buffers.B1")
    assert what in problem.what
    assert hint is None or hint in (problem.hint or "")
    assert str(problem).isprintable()


@pytest.mark.parametrize(
    "selected",
    [
        "{}",
        "{ single = true }",
        "{ colour = 1 }",
        '{ level = "ful" }',
        '{ since = "yesterday" }',
        "{ copies_below = 1 }",
        "{ source = [] }",
        '["D4", { source = "D5" }]',
        "5",
    ],
)
def test_an_editor_sees_them_too(selected: str) -> None:
    assert list(VALIDATOR.iter_errors(tomllib.loads(file(selected))))


def test_a_backup_agent_takes_no_selection(mistakes: Mistakes) -> None:
    text = '[drives]\nR = "null:"\n[sources]\nD = "d"\n[backup.b.A]\ndrive = "R"\nbuffers.B = { source = "D" }\n'
    (problem,) = mistakes(text)
    assert problem.what == "backup.b.A.buffers.B: a table is not an array"
    assert problem.line == 7
