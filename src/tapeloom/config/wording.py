"""pydantic's findings in this project's words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from tapeloom.config import forms
from tapeloom.config.faults import Fault, Malformed, Path, dotted, nearest, quoted
from tapeloom.config.form import Form
from tapeloom.config.origins import SourceForm
from tapeloom.config.selecting import SelectionForm

_AGENTS: Final[dict[str | int, type[Form]]] = {
    "backup": forms.BackupAgentForm,
    "mirror": forms.ChainedAgentForm,
    "restore": forms.RestoreAgentForm,
    "copy": forms.ChainedAgentForm,
}
_GROUPS: Final[dict[str | int, type[Form]]] = {
    "backup": forms.BackupGroupForm,
    "restore": forms.RestoreGroupForm,
}
_SECTIONS: Final[dict[str | int, type[Form]]] = {
    "server": forms.ServerForm,
    "drives": forms.DriveForm,
    "libraries": forms.LibraryForm,
    "pools": forms.PoolForm,
    "sources": SourceForm,
}
_TYPES: Final = {
    "string_type": "a string",
    "int_type": "a whole number",
    "bool_type": "true or false",
    "list_type": "an array",
    "dict_type": "a table",
    "model_type": "a table",
}


def faults_of(error: ValidationError) -> Iterator[Fault]:
    """One fault for each finding."""
    for finding in error.errors(include_url=False):
        yield _fault(finding, _place(finding["loc"]))


def _place(loc: Path) -> Path:
    """Where the finding is in the file: pydantic adds which form a restore buffer was taken for."""
    return loc[:5] + loc[6:] if loc[0] == "restore" and len(loc) > 5 and loc[3] == "buffers" else loc


def _fault(finding: ErrorDetails, at: Path) -> Fault:
    value, context = finding["input"], finding.get("ctx", {})
    match finding["type"]:
        case "value_error":
            wrong = context["error"]
            return Fault(at, str(wrong), wrong.hint if isinstance(wrong, Malformed) else None)
        case "extra_forbidden":
            form = _form_at(at[:-1])
            if form is forms.BackupAgentForm and at[-1] == "level":
                return Fault(at, "the level is the whole group's", f"it stands in [{dotted(at[:2])}]")
            hint = nearest(str(at[-1]), _keys(form), "its keys are")
            return Fault(at, f"this is not a key of {form.noun}", hint)
        case "missing" | "too_short" if at == ("drives",):
            return Fault(at, "there is no drive", 'for example, below [drives]: R1 = "vtape:tapes/R1"')
        case "missing":
            return Fault(at[:-1], f"{quoted(at[-1])} is missing", _wanted(at))
        case "too_short" | "string_too_short":
            return Fault(at, "this is empty", _wanted(at))
        case "literal_error":
            choices = re.findall(r"'([^']+)'", context["expected"])
            return Fault(at, f"{quoted(value)} is not a choice", nearest(str(value), choices, "it is one of"))
        case "greater_than_equal" | "greater_than":
            return Fault(at, f"{quoted(value)} is too small", f"at least {context.get('ge', 1)}")
        case "less_than_equal":
            return Fault(at, f"{quoted(value)} is too large", f"at most {context['le']}")
        case kind if kind in _TYPES:
            return _wrong_type(at, value, _TYPES[kind])
        case _:
            return Fault(at, finding["msg"])


def _wrong_type(at: Path, value: Any, wanted: str) -> Fault:
    if len(at) == 3 and at[0] in _AGENTS:  # in a group, what is no setting should have been an agent
        group = _form_at(at[:-1])
        hint = nearest(str(at[-1]), _keys(group)) or f"[{dotted(at)}] makes an agent"
        return Fault(at, "this is neither a setting of a group nor the table of an agent", hint)
    if len(at) == 5 and at[0] in ("mirror", "copy") and isinstance(value, list):
        return Fault(at, f"one buffer feeds a buffer of a {at[0]} group, not an array", 'for example "BMA124.B2"')
    if at[0] == "restore" and len(at) == 6 and isinstance(at[5], int) and isinstance(value, dict):
        hint = '{ source = ["D4", "D5"] } selects from several sources'
        return Fault(at, "a buffer takes names or one selection, not a selection in an array", hint)
    return Fault(at, f"{quoted(value)} is not {wanted}", _wanted(at))


def _form_at(at: Path) -> type[Form]:
    """The form of the table at a path."""
    if not at:
        return forms.ConfigForm
    section, depth = at[0], len(at)
    if section not in _AGENTS:
        return _SECTIONS[section]
    if section == "restore" and depth == 5:
        return SelectionForm
    if depth == 2:
        return _GROUPS.get(section, forms.WritingForm)
    if at[-1] in ("lag_max", "checkpoint") and section != "restore":
        return forms.LimitForm
    return _AGENTS[section]


def _keys(form: type[Form]) -> list[str]:
    return [field.alias or name for name, field in form.model_fields.items()]


def _wanted(at: Path) -> str | None:
    """What a place takes, where that is not plain from its name."""
    if len(at) == 4 and at[-1] == "buffers":
        feed = "a source" if at[0] == "backup" else "an object" if at[0] == "restore" else "AGENT.BUFFER"
        return f'an agent has at least one buffer: buffers = {{ B1 = "{feed}" }}'
    if at[0] == "restore" and len(at) > 5 and isinstance(at[5], str):
        return "the name of a source" if at[5] == "source" else None
    if len(at) >= 5 and at[3] == "buffers":
        return {"backup": "a source feeds it", "restore": "an object feeds it"}.get(str(at[0]), "AGENT.BUFFER feeds it")
    if at[0] == "drives" and len(at) == 2:
        return 'a device such as "vtape:tapes/R1", or a table with "device"'
    if at[0] == "libraries" and len(at) == 2:
        return 'a changer such as "/dev/sg3" or "vlib:library", or a table with "changer"'
    if at[0] == "sources" and len(at) == 2:
        return 'a path, or a table with one of "path", "paths", "command", "raw" and "producer"'
    if at[0] == "keys" and len(at) == 2:
        return f'the path of its key file: {dotted(at[1:])} = "keys/{at[1]}.key"'
    if at[-1] in ("lag_max", "checkpoint"):
        return 'for example "64GB", "15min" or { bytes = "64GB", time = "15min" }'
    return None
