"""What the file may hold, key by key: pydantic forms.

A form judges values one at a time; whether they fit together (names, chains, drives) is for `check`. A short form
(`R1 = "vtape:tapes/R1"`) is brought into the long one before it is judged.
"""

from __future__ import annotations

from typing import Self

from pydantic import ConfigDict, Field, ValidationInfo, field_validator, model_validator
from pydantic.config import JsonDict

from tapeloom import limits
from tapeloom.config import units
from tapeloom.config.faults import Malformed, quoted
from tapeloom.config.form import Form
from tapeloom.config.origins import SourceForm
from tapeloom.config.selecting import Restored
from tapeloom.config.values import (
    Block,
    Changer,
    Device,
    Feeds,
    Level,
    OnLag,
    PathText,
    Rate,
    Reference,
    Seconds,
    Size,
    SomeBytes,
    SomeTime,
    Text,
)

_NAMES: JsonDict = {"propertyNames": {"pattern": r"^[^./\x00-\x1f\x7f]+$"}}
_SOURCE_NAMES: JsonDict = {
    "propertyNames": {"pattern": r"^[^/\x00-\x1f\x7f]+$", "maxLength": limits.SOURCE_NAME_BYTES_MAX}
}


class ServerForm(Form):
    """Where tapeloom keeps its state, and the sizes that hold for every job."""

    noun = "[server]"

    state: PathText = Field(
        default=limits.STATE_DEFAULT,
        examples=["state", "/var/lib/tapeloom"],
        description="Folder of the catalog and the job records; made when it is first needed.",
    )
    block: Block = Field(
        default=limits.BLOCK_BYTES_DEFAULT,
        examples=["512KiB", "1MiB", 262144],
        description="The whole tape block, header included: a multiple of 4KiB from 16KiB to 8MiB.",
    )
    memory: Size = Field(
        default=limits.MEMORY_BYTES_DEFAULT,
        examples=["256MiB", "2GiB"],
        description="All slots of one job together. The process itself takes a little more.",
    )
    spool: PathText | None = Field(
        default=None,
        examples=["/var/spool/tapeloom"],
        description='Folder on a fast disk for what agents with on_lag = "spool" are late with. Default: in `state`.',
    )
    spool_max: Size = Field(
        default=limits.SPOOL_BYTES_DEFAULT,
        examples=["100GB"],
        description="What all agents of one job may have in `spool` at once; an agent that finds it full is detached.",
    )

    export_catalog: bool = Field(
        default=False,
        description="After each backup that wrote something, the catalog itself goes to the tapes that it wrote to.",
    )

    @field_validator("memory")
    @classmethod
    def _holds_two_slots(cls, memory: int, info: ValidationInfo) -> int:
        least = limits.SLOTS_PER_BUFFER_MIN * info.data.get("block", limits.BLOCK_BYTES_MIN)
        if memory < least:
            raise Malformed(
                f"{units.show_bytes(memory)} cannot hold even the two slots of one buffer",
                f"at least {quoted(units.show_bytes(least))}, and as much again for each further stream",
            )
        return memory

    @field_validator("spool_max")
    @classmethod
    def _holds_segments(cls, spool_max: int, info: ValidationInfo) -> int:
        segments, blocks = limits.SPOOL_SEGMENTS_MIN, limits.SPOOL_SEGMENT_BLOCKS_MIN
        least = segments * blocks * info.data.get("block", limits.BLOCK_BYTES_MIN)
        if spool_max < least:
            raise Malformed(
                f"{units.show_bytes(spool_max)} cannot hold {segments} segments of {blocks} blocks",
                f"at least {quoted(units.show_bytes(least))}",
            )
        return spool_max


class DriveForm(Form):
    """A recorder. `R1 = "vtape:tapes/R1"` is short for `device = "vtape:tapes/R1"`."""

    noun = "a drive"
    shorts = ("device",)

    device: Device = Field(
        examples=["vtape:tapes/R1", "/dev/nst0", "vlib:library?bay=0", "null:", "memory:"],
        description='"vtape:FOLDER" (virtual tapes), "/dev/nst0" (a real drive), "vlib:FOLDER?bay=0" (a drive of a '
        'virtual library), "null:", "memory:" (for tests).',
    )
    library: Text | None = Field(
        default=None, examples=["L1"], description="The library from [libraries] that the drive is in."
    )
    bay: int | None = Field(
        default=None,
        ge=0,
        le=limits.BAYS_MAX - 1,
        examples=[0],
        description="Which bay of it, counted from 0: only where the changer does not tell its drives' serial numbers.",
    )
    capacity: SomeBytes | None = Field(default=None, examples=["18TB"], description="What one cartridge holds.")
    rate: Rate | None = Field(
        default=None,
        examples=["400MB/s"],
        description="What the drive is expected to take: from it `tapeloom plan` predicts the bottleneck.",
    )
    locate: Seconds | None = Field(
        default=None,
        examples=["60s"],
        description="What going to another place on a tape takes, on the average: so a restore knows where it pays.",
    )

    @model_validator(mode="after")
    def _has_an_end(self) -> DriveForm:
        if self.capacity is not None and self.device.startswith("null:"):
            raise Malformed("a null device has no end", 'leave out "capacity"')
        return self


