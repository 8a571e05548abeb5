from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tapeloom.config import Agent, Config, Drive, Group, Server, Source, load, missing_paths
from tapeloom.errors import ConfigError

HERE = Path(__file__).parent
DRIVE = '[drives]\nR1 = "null:"\n'

Loaded = Callable[[str], Config]


def test_figure_2() -> None:
    config = load(HERE / "fig2.toml")
    assert config.server == Server(HERE / "state", 512 * 1024, 256 * 1024**2, HERE / "state" / "spool", 100 * 10**9)
    assert config.drives["R5"] == Drive("R5", f"vtape:{HERE}/tapes/R5")
    assert list(config.drives) == ["R1", "R2", "R3", "R5", "R6", "R8"]
    assert config.sources["D3"] == Source("D3", paths=(HERE / "data/D3",))
    assert list(config.agents) == ["BMA124", "BMA126", "BMA138", "BMA140", "BMA144", "BMA146"]
    assert config.agents["BMA124"] == Agent(
        name="BMA124",
        kind="backup",
        group="nightly",
        drive="R1",
        buffers={"B1": ("D3",), "B2": ("D2",), "B3": ("D1",)},
        run_blocks=16,
        on_lag="wait",
        lag_bytes=0,
        lag_seconds=60.0,
        checkpoint_bytes=64 * 10**9,
        checkpoint_seconds=900.0,
    )
    assert config.agents["BMA138"].buffers == {"B2": ("BMA124.B2",), "B3": ("BMA124.B3",)}
    assert config.agents["BMA138"].on_lag == "detach"
    assert config.groups == {
        ("backup", "nightly"): Group("backup", "nightly", ("BMA124", "BMA126")),
        ("mirror", "1"): Group("mirror", "1", ("BMA138", "BMA140")),
        ("mirror", "2"): Group("mirror", "2", ("BMA144", "BMA146")),
    }


def test_figure_5() -> None:
    config = load(HERE / "fig5.toml")
    assert config.sources == {}
    assert config.agents["RMA150"].buffers == {"B1": ("D4",), "B2": ("D5",)}
    assert {name: agent.on_lag for name, agent in config.agents.items()} == {
        "RMA150": "wait",
        "RMA152": "wait",
        "BMA158": "wait",
        "BMA160": "wait",
        "BMA164": "detach",  # fed by copies only
        "BMA166": "wait",
    }
    assert list(config.groups) == [("restore", "vault"), ("copy", "1"), ("copy", "2")]


def test_lines_of_keys() -> None:
    config = load(HERE / "fig2.toml")
    assert config.where("backup", "nightly", "BMA124", "buffers", "B1") == 26
    assert (
        config.where("backup", "nightly", "BMA124", "checkpoint", "bytes") == 24
    )  # not there: the table it would be in
    assert config.where("restore") is None
    assert config.where() is None
    problem = config.problem("too slow", "drives", "R3", hint="take R4")
    assert str(problem) == f"{HERE / 'fig2.toml'}:12: too slow (take R4)"


def test_any_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "t.toml").write_text(
        '[server]\nstate = "../s"\n[drives]\nR = "vtape:./t"\n[sources]\nD = "/d"\nE = "e"\n'
    )
    monkeypatch.chdir(tmp_path)
    first = load("a/t.toml")
    monkeypatch.chdir("/")
    assert load(tmp_path / "a" / "t.toml") == Config(
        **{
            key: getattr(first, key)
            for key in ("file", "folder", "server", "drives", "sources", "agents", "groups", "lines")
        },
        shown=str(tmp_path / "a" / "t.toml"),
    )
    assert first.file == tmp_path / "a" / "t.toml"
    assert first.server.state == tmp_path / "a" / ".." / "s"  # as written: "a" could be a link
    assert first.drives["R"].device == f"vtape:{tmp_path}/a/t"
    assert first.sources["D"].paths == (Path("/d"),)
    assert first.sources["E"].paths == (tmp_path / "a" / "e",)


