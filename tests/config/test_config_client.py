"""The keys of the client's side: levels, kinds of sources, commands around them, compression, keys and seeking."""

from __future__ import annotations

import random
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tomltext import Tree, Written

from tapeloom import limits
from tapeloom.config import Config, Drive, Group, Source, json_schema, load, missing_paths
from tapeloom.errors import Problem

Loaded = Callable[[str], Config]
Mistakes = Callable[[str], list[Problem]]

DRIVES = '[drives]\nR = "null:"\n'
BACKUP = DRIVES + '[sources]\nD = "d"\n[backup.g.A]\ndrive = "R"\nbuffers = { B = "D" }\n'
VALIDATOR = jsonschema.Draft202012Validator(json_schema())


def source(loaded: Loaded, text: str) -> Source:
    return loaded(f'{DRIVES}[keys]\nK1 = "keys/k1.key"\n[sources.D]\n{text}').sources["D"]


def test_everything_at_once(loaded: Loaded) -> None:
    config = loaded(
        """
[drives]
R = { device = "vtape:R", locate = "1min" }
[keys]
K1 = "keys/k1.key"
K2 = "/etc/k2.key"
[sources.mail]
path = "/snap/mail"
exclude_caches = true
exclude_if_present = [".nobackup", "no backup"]
before = "take a snapshot"
after = ["drop", "it"]
time_limit = "2h"
compress = "zstd:9"
encrypt = "K1"
digest = "blake3"
[backup.nightly]
level = "incremental"
[backup.nightly.A]
drive = "R"
buffers = { B = "mail" }
"""
    )
    folder = config.folder
    assert config.drives == {"R": Drive("R", f"vtape:{folder}/R", locate=60.0)}
    assert config.keys == {"K1": folder / "keys/k1.key", "K2": Path("/etc/k2.key")}
    assert config.groups == {("backup", "nightly"): Group("backup", "nightly", ("A",), level="incremental")}
    assert config.sources["mail"] == Source(
        "mail",
        paths=(Path("/snap/mail"),),
        digest="blake3",
        before="take a snapshot",
        after=("drop", "it"),
        time_limit=7200.0,
        cachedir_tag=True,
        nobackup=(".nobackup", "no backup"),
        compress=9,
        encrypt="K1",
    )


def test_nothing_of_it(loaded: Loaded) -> None:
    config = loaded(BACKUP)
    assert config.keys == {}
    assert config.drives["R"].locate is None
    assert config.groups["backup", "g"].level == "full"
    assert config.sources["D"] == Source("D", paths=(config.folder / "d",))


def test_raw(loaded: Loaded, tmp_path: Path) -> None:
    assert source(loaded, 'raw = "images/a.img"') == Source("D", raw=tmp_path / "images/a.img")
    assert source(loaded, 'raw = "/dev/vg/snap"\nbefore = "x"').raw == Path("/dev/vg/snap")


def test_a_limit_for_a_command_alone(loaded: Loaded) -> None:
    assert source(loaded, 'command = "x"\ntime_limit = 30').time_limit == 30.0


@pytest.mark.parametrize(
    ("said", "level"), [("none", None), ("zstd", limits.ZSTD_LEVEL_DEFAULT), ("zstd:1", 1), ("zstd:19", 19)]
)
def test_compression(loaded: Loaded, said: str, level: int | None) -> None:
    assert source(loaded, f'path = "x"\ncompress = "{said}"').compress == level


def test_a_group_of_another_kind_may_have_an_agent_called_level(loaded: Loaded) -> None:
    config = loaded(
        BACKUP
        + '[mirror.1.level]\ndrive = "R"\nbuffers = { B = "A.B" }\n'.replace('"R"', '"Q"')
        + '[drives.Q]\ndevice = "null:"\n'
    )
    assert config.groups["mirror", "1"] == Group("mirror", "1", ("level",))


def test_missing_paths(loaded: Loaded, tmp_path: Path) -> None:
    """A path that a command may be about to make is not missed."""
    (tmp_path / "there").touch()
    config = loaded(
        DRIVES
        + '[keys]\nK1 = "there"\nK2 = "gone.key"\n[sources]\nA.raw = "there"\nB.raw = "gone.img"\n'
        + 'C = { path = "snap", before = "x" }\n'
    )
    assert [(problem.line, problem.what) for problem in missing_paths(config)] == [
        (8, f'source "B": {tmp_path}/gone.img does not exist'),
        (5, f'key "K2": {tmp_path}/gone.key does not exist'),
    ]


Case = tuple[str, str, str, "str | None"]

