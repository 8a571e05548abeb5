"""A power cut at chosen moments: a child process that is killed with SIGKILL, right before a call or right after it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from tapeloom.catalog import Catalog
from tapeloom.catalog.ledger import JobLedger
from tapeloom.device.native import NativeDrive
from tapeloom.device.virtual import VirtualDrive
from tapeloom.runtime.unweaving import WaitingTape
from tapeloom.volume.writer import VolumeWriter

MOMENTS: dict[str, tuple[type, str]] = {
    "the job is entered": (Catalog, "begin_job"),
    "an object is entered": (Catalog, "add_object"),
    "an object's end is entered": (Catalog, "object_ended"),
    "a volume is entered": (Catalog, "add_volume"),
    "a label is entered": (Catalog, "labelled"),
    "an append is entered": (Catalog, "append_begins"),
    "a receipt is entered": (Catalog, "receipt"),
    "an append's end is entered": (Catalog, "append_ends"),
    "a volume is full": (JobLedger, "volume_full"),
    "the job's end is entered": (Catalog, "finish_job"),
    "a record is written": (NativeDrive, "write"),
    "a filemark is written": (NativeDrive, "write_filemarks"),
    "blocks are written": (VolumeWriter, "wrote"),
    "a cartridge is made": (VirtualDrive, "new_cartridge"),
    "a cartridge is put in": (VirtualDrive, "load"),
    "a cartridge is taken out": (VirtualDrive, "unload"),
}
OF_COPYING: dict[str, tuple[type, str]] = {
    "a copy is entered": (Catalog, "add_copy"),
    "volumes go out of use": (Catalog, "put_out_of_use"),
    "blocks wait": (WaitingTape, "wrote"),
}


def kill_at(moment: str, number: int, after: bool) -> None:
    """From now on the `number`th time of that kills this process, right before it or right after."""
    kind, name = (MOMENTS | OF_COPYING)[moment]
    real: Callable = getattr(kind, name)
    left = [number]

    def method(self, *arguments, **more):
        left[0] -= 1
        now = left[0] == 0
        if now and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = real(self, *arguments, **more)
        if now:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(kind, name, method)


def dies(run: Callable[[], int], moment: str, number: int, after: bool) -> bool:
    """Runs it in a child process. False: it came to its end, with status 0, before the moment did."""
    child = os.fork()
    if child == 0:
        status = 70
        try:
            kill_at(moment, number, after)
            status = run()
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0
    return False
