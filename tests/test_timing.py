"""`timing`: what options make of a drive. What it predicts is tested where it is used, and against csrc/model.c."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tapeloom.timing import LTO9, MODELS, PLAIN_BUFFER_BYTES, TAPE_RATE, Timing, modelled


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_the_models_hold_together(model: Timing) -> None:
    assert model.rate_min < model.steps[0]
    assert model.steps[-1] < model.rate
    assert list(model.steps) == sorted(set(model.steps))
    assert model.mount > model.unload
    assert model.capacity / model.wrap_bytes == pytest.approx(round(model.capacity / model.wrap_bytes))


@pytest.mark.parametrize(("model", "average"), [("lto7", 56), ("lto8", 59), ("lto9", 45)])
def test_half_the_tape_takes_the_stated_average(model: str, average: float) -> None:
    timing = MODELS[model]
    assert timing.seek(0, int(timing.wrap_bytes / 2), 1) == pytest.approx(average)


def test_options_override_the_model() -> None:
    assert modelled({"model": "lto9"}) == LTO9
    assert modelled({"model": "lto9", "backhitch": "1.5", "buffer": "500MB", "wrap": "1GB"}) == replace(
        LTO9, backhitch=1.5, buffer_bytes=500e6, wrap_bytes=1e9
    )
    slow = modelled({"model": "lto9", "rate": "240MB"})
    assert slow == replace(LTO9, rate=240e6, steps=(203e6, 223e6))
    assert modelled({"model": "lto9", "rate": "100MB"}) == replace(LTO9, rate=100e6, rate_min=100e6, steps=())


def test_a_rate_alone_is_a_plain_drive() -> None:
    assert modelled({"rate": "40MB"}) == Timing(40e6, 0.0, 0.0, buffer_bytes=PLAIN_BUFFER_BYTES)
    assert modelled({"fail_write": "3"}) is None


def test_a_scaled_drive_takes_as_long_with_less() -> None:
    small = modelled({"model": "lto9", "scale": "32"})
    assert small is not None
    assert small.write(1e9, 5e6) == pytest.approx(LTO9.write(32e9, 160e6))
    assert small.seek(0, 10**9, 1) == pytest.approx(LTO9.seek(0, 32 * 10**9, 1))
    assert small.read(10, 1024) == pytest.approx(LTO9.read(10, 32 * 1024))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"model": "lto6"}, "model: 'lto6' is no model"),
        ({"scale": "32"}, "scale: of which drive"),
        ({"locate": "3"}, "locate: of which drive"),
        ({"rate": "0"}, "rate: '0' never ends"),
        ({"rate": "fast"}, "rate: 'fast' is not a size"),
        ({"model": "lto9", "buffer": "0"}, "buffer: '0' never ends"),
        ({"model": "lto9", "locate": "-1"}, "locate: '-1' is not a count of seconds"),
        ({"model": "lto9", "locate": "inf"}, "locate: 'inf' is not a count of seconds"),
        ({"model": "lto9", "locate": "soon"}, "locate: 'soon' is not a count of seconds"),
        ({"model": "lto9", "scale": "0"}, "scale: '0' is not a scale"),
        ({"model": "lto9", "rate_min": "500MB"}, "rate_min: 5e.08 is more than the rate"),
        ({"model": "lto9", "mount": "0"}, "mount: 0 s are less than unloading takes"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        modelled(options)


def test_what_the_file_says_comes_before_the_model() -> None:
    assert Timing.of(real=False, model=LTO9) == LTO9
    assert Timing.of(real=False, model=LTO9, rate=300e6) == LTO9.at_rate(300e6)
    flat = Timing.of(real=False, model=LTO9, locate=9.0)
    assert flat.seek(0, 10**12, 1) == 9.0
    assert Timing.of(real=True).rate == TAPE_RATE
