"""What a source may hold: where its data come from, what is left out, and what is done to them on the way."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field, model_validator

from tapeloom.config.faults import Malformed, quoted
from tapeloom.config.form import Form
from tapeloom.config.values import (
    Command,
    Compression,
    MarkerNames,
    Paths,
    PathText,
    Patterns,
    SomeSeconds,
    Text,
)

_ORIGINS: Final = ("path", "paths", "command", "raw")
_TREES: Final = ("path", "paths")
_HERE: Final = _ORIGINS
"""What tapeloom reads itself. A producer has its own program, whose blocks go to tape as it fills them."""
_GOES_WITH: Final = {
    "exclude": _TREES,
    "exclude_caches": _TREES,
    "exclude_if_present": _TREES,
    "one_file_system": _TREES,
    "before": _HERE,
    "after": _HERE,
    "time_limit": _HERE,
    "compress": _HERE,
    "encrypt": _HERE,
}
_TIMED: Final = ("command", "before", "after")


class SourceForm(Form):
    """Where a data sequence comes from. `D1 = "data/D1"` is short for `path = "data/D1"`."""

    noun = "a source"
    shorts = ("path",)

    path: PathText | None = Field(default=None, examples=["data/D1", "/srv/mail"], description="A file or folder.")
    paths: Paths | None = Field(
        default=None, examples=[["/etc", "/home"]], description="Several files and folders, in one sequence."
    )
    exclude: Patterns = Field(
        default=[],
        examples=[["*.tmp", "/cache/"]],
        description="Patterns, as in a .gitignore file, of what is left out of `path` or `paths`.",
    )
    exclude_caches: bool = Field(
        default=False, description="Leave out what is in folders that a CACHEDIR.TAG marks as caches."
    )
    exclude_if_present: MarkerNames = Field(
        default=[],
        examples=[[".nobackup"]],
        description="Names of files: what is in a folder that has one of them is left out.",
    )
    one_file_system: bool = Field(default=False, description="Do not descend into what is mounted below the paths.")
    raw: PathText | None = Field(
        default=None,
        examples=["/dev/vg/snapshot", "images/disk.img"],
        description="A block device, or a file taken as if it were one: its content as one object, holes left out.",
    )
    command: Command | None = Field(
        default=None,
        examples=["pg_dump mydb", ["pg_dump", "mydb"]],
        description="Its standard output is the sequence, its exit status decides. A string is for the shell.",
    )
    producer: bool = Field(default=False, description="The sequence is written by a program, through the Python API.")
    before: Command | None = Field(
        default=None,
        examples=["lvcreate -s -n snapshot -L 10G vg/mail"],
        description="A command that runs before the source is read; where it fails, nothing is read.",
    )
    after: Command | None = Field(
        default=None,
        examples=["lvremove -y vg/snapshot"],
        description="A command that runs when the source has been read, whatever happened.",
    )
    time_limit: SomeSeconds | None = Field(
        default=None,
        examples=["2h", 900],
        description="How long `command`, `before` and `after` may each run. Longer, and they are ended.",
    )
    compress: Compression = Field(
        default=None,
        examples=["zstd", "zstd:9", "none"],
        description='Block by block, where it pays: "zstd", or with a level, "zstd:1" to "zstd:19".',
    )
    encrypt: Text | None = Field(
        default=None, examples=["K1"], description="Name of a key from [keys]: every block is sealed with AES-256-GCM."
    )
    digest: Literal["none", "sha256", "blake3"] = Field(
        default="none", description="A digest over the whole sequence, beside the checksums that each block has anyway."
    )

    @model_validator(mode="after")
    def _one_origin(self) -> SourceForm:
        given = [key for key in _ORIGINS if getattr(self, key) is not None]
        given += ["producer"] if self.producer else []
        if not given:
            raise Malformed("the source has no data", 'one of "path", "paths", "command", "raw" and "producer = true"')
        if len(given) > 1:
            names = " and ".join(quoted(key) for key in given)
            raise Malformed(f"the source has {names}", "a source has one of them; make two sources")
        for key, origins in _GOES_WITH.items():
            if getattr(self, key) and given[0] not in origins:
                with_ = f"{', '.join(origins[:-1])} or {origins[-1]}"
                raise Malformed(f"{quoted(key)} has no meaning beside {quoted(given[0])}", f"it goes with {with_}")
        return self

    @model_validator(mode="after")
    def _limits_something(self) -> SourceForm:
        if self.time_limit is not None and not any(getattr(self, key) is not None for key in _TIMED):
            raise Malformed('"time_limit" limits nothing here', 'it is for "command", "before" and "after"')
        return self
