"""Single values: what a path, a device, a size or a command may look like, to the loader and to the JSON Schema."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, WithJsonSchema

from tapeloom import limits, moment
from tapeloom.config import devices, units
from tapeloom.config.devices import check_changer, check_device, check_path
from tapeloom.config.faults import Malformed, quoted

REFERENCE_PATTERN: Final = r"^[^./]+\.[^./]+$"

OnLag = Literal["wait", "detach", "spool"]
Level = Literal["full", "incremental", "differential"]


def _block(value: int) -> int:
    page, least, most = limits.PAGE_BYTES, limits.BLOCK_BYTES_MIN, limits.BLOCK_BYTES_MAX
    best = min(max(round(value / page) * page, least), most)
    if value != best:
        span = f"from {units.show_bytes(least)} to {units.show_bytes(most)}"
        raise Malformed(
            f"a block of {quoted(value)} bytes is not a multiple of 4KiB {span}",
            f"did you mean {quoted(units.show_bytes(best))}?",
        )
    return value


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _some(value: int) -> int:
    if value == 0:
        raise Malformed("it is zero", "leave the key out where nothing is known")
    return value


def _some_seconds(value: float) -> float:
    if value == 0:
        raise Malformed("no command ends in no time", 'for example "2h"; leave the key out for no limit')
    return value


def _some_time(value: float) -> float:
    if value == 0:
        raise Malformed("nothing would be kept", 'for example "30d"; leave the key out to keep everything')
    return value


def _command(value: object) -> str | list[str]:
    words = [value] if isinstance(value, str) else value
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise Malformed(f"{quoted(value)} is not a command", 'a string for the shell, or an array: ["pg_dump", "mydb"]')
    if not words or not words[0].strip():
        raise Malformed("the command is empty")
    if any("\0" in word for word in words):
        raise Malformed("a command cannot hold the character NUL")
    return value if isinstance(value, str) else words


def _patterns(value: list[str]) -> list[str]:
    if value:
        from pathspec import GitIgnoreSpec  # costs time at start-up, and few files have patterns

        for pattern in value:
            try:
                GitIgnoreSpec.from_lines([pattern])
            except ValueError:
                raise Malformed(f"{quoted(pattern)} is not a gitignore-style pattern") from None
    return value


def _markers(value: list[str]) -> list[str]:
    for name in value:
        if not name or "/" in name or "\0" in name or name in (".", ".."):
            raise Malformed(f"{quoted(name)} is not the name of a file", 'a name without a path: [".nobackup"]')
    return value


def _compression(value: object) -> int | None:
    """The level of zstd; None for no compression."""
    kind, colon, level = value.partition(":") if isinstance(value, str) else ("", "", "")
    most = limits.ZSTD_LEVEL_MAX
    if value == "none":
        return None
    if kind == "zstd" and not colon:
        return limits.ZSTD_LEVEL_DEFAULT
    if kind == "zstd" and re.fullmatch("[1-9][0-9]?", level) and int(level) <= most:
        return int(level)
    if kind == "zstd":
        raise Malformed(f"{quoted(value)}: {quoted(level)} is not a level of zstd", f"a whole number from 1 to {most}")
    raise Malformed(f"{quoted(value)} is not a compression", f'it is one of: "none", "zstd", "zstd:1" to "zstd:{most}"')


def _moment(value: object) -> str:
    text = value.isoformat() if isinstance(value, date) else value  # TOML has times of its own, without quotes
    try:
        moment.first_ns(text if isinstance(text, str) else "")
    except ValueError:
        raise Malformed(f"{quoted(text)} is not a time", f"for example {moment.EXAMPLES}") from None
    return str(text)


def _schema(*branches: dict[str, Any]) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": list(branches)} if len(branches) > 1 else branches[0])


_STRINGS: Final = {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1}
_WORDS: Final = {"type": "array", "items": {"type": "string"}, "minItems": 1}
_STRING: Final = {"type": "string", "minLength": 1}
_BYTES_TEXT: Final = {"type": "string", "pattern": units.BYTES_PATTERN}
_SECONDS_TEXT: Final = {"type": "string", "pattern": units.SECONDS_PATTERN}

Text = Annotated[str, Field(min_length=1)]
PathText = Annotated[str, AfterValidator(check_path), _schema({"type": "string", "pattern": r"^[^~\x00]"})]
Size = Annotated[int, BeforeValidator(units.parse_bytes), _schema({"type": "integer", "minimum": 0}, _BYTES_TEXT)]
SomeBytes = Annotated[Size, AfterValidator(_some)]
Rate = Annotated[
    float,
    BeforeValidator(units.parse_rate),
    _schema({"type": "number", "exclusiveMinimum": 0}, {"type": "string", "pattern": units.RATE_PATTERN}),
]
Seconds = Annotated[
    float, BeforeValidator(units.parse_seconds), _schema({"type": "number", "minimum": 0}, _SECONDS_TEXT)
]
SomeSeconds = Annotated[Seconds, AfterValidator(_some_seconds)]
SomeTime = Annotated[Seconds, AfterValidator(_some_time)]
Device = Annotated[
    str,
    AfterValidator(check_device),
    _schema({"type": "string", "pattern": devices.PATTERN}),
]
Changer = Annotated[
    str,
    AfterValidator(check_changer),
    _schema({"type": "string", "pattern": devices.CHANGER_PATTERN}),
]
Feeds = Annotated[list[Text], Field(min_length=1), BeforeValidator(_as_list), _schema(_STRING, _STRINGS)]
_REFERENCE: Final = {"type": "string", "pattern": REFERENCE_PATTERN}
Reference = Annotated[
    list[Text],
    Field(min_length=1),
    BeforeValidator(_as_list),
    _schema(_REFERENCE, {"type": "array", "items": _REFERENCE, "minItems": 1, "maxItems": 1}),
]
Moment = Annotated[str, PlainValidator(_moment), _schema({"type": "string", "pattern": f"^{moment.PATTERN}$"})]
Paths = Annotated[list[PathText], Field(min_length=1)]
Block = Annotated[Size, AfterValidator(_block)]
Command = Annotated[str | list[str], PlainValidator(_command), _schema(_STRING, _WORDS)]
Patterns = Annotated[list[str], AfterValidator(_patterns)]
MarkerNames = Annotated[
    list[str],
    AfterValidator(_markers),
    _schema({"type": "array", "items": {"type": "string", "pattern": r"^[^/\x00]+$", "not": {"enum": [".", ".."]}}}),
]
Compression = Annotated[
    int | None,
    PlainValidator(_compression),
    _schema({"type": "string", "pattern": r"^(none|zstd(:([1-9]|1[0-9]))?)$"}),
]