SOURCES: list[Case] = [
    ("two", 'raw = "x"\npath = "y"', 'sources.D: the source has "path" and "raw"', "make two sources"),
    ("home", 'raw = "~/x"', 'sources.D.raw: "~/x": ~ is not expanded', "whole path"),
    ("caches", 'raw = "x"\nexclude_caches = true', '"exclude_caches" has no meaning beside "raw"', "path or paths"),
    (
        "markers",
        'command = "x"\nexclude_if_present = ["y"]',
        '"exclude_if_present" has no meaning beside "command"',
        "it goes with path or paths",
    ),
    (
        "marker's path",
        'path = "x"\nexclude_if_present = ["a/b"]',
        'sources.D.exclude_if_present: "a/b" is not the name of a file',
        '[".nobackup"]',
    ),
    ("marker, folder", 'path = "x"\nexclude_if_present = [".."]', '".." is not the name of a file', "without a path"),
    ("marker, string", 'path = "x"\nexclude_if_present = "y"', '"y" is not an array', None),
    (
        "producer's command",
        'producer = true\nbefore = "x"',
        'sources.D: "before" has no meaning beside "producer"',
        "it goes with path, paths, command or raw",
    ),
    ("producer's key", 'producer = true\nencrypt = "K1"', '"encrypt" has no meaning beside "producer"', "path"),
    ("producer's blocks", 'producer = true\ncompress = "zstd"', '"compress" has no meaning beside "producer"', "path"),
    ("empty command", 'path = "x"\nafter = ""', "sources.D.after: the command is empty", None),
    ("no command", 'path = "x"\nbefore = 5', "sources.D.before: 5 is not a command", "a string for the shell"),
    ("idle limit", 'path = "x"\ntime_limit = "1h"', '"time_limit" limits nothing here', '"before" and "after"'),
    ("no time", 'command = "x"\ntime_limit = 0', "sources.D.time_limit: no command ends in no time", '"2h"'),
    ("minutes", 'command = "x"\ntime_limit = "5m"', '"5m" is not a duration: there is no unit "m"', '"5min"'),
    ("method", 'path = "x"\ncompress = "gzip"', 'sources.D.compress: "gzip" is not a compression', '"none", "zstd"'),
    ("level", 'path = "x"\ncompress = "zstd:20"', '"20" is not a level of zstd', "from 1 to 19"),
    ("level, empty", 'path = "x"\ncompress = "zstd:"', '"" is not a level of zstd', "from 1 to 19"),
    ("level, digits", 'path = "x"\ncompress = "zstd:٣"', '"٣" is not a level of zstd', "from 1 to 19"),
    ("number", 'path = "x"\ncompress = 3', "3 is not a compression", '"zstd:1" to "zstd:19"'),
    ("digest", 'path = "x"\ndigest = "blake2"', '"blake2" is not a choice', 'did you mean "blake3"?'),
    ("key", 'path = "x"\nencrypt = "k1"', 'sources.D.encrypt: there is no key "k1" in [keys]', 'did you mean "K1"?'),
    ("keys", 'path = "x"\nencrypt = "zz"', 'there is no key "zz" in [keys]', 'the keys are: "K1"'),
    ("empty key", 'path = "x"\nencrypt = ""', "sources.D.encrypt: this is empty", None),
    ("key's type", 'path = "x"\nencrypt = true', "sources.D.encrypt: true is not a string", None),
    ("near", 'path = "x"\nexclude_cache = true', "not a key of a source", 'did you mean "exclude_caches"?'),
]


@pytest.mark.parametrize(("text", "what", "hint"), [pytest.param(*rest, id=name) for name, *rest in SOURCES])
def test_mistakes_of_a_source(mistakes: Mistakes, text: str, what: str, hint: str | None) -> None:
    before = f'{DRIVES}[keys]\nK1 = "k"\n[sources.D]\n'
    [problem] = mistakes(before + text)
    assert what in problem.what
    assert (problem.hint is None) == (hint is None)
    assert hint is None or hint in (problem.hint or "")
    line = 5 if problem.what.startswith("sources.D:") else (before + text).count("\n") + 1
    assert problem.line == line


ELSEWHERE: list[Case] = [
    ("level", '[backup.g]\nlevel = "incr" #!', 'backup.g.level: "incr" is not a choice', '"full", "incremental"'),
    ("near", '[backup.g]\nlevel = "incrementl" #!', "is not a choice", 'did you mean "incremental"?'),
    ("agent", '[backup.g.level] #!\ndrive = "R"', "backup.g.level: a table is not a choice", '"full", "incremental"'),
    ("agent's", '[backup.g.B]\nlevel = "full" #!', "the level is the whole group's", "it stands in [backup.g]"),
    ("mirror", '[mirror.1]\nlevel = "full" #!', "neither a setting of a group nor the table of an agent", None),
    ("locate", '[drives.Q]\ndevice = "null:"\nlocate = -1 #!', "-1 is not a duration: it is negative", None),
    ("key file", "[keys]\nK1 = 5 #!", "keys.K1: 5 is not a string", 'K1 = "keys/K1.key"'),
    ("key table", '[keys.K1] #!\nfile = "x"', "keys.K1: a table is not a string", "the path of its key file"),
    ("key path", '[keys]\nK1 = "~/k" #!', "~ is not expanded", "whole path"),
    ("key name", '[keys]\n"K/1" = "k" #!', '"K/1" is not a name for a key: it has a slash', None),
    ("keys", "keys = 5 #!", "keys: 5 is not a table", None),
]


