"""What runs in a drive's own process: see `tapeloom.device.aside`, which starts it and is the only one to call it.

Two threads: one makes the table's calls, in C, and may hang in one; this one hears the socket. When that ends, the
process ends, whatever the other thread is doing: who asked is gone, or has no more to ask.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
from typing import Any

from tapeloom._devio import ffi, lib
from tapeloom.device.contract import Device
from tapeloom.device.native import owned
from tapeloom.device.spec import open_drive
from tapeloom.errors import DeviceError, TapeloomError
from tapeloom.softdrive import Trouble

_MESSAGE_BYTES_MAX = 128 * 1024
_DESCRIPTORS_MAX = 3

_TABLES = {"st": (lib.tl_st_ops, lib.tl_st_new, lib.tl_st_free)}
"""Bare tables: their table, and what makes and frees a handle."""
_CALLS = frozenset(
    ("call_it", "cartridges", "changes", "close", "load", "new_cartridge", "protect", "release_hang", "unload")
) | {"wait_hang"}
"""What a drive of `open_drive` is asked by name, beside its table."""
_FACTS = ("block_bytes_direct_max", "block_bytes_max", "fed_by_hand", "keeps", "loaded", "makes_cartridges")
"""What it is, and what is in it: told along with every answer."""


def main(fd: str) -> None:
    """Serves one drive over a socket; never comes back."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # meant for the job, which ends its drives in order
    status = 1
    try:
        if _serve(socket.socket(fileno=int(fd))):
            status = 0
    finally:
        os._exit(status)


def _serve(asking: socket.socket) -> bool:
    """Until the socket ends. False: the drive could not be opened."""
    told, (memory, request, answer), _, _ = socket.recv_fds(asking, _MESSAGE_BYTES_MAX, _DESCRIPTORS_MAX)
    first = json.loads(told)
    sys.orig_argv[:] = first["as"]  # who holds the drive, for those who ask for it meanwhile
    trouble = first["serve"].pop("trouble")
    if trouble is not None and trouble["hang_open"]:
        asking.recv(1)  # nobody says more before he has his answer: here is where he is gone
        return False
    try:
        server = _Server(first["serve"], Trouble(**trouble) if trouble else None)
        served = lib.tl_served_new(memory, request, answer)
        os.close(memory)
        if not served:
            raise DeviceError(f"drive {first['drive']}: {os.strerror(ffi.errno)}", errno=ffi.errno)
    except TapeloomError as error:
        asking.send(_told({"error": _raised(error)}))
        return False
    threading.Thread(target=_answer, args=(served, server), daemon=True).start()
    asking.send(_told({"facts": server.facts()}))
    while True:
        told, fds, _, _ = socket.recv_fds(asking, _MESSAGE_BYTES_MAX, _DESCRIPTORS_MAX)
        if not told:
            return True
        message = json.loads(told)
        try:
            value = _do(message["do"], message["with"], fds, served, server)
            reply = {"value": value, "facts": server.facts()}
        except TapeloomError as error:
            reply = {"error": _raised(error), "facts": server.facts()}
        asking.send(_told(reply))


class _Server:
    """The drive that is served: one of `open_drive`, or a bare table of csrc/device.h."""

    def __init__(self, serves: dict[str, Any], trouble: Trouble | None):
        self.device: Device | None = None
        if "table" in serves:
            table, make, free = _TABLES[serves["table"]]
            self.ops = table()
            self._made = owned(make(), free)
            self.handle = ffi.cast("void *", self._made)
            return
        self.device = open_drive(**serves, trouble=trouble, aside=False)
        self.ops = ffi.cast("struct tl_device_ops *", self.device.ops_address)
        self.handle = ffi.cast("void *", self.device.handle_address)

    def facts(self) -> dict[str, Any]:
        """What may be asked when the process is gone, or busy."""
        facts: dict[str, Any] = {"batch_max": self.ops.batch_max}
        if self.device is not None:
            facts |= {name: getattr(self.device, name) for name in _FACTS}
        return facts


def _answer(served: Any, server: _Server) -> None:
    """A thread's body: comes back only where the system fails."""
    lib.tl_served_run(served, server.ops, server.handle)
    os._exit(1)


def _do(what: str, arguments: list[Any], fds: list[int], served: Any, server: _Server) -> Any:
    if what == "map":
        region = lib.tl_served_map(served, fds[0], 0, arguments[0])
        os.close(fds[0])
        if region < 0:
            raise DeviceError(f"the memory of a job cannot be shared ({os.strerror(-1 - region)})", errno=-1 - region)
        return region
    if what == "unmap":
        return lib.tl_served_unmap(served, arguments[0])
    if what == "write_protected":
        return server.device.write_protected  # type: ignore[union-attr]
    assert what in _CALLS, what
    return getattr(server.device, what)(*arguments)


def _told(message: dict[str, Any]) -> bytes:
    return json.dumps(message).encode()


def _raised(error: TapeloomError) -> dict[str, Any]:
    numbers = {"status": int(error.status), "errno": error.errno} if isinstance(error, DeviceError) else {}
    return {"kind": type(error).__name__, "text": str(error), "numbers": numbers}
