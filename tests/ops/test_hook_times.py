"""An object's time and the snapshot that `before` makes."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID, uuid4

import pytest

from tapeloom.agent.hooks import Hooks
from tapeloom.agent.report import SourceReport
from tapeloom.config import load
from tapeloom.ops.backup import open_backup
from tapeloom.ops.restore import restore

CONFIGURATION = """
[server]
block = "16KiB"
memory = "4MiB"
[drives]
R1 = "vtape:tapes/R1"
[sources.docs]
path = "shot"
before = "date +%s%N > live/made && cp -a live/. shot/"
[backup.nightly]
level = "incremental"
[backup.nightly.BMA1]
drive = "R1"
buffers = { B1 = "docs" }
"""


def test_all_that_came_before_its_time_is_in_an_object(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tapeloom.toml").write_text(CONFIGURATION)
    for name in ("live", "shot"):
        (tmp_path / name).mkdir()
    config = load(tmp_path / "tapeloom.toml")
    before: int | None = None
    for round in range(2):
        (tmp_path / "live" / f"file {round}").write_text("changed before the job")
        with open_backup(config) as backup:
            (item,) = backup.run().objects
        out = tmp_path / f"out {round}"
        restore(config, str(item.id), out)
        assert sorted(path.name for path in out.iterdir()) == [*(f"file {n}" for n in range(round + 1)), "made"]
        made = int((out / "made").read_text())
        assert item.as_of_ns <= made  # nothing that is older than the object's time is missing from it
        assert before is None or before < item.as_of_ns
        before = item.as_of_ns


def test_before_runs_before_anything_is_read(tmp_path: Path) -> None:
    seen: list[bool] = []

    def read() -> SourceReport:
        seen.append((tmp_path / "shot").exists())
        return SourceReport()

    object_id: UUID = uuid4()
    Hooks(("touch", str(tmp_path / "shot")), None).around(read, source="docs", object_id=object_id)
    assert seen == [True]
