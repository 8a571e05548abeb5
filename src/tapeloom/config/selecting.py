"""What a buffer of a restore media agent may be assigned to: names, or a selection of what the catalog knows."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import ConfigDict, Discriminator, Field, Tag, model_validator

from tapeloom import moment
from tapeloom.config.faults import Malformed
from tapeloom.config.form import Form
from tapeloom.config.values import Feeds, Level, Moment, Text

_CRITERIA: Final = ("source", "job", "since", "until", "level", "copies_below", "volume")
_NAMES: Final = "names"
_SELECTION: Final = "selection"


class SelectionForm(Form):
    """Objects that fit all that is said, where a buffer of a restore media agent could have a name."""

    model_config = ConfigDict(json_schema_extra={"anyOf": [{"required": [key]} for key in _CRITERIA]})
    noun = "a selection"

    source: Feeds = Field(
        default=[], examples=["D4", ["D4", "D5"]], description="Objects of this source, or of one of these."
    )
    job: Text | None = Field(
        default=None, examples=["0190163d-8694"], description="Objects of this job: its id, or the beginning of it."
    )
    since: Moment | None = Field(
        default=None, examples=["2026-01-01"], description="Objects of this time or later; local time without a zone."
    )
    until: Moment | None = Field(
        default=None, examples=["2026-01-31 03:00"], description="Objects of this time or earlier: the day included."
    )
    level: Level | None = Field(default=None, description="Objects of this level alone.")
    copies_below: int | None = Field(
        default=None, ge=2, examples=[2], description="Objects with fewer good copies than so many."
    )
    volume: Text | None = Field(
        default=None, examples=["R2-0001"], description="Objects that have blocks on the volume with this label."
    )
    single: bool = Field(default=False, description="An incremental without the objects that it is based on.")

    @model_validator(mode="after")
    def _selects(self) -> SelectionForm:
        if not any(getattr(self, key) for key in _CRITERIA):
            raise Malformed("this selects nothing", 'for example { source = "D4", level = "full" }')
        if self.since and self.until and moment.first_ns(self.since) > moment.last_ns(self.until):
            raise Malformed("it begins after its end", "`since` is the earlier time")
        return self

    def words(self) -> str:
        """The selection in one line, as plans and pictures show it."""
        said = [",".join(self.source)] if self.source else []
        said += [f"{key}={getattr(self, key)}" for key in _CRITERIA[1:] if getattr(self, key) is not None]
        return " ".join(said + ["single"] * self.single)


def _which(value: Any) -> str:
    return _SELECTION if isinstance(value, dict | SelectionForm) else _NAMES


Restored = Annotated[Annotated[Feeds, Tag(_NAMES)] | Annotated[SelectionForm, Tag(_SELECTION)], Discriminator(_which)]