class LibraryForm(Form):
    """A changer with its slots and drives. `L1 = "/dev/sg3"` is short for `changer = "/dev/sg3"`."""

    noun = "a library"
    shorts = ("changer",)

    changer: Changer = Field(
        examples=["/dev/sg3", "/dev/tape/by-id/scsi-3500-changer", "vlib:library?drives=2&slots=20&cartridges=10"],
        description='The node of a SCSI medium changer, or "vlib:FOLDER" (a virtual library in a folder).',
    )


class PoolForm(Form):
    """A named set of volumes. `daily = "30d"` is short for `retention = "30d"`."""

    noun = "a pool"
    shorts = ("retention",)

    retention: SomeTime | None = Field(
        default=None,
        examples=["30d", "365d"],
        description="How long an object is kept on volumes of this pool. Default: for ever.",
    )


class LimitForm(Form):
    """A limit in bytes, in time, or in both: what is reached first counts. What is not given keeps its default."""

    noun = "a limit"
    shorts = ("bytes", "time")

    bytes: Size | None = Field(default=None, examples=["64GB"], description="So many bytes.")
    time: Seconds | None = Field(
        default=None, examples=["15min", "30s", 900], description="So much time; a number counts seconds."
    )

    @classmethod
    def short(cls, value: str) -> str:
        return "time" if units.is_duration(value) else "bytes"


class CheckpointForm(LimitForm):
    """How often an agent writes a filemark: what stands before it is safe. After so many bytes or so much time."""

    noun = "a checkpoint"

    @field_validator("bytes", "time")
    @classmethod
    def _is_some(cls, value: float | None) -> float | None:
        if value == 0:
            raise Malformed("a checkpoint after nothing would never end", 'for example "64GB" or "15min"')
        return value


class WritingForm(Form):
    """Settings of an agent that writes; in a group they hold for all its agents."""

    noun = "a group"

    run_blocks: int | None = Field(
        default=None,
        ge=1,
        le=limits.RUN_BLOCKS_MAX,
        examples=[limits.RUN_BLOCKS_DEFAULT],
        description="How many blocks of one object may follow one another on tape: longer runs restore faster.",
    )
    max_restore_cost: float | None = Field(
        default=None,
        ge=1,
        le=1000,
        examples=[1.5],
        description="How many times longer than from one piece restoring one object may take: chooses `run_blocks`.",
    )
    on_lag: OnLag | None = Field(
        default=None,
        description="What becomes of an agent too slow for the others.",
    )
    lag_max: LimitForm | None = Field(
        default=None,
        examples=["60s", "10GB", {"bytes": "10GB", "time": "60s"}],
        description="How far an agent may lag before `on_lag` takes effect; waiting for a cartridge counts.",
    )
    checkpoint: CheckpointForm | None = Field(
        default=None,
        examples=["64GB", {"bytes": "64GB", "time": "15min"}],
        description="How often a filemark makes safe what was written. Default: 64GB or 15min, what comes first.",
    )
    pool: Text | None = Field(
        default=None,
        examples=["daily"],
        description=f'The pool of the volumes that are written: a name from [pools]. Default: "{limits.DEFAULT_POOL}".',
    )

    @model_validator(mode="after")
    def _leaves_the_runs_to_one(self) -> Self:
        if self.run_blocks is not None and self.max_restore_cost is not None:
            raise Malformed("both run_blocks and max_restore_cost say how long runs are", "leave one of them out")
        return self


class BackupAgentForm(WritingForm):
    """A backup media agent: owns one drive and multiplexes its buffers onto it."""

    noun = "a backup media agent"

    drive: Text = Field(examples=["R1"], description="Name of a drive from [drives].")
    buffers: dict[str, Feeds] = Field(
        min_length=1,
        examples=[{"B1": "D1", "B2": ["D2", "D3"]}],
        json_schema_extra=_NAMES,
        description="Buffer = the source that feeds it, or an array of sources, one after another.",
    )


