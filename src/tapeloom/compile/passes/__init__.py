"""How many passes over some volumes unweave their objects, each contiguous on its target, and what happens in each.

(Passes of a tape; those of the compiler stand in `tapeloom.compile`.)

On a target nothing may stand between the blocks of an object. So a target takes one object at a time straight from the
tape; what is read of others either waits in a spool or is left for another pass. `plan_passes` finds the fewest passes,
and among those the fastest, for so many targets and a spool of so many bytes.

::

    records    the plan
    weave      how objects lie among one another
    course     one pass: who goes straight, who waits
    share      which objects are taken in which pass
    stretches  what a pass reads, and how long that takes
"""

from __future__ import annotations

from tapeloom.compile.passes.make import plan_passes
from tapeloom.compile.passes.records import Pass, PassPlan, Place, SourceVolume, Stretch, Visit, Way

__all__ = ["Pass", "PassPlan", "Place", "SourceVolume", "Stretch", "Visit", "Way", "plan_passes"]
