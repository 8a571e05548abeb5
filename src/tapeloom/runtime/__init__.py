"""Running a frozen schedule.

Handed a `Schedule`, open tapes and sources; knows nothing of configuration files or graphs.

=========  =====================================================================================
arena      the job's shared memory, laid out from the schedule
objects    what the job writes, numbered: ids, ends, troubles
stream     one thread a stream: its sources, one after another, into slots
media      one thread a media agent: turns of the kernel's loop, checkpoints, volumes
digest     one thread a digest: reads along
drives     those in processes of their own: memory shared with them, and they abandoned where they hang
lag        who holds the others up, and when that is enough
spool      an agent that lags goes on from disk
segments   where blocks stand on volumes, and what can be wrong with them
splitting  one thread a restore media agent: volumes in passes, blocks to the streams of their objects
unweaving  a pass of a demultiplexing: from tape, and from what waits
reading    one object off its copies
sequence   what a reader gets of an object, and its end
result     what became of it
job        all of it together, from the first thread to the last word
=========  =====================================================================================
"""

from tapeloom.runtime.job import Job
from tapeloom.runtime.media import AgentResult, Ending, Tape
from tapeloom.runtime.objects import JobObject, Listener, Objects, State
from tapeloom.runtime.result import JobResult
from tapeloom.runtime.stream import Source

__all__ = ["AgentResult", "Ending", "Job", "JobObject", "JobResult", "Listener", "Objects", "Source", "State", "Tape"]