class ChainedAgentForm(WritingForm):
    """A backup media agent of a mirror or copy group: its buffers are chained to other agents' buffers."""

    noun = "a chained media agent"

    drive: Text = Field(examples=["R5"], description="Name of a drive from [drives].")
    buffers: dict[str, Reference] = Field(
        min_length=1,
        examples=[{"B1": "BMA124.B2"}],
        json_schema_extra=_NAMES,
        description='Buffer = "AGENT.BUFFER", the one buffer that feeds it.',
    )


class RestoreAgentForm(Form):
    """A restore media agent: owns one drive and splits what it reads into its buffers."""

    noun = "a restore media agent"

    drive: Text = Field(examples=["R2"], description="Name of a drive from [drives].")
    buffers: dict[str, Restored] = Field(
        min_length=1,
        examples=[{"B1": "D4"}, {"B1": {"source": "D4", "level": "full"}}],
        json_schema_extra=_NAMES,
        description="Buffer = a source (its newest object) or an object id, or an array of these; or a selection.",
    )


class BackupGroupForm(WritingForm):
    """Backup media agents that run together, by name; beside them settings that hold for all."""

    model_config = ConfigDict(extra="allow", json_schema_extra=_NAMES)
    __pydantic_extra__: dict[str, BackupAgentForm]

    level: Level = Field(
        default="full",
        description="What its jobs take: all, what changed since the last object, or since the last full one.",
    )

    def agents(self) -> dict[str, BackupAgentForm]:
        return self.__pydantic_extra__


class ChainedGroupForm(WritingForm):
    """Media agents of one mirror or copy stage, by name; beside them settings that hold for all."""

    model_config = ConfigDict(extra="allow", json_schema_extra=_NAMES)
    __pydantic_extra__: dict[str, ChainedAgentForm]

    def agents(self) -> dict[str, ChainedAgentForm]:
        return self.__pydantic_extra__


class RestoreGroupForm(Form):
    """Restore media agents that run together, by name."""

    noun = "a group"

    model_config = ConfigDict(extra="allow", json_schema_extra=_NAMES)
    __pydantic_extra__: dict[str, RestoreAgentForm]

    def agents(self) -> dict[str, RestoreAgentForm]:
        return self.__pydantic_extra__


AgentForm = BackupAgentForm | ChainedAgentForm | RestoreAgentForm
GroupForm = BackupGroupForm | ChainedGroupForm | RestoreGroupForm


class ConfigForm(Form):
    """The configuration of tapeloom."""

    model_config = ConfigDict(title="tapeloom.toml")
    noun = "the configuration"

    server: ServerForm = Field(default=ServerForm(), description="State, block size and memory.")
    drives: dict[str, DriveForm] = Field(min_length=1, json_schema_extra=_NAMES, description="The recorders, by name.")
    libraries: dict[str, LibraryForm] = Field(
        default={}, json_schema_extra=_NAMES, description="Changers that serve the drives that stand in them, by name."
    )
    sources: dict[str, SourceForm] = Field(
        default={}, json_schema_extra=_SOURCE_NAMES, description="What is backed up, by name."
    )
    pools: dict[str, PoolForm] = Field(
        default={}, json_schema_extra=_NAMES, description="Sets of volumes, by name, and how long they keep objects."
    )
    keys: dict[str, PathText] = Field(
        default={}, json_schema_extra=_NAMES, description="Key files, by name, for sources that are encrypted."
    )
    backup: dict[str, BackupGroupForm] = Field(
        default={},
        json_schema_extra=_NAMES,
        description="[backup.GROUP.AGENT]: agents that write what sources feed them.",
    )
    mirror: dict[str, ChainedGroupForm] = Field(
        default={},
        json_schema_extra=_NAMES,
        description="[mirror.STAGE.AGENT]: agents chained to the buffers of backup or mirror agents.",
    )
    restore: dict[str, RestoreGroupForm] = Field(
        default={},
        json_schema_extra=_NAMES,
        description="[restore.GROUP.AGENT]: agents that read objects from volumes.",
    )
    copy_: dict[str, ChainedGroupForm] = Field(
        default={},
        alias="copy",
        json_schema_extra=_NAMES,
        description="[copy.STAGE.AGENT]: agents chained to the buffers of restore or copy agents.",
    )
