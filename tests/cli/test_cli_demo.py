"""The demonstration shows what it promises, and notices when it does not."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tapeloom.cli.main import main
from tapeloom.ops import demo


def test_the_demonstration(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "demo"
    assert main(["demo", "--folder", str(folder)]) == 0
    shown = capfd.readouterr().out
    assert "on purpose" in shown
    assert "all 8 complete copies came back" in shown
    assert f"{folder}/fig2.svg" in shown
    assert (folder / "fig2.svg").read_text().startswith("<svg")
    assert main(["demo", "--folder", str(folder)]) == 2
    assert main(["-c", str(folder / "fig2.toml"), "objects"]) == 0


def test_it_notices_a_mirror_that_does_not_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "CONFIGURATION", demo.CONFIGURATION.replace("?fail_write=", "?fail_read_at="))
    assert main(["demo", "--folder", str(tmp_path / "demo")]) == 1
    shown = capfd.readouterr().out
    assert "Not as it should be" in shown
    assert "BMA138 ended as complete, not as failed" in shown
    assert "All went as it should" not in shown


CHANGES: dict[str, Callable[[Path], None]] = {
    "large-0.bin: bytes differs": lambda root: os.truncate(root / "large-0.bin", 5),
    "large-0.bin: mode differs": lambda root: (root / "large-0.bin").chmod(0o600),
    "fifo is missing": lambda root: (root / "fifo").unlink(),
    "more should not be there": lambda root: (root / "more").mkdir(),
    "link: target of the link differs": lambda root: ((root / "link").unlink(), (root / "link").symlink_to("x"))[0],
    "link: time differs": lambda root: os.utime(root / "link", ns=(1, 1), follow_symlinks=False),
    "large-0.bin: hard link differs": lambda root: (
        (root / "another-name.bin").unlink(),
        (root / "another-name.bin").write_bytes((root / "large-0.bin").read_bytes()),
    )[0],
    "sparse.img: content differs": lambda root: _poke(root / "sparse.img"),
}


def _poke(path: Path) -> None:
    with open(path, "r+b") as file:
        file.seek(40 << 20)
        file.write(b"!")


@pytest.mark.parametrize("expected", CHANGES)
def test_every_difference_is_seen(expected: str, tmp_path: Path) -> None:
    left, right = tmp_path / "left", tmp_path / "right"
    for root in (left, right):
        demo.make_tree(root, 1 << 20, seed="D1")
        os.utime(root, ns=(0, 0))
    assert demo.differences(left, right) == []
    CHANGES[expected](right)
    assert expected in demo.differences(left, right)
