"""What may stand behind the question mark of a drive in software, as in "vtape:R1?model=lto9&fail_write=100": the model
that it is like, what it shall fail at, and whether it is in a process of its own.

One parser for both, so that what a configuration's check lets pass is what the drives take. A leaf.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from msgspec import Struct, field
from msgspec.structs import replace

from tapeloom import timing
from tapeloom.quantity import size_of
from tapeloom.timing import Timing


class Trouble(Struct, frozen=True):
    """Trouble on purpose, for tests and demonstrations: what a drive shall fail at, and when.

    Blocks and filemark calls are counted from 1 over the life of the open drive; 0: never. See csrc/trouble.h.

    Attributes
    ----------
    fail_write : this block is not written, its call fails.
    late_write : this block and the rest of its call are not written, the call succeeds, and the next one of any kind
        fails.
    hang_write : the call with this block waits before it until `Device.release_hang` or `close`.
    fail_filemark : this call that would write filemarks fails, and writes none.
    hang_open : not 0: opening the drive never comes back. Only its process can be ended then, so it must have one.
    fail_read_at : reading the block at this position fails, the tape stays before it. None: never.
    """

    fail_write: int = 0
    late_write: int = 0
    hang_write: int = 0
    fail_filemark: int = 0
    hang_open: int = 0
    fail_read_at: int | None = None


class Model(Struct, frozen=True):
    """What a drive is to be like. See csrc/model.h for its rules.

    Attributes
    ----------
    timing : the drive.
    simulated : its time is counted, not passed: a call comes back as soon as the files are written, and the drive's
        clock, which begins at 0 when it is opened, goes on by what a real drive would have taken. What comes of it
        holds for one drive whose host does nothing but wait for it, or gives and takes `feed`: where it locates, how
        long it reads and writes, how often it stops. It says nothing of how several drives and their sources hold up
        one another: each drive has a clock of its own, and the time that its host really took is not on it. For that,
        let the time pass.
    feed : bytes a second that the host gives and takes at most, 0 for no limit.
    """

    timing: Timing
    simulated: bool = False
    feed: float = 0.0


MODEL_OPTIONS: Final = (*timing.OPTIONS, "feed", "time")
TROUBLES: Final = Trouble.__struct_fields__
OPTIONS: Final = (*MODEL_OPTIONS, *TROUBLES, "aside")
"""Those of a drive that stands alone."""
BAY_OPTIONS: Final = tuple(one for one in OPTIONS if one not in ("hang_open", "aside"))
"""Those of one in a library, which is never in a process of its own."""
HANGS_ALONE: Final = "hang_open: only a process of its own can be ended then; say aside=1 too"


class Options(Struct, frozen=True):
    """What a drive's options say. `troubles` are attributes of `Trouble`; `aside`: it is in a process of its own."""

    model: Model | None = None
    troubles: Mapping[str, int] = field(default_factory=dict)
    aside: bool = False

    def trouble(self, besides: Trouble | None = None) -> Trouble | None:
        """What it shall fail at, and `besides` where the options do not say."""
        return replace(besides or Trouble(), **self.troubles) if self.troubles else besides


def parse_options(
    pairs: Iterable[tuple[str, str]], kind: str, known: Collection[str] = OPTIONS, aside: bool | None = None
) -> Options:
    """What the options of a drive say; in sentences it is called `kind`, and `known` are all that it has. `aside`:
    instead of what the options say of that. Raises ValueError with words.

    >>> parse_options([("model", "lto9"), ("fail_write", "3")], "vtape").troubles
    {'fail_write': 3}
    """
    options: dict[str, str] = {}
    for key, value in pairs:
        if key not in known:
            raise ValueError(f"{kind} has no option {key!r}; it has {', '.join(known)}")
        if key in options:
            raise ValueError(f"{key}: it is there twice; leave one of them out")
        options[key] = value
    model = model_of(options)
    troubles = {key: _count(key, options[key]) for key in TROUBLES if key in options}
    said = _count("aside", options.get("aside", "0")) > 0
    aside = said if aside is None else aside
    if aside and model is not None and model.simulated:
        raise ValueError("time that another process counts is seen by nobody; leave out aside")
    if troubles.get("hang_open") and not aside:
        raise ValueError(HANGS_ALONE)
    return Options(model, troubles, aside)


def split_options(tail: str) -> list[tuple[str, str]]:
    """KEY=VALUE&KEY=VALUE, apart.

    >>> split_options("model=lto9&scale=32")
    [('model', 'lto9'), ('scale', '32')]
    """
    return [(key, value) for key, _, value in (option.partition("=") for option in tail.split("&"))]


def model_of(options: Mapping[str, str]) -> Model | None:
    """The model that a drive's options ask for: those of `timing.OPTIONS`, `feed` and `time` ("real" or "simulated").
    None: none of them is there.

    Raises ValueError.
    """
    described = timing.modelled(options)
    if described is None:
        if own := [key for key in ("feed", "time") if key in options]:
            raise ValueError(f"{own[0]}: of which drive? say model= ({', '.join(timing.MODELS)}) or rate= too")
        return None
    pace = options.get("time", "real")
    if pace not in ("real", "simulated"):
        raise ValueError(f"time: {pace!r} is none; it is real or simulated")
    try:
        return Model(described, pace == "simulated", float(size_of(options.get("feed", "0"))))
    except ValueError as wrong:
        raise ValueError(f"feed: {wrong}") from None


def _count(key: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise ValueError(f"{key}: {text!r} is not a count")
    return int(text)
