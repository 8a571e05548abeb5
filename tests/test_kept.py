"""What is kept saves time and decides nothing: whatever stands in the cache, the answer is the one found anew."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tapeloom import kept
from tapeloom.compile import compile_job
from tapeloom.config import load
from tapeloom.errors import ConfigError
from tapeloom.schedule import Schedule

FILES = sorted((Path(__file__).parent / "golden" / "schedules").glob("*.toml"))
SAME_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
TEXT = """
[drives]
R1 = "vtape:tapes/R1"
[sources]
S = { paths = ["a", "b"], exclude = ["*.o"] }
[backup.nightly.A]
drive = "R1"
buffers = { B = "S" }
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "tapeloom.toml"
    file.write_text(TEXT)
    (tmp_path / "state").mkdir()
    return file


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was done anew, in order."""
    import tapeloom.compile
    import tapeloom.config.loading

    done: list[str] = []
    judge, compile = tapeloom.config.loading.judge, tapeloom.compile.compile_job
    monkeypatch.setattr(tapeloom.config.loading, "judge", lambda *given: (done.append("config"), judge(*given))[1])
    monkeypatch.setattr(tapeloom.compile, "compile_job", lambda *given: (done.append("schedule"), compile(*given))[1])
    return done


def cache(file: Path) -> list[Path]:
    folder = file.parent / "state" / kept.FOLDER
    return sorted(folder.iterdir()) if folder.exists() else []


def ask(file: Path) -> None:
    """Asks for both, and compares with what is found without any cache."""
    config = kept.config(file)
    fresh = load(file)
    assert (config, config.shown, config.lines) == (fresh, fresh.shown, fresh.lines)
    assert list(config.agents) == list(fresh.agents)
    schedule = kept.schedule(config)
    assert schedule.to_bytes() == compile_job(fresh).to_bytes()
    assert not schedule.streams.flags.writeable


@pytest.mark.parametrize("source", FILES, ids=lambda file: file.stem)
def test_what_is_kept_is_what_was_found(source: Path, file: Path, judged: list[str]) -> None:
    file.write_bytes(source.read_bytes())
    state = file.parent / load(file).server.state
    state.mkdir(exist_ok=True)
    ask(file)
    del judged[:]
    config = kept.config(file)
    kept.schedule(config)
    assert not judged
    ask(file)


def test_each_file_is_its_owners_alone(file: Path) -> None:
    ask(file)
    assert len(cache(file)) == 2
    assert {path.stat().st_mode & 0o777 for path in cache(file)} == {0o600}
    assert cache(file)[0].parent.stat().st_mode & 0o777 == 0o700


def test_nothing_is_kept_before_there_is_a_state_folder(file: Path) -> None:
    (file.parent / "state").rmdir()
    ask(file)
    assert not (file.parent / "state").exists()


def test_another_file_another_place_and_other_groups_are_other_questions(
    file: Path, judged: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.schedule(kept.config(file))
    kept.schedule(kept.config(file), ["nightly"])
    assert judged == ["config", "schedule", "schedule"]
    file.write_text(TEXT + "# another word\n")
    kept.schedule(kept.config(file))
    assert judged[3:] == ["config"]  # the same configuration, but for its text
    monkeypatch.chdir(file.parent)
    assert kept.config(file.name).shown == file.name
    assert judged[4:] == ["config"]


def test_other_code_answers_anew(file: Path, judged: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    kept.schedule(kept.config(file))
    monkeypatch.setattr(kept, "_code", lambda: b"other")
    kept.schedule(kept.config(file))
    assert judged == ["config", "schedule"] * 2


def test_the_code_is_known_by_its_files() -> None:
    assert b"loading.py" in kept._code()
    assert b"graph.py" in kept._code()
    assert b"size.py" in kept._code()


def test_a_mistake_is_found_each_time(file: Path) -> None:
    file.write_text(TEXT.replace('"S" }', '"T" }'))
    for _ in range(2):
        with pytest.raises(ConfigError, match="T"):
            kept.config(file)
    assert not cache(file)


@pytest.mark.parametrize(
    "text", ["", "no toml", "server = 1", "[server]\nstate = 3\n", "[server]\nstate = '\\u0000'\n"]
)
def test_a_file_without_a_state_folder_gets_the_words_of_load(file: Path, text: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigError) as wanted:
        load(file)
    with pytest.raises(ConfigError) as got:
        kept.config(file)
    assert got.value.problems == wanted.value.problems


def test_no_file_gets_the_words_of_load(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such file"):
        kept.config(tmp_path / "nothing.toml")


def test_a_pipe_is_read_once(file: Path) -> None:
    reader, writer = os.pipe()
    os.write(writer, TEXT.encode())
    os.close(writer)
    try:
        assert list(kept.config(f"/dev/fd/{reader}").sources) == ["S"]
    finally:
        os.close(reader)


@SAME_FOLDER
@given(data=st.data())
def test_a_damaged_file_is_passed_over_and_made_anew(file: Path, data: st.DataObject) -> None:
    ask(file)
    path = data.draw(st.sampled_from(cache(file)))
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    else:
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    path.write_bytes(content)
    ask(file)
    assert path.read_bytes() != content


def test_one_result_in_the_place_of_another_is_passed_over(file: Path) -> None:
    ask(file)
    first, second = cache(file)
    first.write_bytes(second.read_bytes())
    ask(file)


def test_a_file_that_others_may_write_is_passed_over(file: Path, judged: list[str]) -> None:
    kept.config(file)
    cache(file)[0].chmod(0o620)
    kept.config(file)
    assert judged == ["config", "config"]


def test_a_link_is_passed_over(file: Path, judged: list[str]) -> None:
    kept.config(file)
    (path,) = cache(file)
    path.rename(file.parent / "elsewhere")
    path.symlink_to(file.parent / "elsewhere")
    kept.config(file)
    assert judged == ["config", "config"]


def test_a_cache_that_cannot_be_written_is_done_without(file: Path) -> None:
    (file.parent / "state" / kept.FOLDER).write_text("a file, and no folder")
    ask(file)
    ask(file)


def test_only_the_newest_are_left(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "RESULTS_MAX", 3)
    for number in range(6):
        file.write_text(TEXT + f"# {number}\n")
        kept.config(file)
    assert len(cache(file)) == 3


@given(st.binary(max_size=200))
def test_a_schedule_of_other_bytes_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError):
        Schedule.from_bytes(content)


def test_what_judges_is_not_even_loaded(file: Path) -> None:
    """Of a job whose configuration was judged before."""
    (file.parent / "a").mkdir()
    (file.parent / "b").mkdir()
    program = "import sys; from tapeloom.cli.main import main; status = main(); print(*sys.modules); sys.exit(status)"
    for _ in range(2):
        ended = subprocess.run(
            [sys.executable, "-c", program, "-c", str(file), "backup"],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
    loaded = set(ended.stdout.splitlines()[-1].split())
    assert not loaded & {"pydantic", "networkx", "rich", "asyncio", "zstandard", "cryptography", "blake3"}