def test_long_forms(loaded: Loaded) -> None:
    config = loaded(
        """
        [server]
        block = 262144
        memory = "1 GiB"
        [drives.R1]
        device = "/dev/nst0"
        capacity = "18TB"
        rate = "400MB/s"
        [drives]
        R2 = "null:"
        R3 = "memory:?fail_write=7"
        R4 = "vtape:t?fail_write=7"
        [sources.D1]
        paths = ["a", "/b"]
        exclude = ["*.tmp", "/cache/"]
        one_file_system = true
        digest = "sha256"
        [sources.D2]
        command = "pg_dump x | gzip"
        [sources.D3]
        command = ["pg_dump", "x"]
        [sources."D4.example.com"]
        producer = true
        [sources.D5]
        path = "$HOME/${x}"
        [backup.weekly.A]
        drive = "R1"
        buffers = { B1 = ["D1", "D2"], B2 = "D3" }
        """
    )
    assert config.server.block == 262144
    assert config.server.memory == 1024**3
    assert config.drives["R1"] == Drive("R1", "/dev/nst0", 18 * 10**12, 4e8)
    assert config.drives["R2"].device == "null:"
    assert config.drives["R3"].device == "memory:?fail_write=7"
    assert config.drives["R4"].device == f"vtape:{config.folder}/t?fail_write=7"
    folder = config.folder
    assert config.sources == {
        "D1": Source("D1", (folder / "a", Path("/b")), ("*.tmp", "/cache/"), digest="sha256", one_file_system=True),
        "D2": Source("D2", command="pg_dump x | gzip"),
        "D3": Source("D3", command=("pg_dump", "x")),
        "D4.example.com": Source("D4.example.com", producer=True),
        "D5": Source("D5", (folder / "$HOME/${x}",)),  # nothing is expanded
    }
    assert config.agents["A"].buffers == {"B1": ("D1", "D2"), "B2": ("D3",)}


def test_settings_of_groups_and_agents(loaded: Loaded) -> None:
    config = loaded(
        DRIVE
        + """
        R2 = "null:"
        R3 = "null:"
        [sources]
        D1 = "d"
        D2 = "d"
        [backup.n]
        run_blocks = 32
        checkpoint = "10GB"
        lag_max = { bytes = "1GB", time = "5min" }
        [backup.n.A]
        drive = "R1"
        buffers.B1 = "D1"
        [backup.n.B]
        drive = "R2"
        buffers.B1 = "D2"
        run_blocks = 1
        checkpoint = "30s"
        lag_max.time = 7
        [mirror.m.C]
        drive = "R3"
        buffers.B1 = ["A.B1"]
        on_lag = "spool"
        """
    )

    def settings(name: str) -> tuple[object, ...]:
        agent = config.agents[name]
        return (
            agent.run_blocks,
            agent.on_lag,
            agent.lag_bytes,
            agent.lag_seconds,
            agent.checkpoint_bytes,
            agent.checkpoint_seconds,
        )

    assert settings("A") == (32, "wait", 10**9, 300.0, 10**10, 900.0)
    assert settings("B") == (1, "wait", 10**9, 7.0, 10**10, 30.0)  # part by part
    assert settings("C") == (16, "spool", 0, 60.0, 64 * 10**9, 900.0)


def test_order_is_that_of_the_file(loaded: Loaded) -> None:
    config = loaded(
        DRIVE
        + """
        R2 = "null:"
        R3 = "null:"
        sources.D1 = "d"
        [mirror.1.Z]
        drive = "R2"
        buffers = { B9 = "A.B1" }
        [backup.n.A]
        drive = "R1"
        buffers = { B1 = "D1" }
        [mirror.1.Y]
        drive = "R3"
        buffers = { B1 = "Z.B9" }
        """.replace("sources.D1", "[sources]\nD1")
    )
    assert list(config.agents) == ["Z", "A", "Y"]
    assert list(config.groups) == [("mirror", "1"), ("backup", "n")]
    assert config.groups["mirror", "1"].agents == ("Z", "Y")


def test_what_is_not_said_has_defaults(loaded: Loaded) -> None:
    config = loaded(DRIVE)
    state = config.folder / "state"
    assert config.server == Server(state, 512 * 1024, 128 * 1024**2, state / "spool", 100 * 10**9)
    assert config.sources == config.agents == config.groups == {}


def test_the_spool_is_where_the_file_says_or_in_the_state_folder(loaded: Loaded) -> None:
    assert loaded('[server]\nstate = "here"\n' + DRIVE).server.spool.parts[-2:] == ("here", "spool")
    server = loaded('[server]\nspool = "fast"\nspool_max = "64MiB"\n' + DRIVE).server
    assert (server.spool.name, server.spool.is_absolute(), server.spool_max) == ("fast", True, 64 << 20)