@pytest.mark.parametrize(("text", "what", "hint"), [pytest.param(*rest, id=name) for name, *rest in ELSEWHERE])
def test_mistakes_elsewhere(mistakes: Mistakes, text: str, what: str, hint: str | None) -> None:
    text = f"{text}\n{BACKUP}" if text.startswith("keys =") else BACKUP + text
    line = text[: text.index("#!")].count("\n") + 1
    [problem] = [problem for problem in mistakes(text) if problem.line == line and what in problem.what]
    assert hint is None or hint in (problem.hint or "")


def test_encrypted_without_any_key(mistakes: Mistakes) -> None:
    [problem] = mistakes(DRIVES + '[sources]\nD = { path = "x", encrypt = "K1" }\n')
    assert problem.hint == '[keys] names key files: K1 = "keys/K1.key"'


PATHS = st.sampled_from(["a", "/b", "../c", "x/~y"])
COMMANDS = st.sampled_from(["x | y", ["x", ""]])
SOURCE_TREES = st.one_of(
    st.fixed_dictionaries(
        {"path": PATHS},
        optional={"exclude_caches": st.booleans(), "exclude_if_present": st.lists(st.sampled_from([".a", "b c"]))},
    ),
    st.fixed_dictionaries({"raw": PATHS}),
    st.fixed_dictionaries({"command": COMMANDS}),
)
AROUND = st.fixed_dictionaries(
    {},
    optional={
        "before": COMMANDS,
        "after": COMMANDS,
        "compress": st.sampled_from(["none", "zstd", "zstd:7"]),
        "encrypt": st.just("K"),
        "digest": st.sampled_from(["none", "sha256", "blake3"]),
    },
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(tables=st.lists(st.tuples(SOURCE_TREES, AROUND), max_size=4), chance=st.randoms(use_true_random=False))
def test_drawn_sources_come_back(tmp_path: Path, tables: list[tuple[Tree, Tree]], chance: random.Random) -> None:
    sources: Tree = {f"s{number}": {**origin, **around} for number, (origin, around) in enumerate(tables)}
    for table in sources.values():
        if {"command", "before", "after"} & table.keys() and chance.random() < 0.5:
            table["time_limit"] = chance.choice(["90s", 5])
    tree = {"drives": {"R": "null:"}, "keys": {"K": "k"}, "sources": sources}
    written = Written(tree, chance)
    file = tmp_path / "t.toml"
    file.write_bytes(written.text.encode())
    config = load(file)
    assert tomllib.loads(written.text) == tree
    assert list(VALIDATOR.iter_errors(tree)) == []
    assert {name: told(config.sources[name], tmp_path) for name in sources} == {
        name: meant(table) for name, table in sources.items()
    }


def meant(table: Tree) -> Tree:
    levels = {"none": None, "zstd": 3, "zstd:7": 7}
    return {
        "paths": [table["path"]] if "path" in table else [],
        "raw": table.get("raw"),
        "nobackup": table.get("exclude_if_present", []),
        "cachedir_tag": table.get("exclude_caches", False),
        "compress": levels[table.get("compress", "none")],
        "digest": table.get("digest", "none"),
        "time_limit": {"90s": 90.0, 5: 5.0}.get(table.get("time_limit", "")),
        **{key: table.get(key) for key in ("command", "before", "after", "encrypt")},
    }


def told(found: Source, folder: Path) -> Tree:
    def plain(value: Any) -> Any:
        return list(value) if isinstance(value, tuple) else value

    def shown(path: Path) -> str:
        text = str(path)
        return text.removeprefix(f"{folder}/")

    return {
        "paths": [shown(path) for path in found.paths],
        "raw": None if found.raw is None else shown(found.raw),
        **{
            key: plain(getattr(found, key))
            for key in (
                *("nobackup", "cachedir_tag", "compress", "digest", "time_limit"),
                *("command", "before", "after", "encrypt"),
            )
        },
    }


@pytest.mark.parametrize(
    "text",
    [
        'D = { path = "x", compress = "zstd:20" }',
        'D = { path = "x", compress = 3 }',
        'D = { path = "x", digest = "md5" }',
        'D = { path = "x", exclude_if_present = ["a/b"] }',
        'D = { path = "x", exclude_if_present = [".."] }',
        'D = { path = "x", before = [] }',
        'D = { path = "x", encrypt = "" }',
        'D = { raw = "~/x" }',
        'D = { command = "x", time_limit = "5m" }',
        "[keys]\nK = 1",
        '[keys]\n"a/b" = "k"',
        "[backup.g]\nlevel = 1",
        '[drives.Q]\ndevice = "null:"\nlocate = "x"',
    ],
)
def test_editors_refuse_it_too(mistakes: Mistakes, text: str) -> None:
    text = f"[drives.R]\ndevice = 'null:'\n[sources]\n{text}\n"
    assert mistakes(text)
    assert list(VALIDATOR.iter_errors(tomllib.loads(text)))


@pytest.mark.parametrize("figure", ["fig2.toml", "fig5.toml"])
def test_figures_need_none_of_it(figure: str) -> None:
    config = load(Path(__file__).parent / figure)
    assert config.keys == {}
    assert {group.level for group in config.groups.values()} == {"full"}
