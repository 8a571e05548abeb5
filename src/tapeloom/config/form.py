"""What every table of the file is to pydantic: its keys are all known, and a string may stand for it."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema


class Form(BaseModel):
    """A table whose keys are all known."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    noun: ClassVar[str]
    """What messages call such a table."""
    shorts: ClassVar[tuple[str, ...]] = ()
    """Keys for which a string may stand in place of the table."""

    @classmethod
    def short(cls, value: str) -> str:
        """The key that this string stands for."""
        return cls.shorts[0]

    @model_validator(mode="before")
    @classmethod
    def _lengthen(cls, value: object) -> object:
        return {cls.short(value): value} if isinstance(value, str) and cls.shorts else value

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        table = handler.resolve_ref_schema(handler(schema))
        if not cls.shorts:
            return table
        fields = [table["properties"][key] for key in cls.shorts]
        branches = [branch for field in fields for branch in field.get("anyOf", [field])]
        strings = [
            {k: v for k, v in branch.items() if k in ("type", "pattern")}
            for branch in branches
            if branch["type"] == "string"
        ]
        description = table.pop("description")
        title = table.pop("title")
        return {"title": title, "description": description, "anyOf": [*strings, table]}
