"""Same input, same bytes: schedules against what is written down.

`python tests/compile/test_golden_schedules.py` writes them down anew; look at the difference before you keep it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tapeloom.compile import compile_job
from tapeloom.config import load

FOLDER = Path(__file__).parent.parent / "golden" / "schedules"
FILES = sorted(FOLDER.glob("*.toml"))


def printed(file: Path) -> str:
    schedule = compile_job(load(file))
    return f"sha256 {schedule.fingerprint}\n{schedule}"


def test_there_are_golden_schedules() -> None:
    assert {file.stem for file in FILES} >= {"fig2", "fig5"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_schedule_is_what_is_written_down(file: Path) -> None:
    assert printed(file) == file.with_suffix(".txt").read_text(encoding="utf-8")


if __name__ == "__main__":
    for file in FILES:
        file.with_suffix(".txt").write_text(printed(file), encoding="utf-8")
