"""What became of a job."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from tapeloom.runtime.media import AgentResult, Ending
from tapeloom.runtime.objects import JobObject

if TYPE_CHECKING:
    from tapeloom.runtime.splitting import ReadResult


class JobResult(Struct, frozen=True):
    """What became of everything: `agents` are those that write to a drive, `readers` those that read from one."""

    objects: list[JobObject]
    agents: list[AgentResult]
    readers: list[ReadResult]
    stopped: bool
    seconds: float

    @property
    def well(self) -> bool:
        """Nothing failed, nothing was detached, no file was left out."""
        return (
            not self.stopped
            and all(result.ending is Ending.COMPLETE for result in self.agents)
            and all(result.ending is Ending.COMPLETE and not result.left for result in self.readers)
            and all(item.state == "complete" and not item.troubles for item in self.objects)
        )
