"""`ops.bench`: every combination is measured once, and no data is lost. How fast it was is nobody's test."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tapeloom.device import open_drive
from tapeloom.errors import ConfigError, TapeloomError, UsageError
from tapeloom.limits import KIB, MIB
from tapeloom.ops.bench import CARTRIDGE, run
from tapeloom.ops.benchrows import BenchRow


def test_every_combination_is_a_row() -> None:
    seen: list[BenchRow] = []
    result = run(blocks=[64 * KIB, 128 * KIB], streams=[1, 3], mirrors=[0, 2], bytes=3 * MIB, on_row=seen.append)
    assert [(row.block_bytes, row.streams, row.mirrors) for row in result.rows] == [
        (block, streams, mirrors) for block in (64 * KIB, 128 * KIB) for streams in (1, 3) for mirrors in (0, 2)
    ]
    assert seen == result.rows
    assert result.devices == ("null:",) * 3
    assert result.remarks == []
    for row in result.rows:
        assert 3 * MIB <= row.bytes <= 4 * MIB  # headers come on top
        assert row.seconds > 0
        assert row.bytes_per_second == pytest.approx(row.bytes / row.seconds)
        assert row.blocks_per_run >= 1
        assert 0 <= row.drive_share <= 1


def test_time_ends_a_measurement() -> None:
    (row,) = run(blocks=[64 * KIB], streams=[2], mirrors=[0], seconds=0.02, memory=4 * MIB).rows
    assert row.bytes > 2 * 64 * KIB


def test_json_and_table_say_the_same() -> None:
    result = run(blocks=[64 * KIB], streams=[1], mirrors=[0], bytes=MIB, memory=4 * MIB)
    read = json.loads(json.dumps(result.as_json()))
    assert read["rows"][0]["block_bytes"] == 64 * KIB
    assert read["rows"][0]["bytes"] == result.rows[0].bytes
    heading, line = result.table()
    assert len(heading) == len(line)
    assert line[0] == "64 KiB"


def test_an_empty_drive_gets_a_cartridge_of_its_own(tmp_path: Path) -> None:
    result = run([f"vtape:{tmp_path}/R"], blocks=[64 * KIB], streams=[2], mirrors=[0], bytes=2 * MIB, memory=4 * MIB)
    assert (tmp_path / "R" / f"{CARTRIDGE}.tape").stat().st_size == pytest.approx(result.rows[0].bytes, abs=8192)
    assert CARTRIDGE in result.remarks[0]


def test_data_is_not_overwritten_without_a_word(tmp_path: Path) -> None:
    spec = f"vtape:{tmp_path}/R"
    with open_drive(spec, name="R") as drive:
        drive.new_cartridge("A00001")
        drive.load("A00001")
        drive.write(b"precious")
    before = (tmp_path / "R" / "A00001.tape").read_bytes()
    with pytest.raises(UsageError, match=r"A00001 has data.*--overwrite"):
        run([spec], blocks=[64 * KIB], streams=[1], mirrors=[0], bytes=MIB, memory=4 * MIB)
    assert (tmp_path / "R" / "A00001.tape").read_bytes() == before
    run([spec], blocks=[64 * KIB], streams=[1], mirrors=[0], bytes=MIB, memory=4 * MIB, overwrite=True)
    assert (tmp_path / "R" / "A00001.tape").read_bytes() != before


def test_mirrors_need_drives_of_their_own(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="2 mirrors need 3 drives"):
        run([f"vtape:{tmp_path}/R"], mirrors=[0, 2])
    specs = [f"vtape:{tmp_path}/R{row}" for row in range(2)]
    (row,) = run(specs, blocks=[64 * KIB], streams=[1], mirrors=[1], bytes=MIB, memory=4 * MIB).rows
    assert row.mirrors == 1
    sizes = {(tmp_path / f"R{row}" / f"{CARTRIDGE}.tape").stat().st_size for row in range(2)}
    assert len(sizes) == 1


@pytest.mark.parametrize(
    "wrong", [{"streams": []}, {"streams": [0]}, {"mirrors": [-1]}, {"bytes": 0}, {"seconds": 0.0}, {"blocks": []}]
)
def test_numbers_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        run(**wrong)  # type: ignore[arg-type]


def test_a_modelled_drive_tells_of_its_own_time(tmp_path: Path) -> None:
    spec = f"vtape:{tmp_path}/R?model=lto9&scale=1000&time=simulated"
    options = {"blocks": [64 * KIB], "streams": [1], "mirrors": [0], "bytes": 4 * MIB, "memory": 4 * MIB}
    result = run([spec], **options)  # type: ignore[arg-type]
    row = result.rows[0].modelled
    assert row is not None
    # rewound to the beginning where it stands already; all at the drive's rate, and the filemark
    assert row.seconds == pytest.approx(result.rows[0].bytes / 400e3 + 3, rel=0.01)
    assert row.backhitches == 0
    heading, line = result.table()
    assert heading[-4:] == ("drive time", "drive rate", "back-hitches", "starved")
    assert len(line) == len(heading)

    result = run([spec + "&feed=100kB"], overwrite=True, **options)  # type: ignore[arg-type]
    row = result.rows[0].modelled
    assert row is not None
    assert row.backhitches > 3
    assert row.bytes_per_second < 100e3
    assert json.loads(json.dumps(result.as_json()))["rows"][0]["modelled"]["backhitches"] == row.backhitches


def test_a_block_size_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="block"):
        run(blocks=[1000], streams=[1], mirrors=[0], bytes=MIB)


def test_a_drive_that_fails_breaks_the_measurement_off() -> None:
    with pytest.raises(TapeloomError, match="broke off"):
        run(["null:?fail_write=2"], blocks=[64 * KIB], streams=[1], mirrors=[0], bytes=MIB, memory=4 * MIB)