def test_what_is_no_mistake(loaded: Loaded) -> None:
    """Two groups that are two jobs may share drives, sources and mirrors; drives and sources may be unused."""
    config = loaded(
        DRIVE
        + """
        R2 = "null:"
        unused = "memory:"
        [sources]
        D1 = "d"
        idle = "d"
        [backup.nightly.A]
        drive = "R1"
        buffers = { B1 = "D1" }
        [backup.weekly.B]
        drive = "R1"
        buffers = { B1 = "D1" }
        [mirror.1.M]
        drive = "R2"
        buffers = { B1 = "A.B1", B2 = "B.B1" }
        """
    )
    assert list(config.agents) == ["A", "B", "M"]


def test_frozen(loaded: Loaded) -> None:
    config = loaded(DRIVE)
    with pytest.raises(AttributeError, match="immutable"):
        config.server.block = 1  # type: ignore[misc]


def test_missing_paths(loaded: Loaded) -> None:
    config = loaded(
        DRIVE
        + """[sources]
there = "tapeloom.toml"
gone = "gone"
[sources.several]
paths = [
  ".",
  "gone/too",
]
[sources.made]
producer = true
"""
    )
    assert [(problem.line, problem.what) for problem in missing_paths(config)] == [
        (5, f'source "gone": {config.folder}/gone does not exist'),
        (9, f'source "several": {config.folder}/gone/too does not exist'),
    ]


def test_missing_path_of_a_long_form(loaded: Loaded) -> None:
    config = loaded(DRIVE + '[sources.D]\nexclude = ["x"]\npath = "gone"\n')
    assert [problem.line for problem in missing_paths(config)] == [5]


def test_paths_behind_links(loaded: Loaded, tmp_path: Path) -> None:
    (tmp_path / "here").symlink_to("tapeloom.toml")
    (tmp_path / "nowhere").symlink_to("gone")
    (tmp_path / "round").symlink_to("round")
    config = loaded(DRIVE + '[sources]\nD = { paths = ["here", "nowhere", "round"] }\n')
    assert [problem.what for problem in missing_paths(config)] == [
        f'source "D": {tmp_path}/nowhere does not exist',
        f'source "D": {tmp_path}/round cannot be reached: Too many levels of symbolic links',
    ]


def test_byte_order_mark_and_dos_lines(tmp_path: Path) -> None:
    file = tmp_path / "t.toml"
    file.write_bytes(b"\xef\xbb\xbf" + DRIVE.replace("\n", "\r\n").encode())
    assert load(file).where("drives", "R1") == 2


def test_a_pipe_is_as_good_as_a_file(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.write(writer, DRIVE.encode())
    os.close(writer)
    try:
        assert list(load(f"/dev/fd/{reader}").drives) == ["R1"]
    finally:
        os.close(reader)


def only_problem(path: object) -> str:
    with pytest.raises(ConfigError) as caught:
        load(path)  # type: ignore[arg-type]
    [problem] = caught.value.problems
    return str(problem)


def test_no_such_file(tmp_path: Path) -> None:
    file = tmp_path / "none.toml"
    assert only_problem(file) == f"{file}: there is no such file (the verb `init` makes a starter file)"


def test_a_folder(tmp_path: Path) -> None:
    assert only_problem(tmp_path) == (
        f"{tmp_path}: this is a folder, not a configuration file (the verb `init` makes a starter file)"
    )
    (tmp_path / "tapeloom.toml").write_text(DRIVE)
    assert only_problem(tmp_path).endswith(f"(did you mean {tmp_path}/tapeloom.toml?)")


def test_unreadable_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "t.toml"
    file.write_text(DRIVE)
    assert "cannot be read: Not a directory" in only_problem(file / "x")
    assert "cannot be read" in only_problem("a\0b")

    def refuse(*args: object) -> None:
        raise PermissionError(13, "Permission denied", str(file))

    monkeypatch.setattr("builtins.open", refuse)  # root may read everything
    assert (
        only_problem(file)
        == f"{file}: the file cannot be read: Permission denied (the verb `init` makes a starter file)"
    )


def test_endless_file() -> None:
    assert "larger than 16777216 bytes" in only_problem("/dev/zero")
