"""The part that all drives share: calling the table of functions of csrc/device.h."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import TYPE_CHECKING, Any

from tapeloom._devio import ffi, lib
from tapeloom.device.contract import Position, Status, failure
from tapeloom.device.model import ModelCounts, Modelled
from tapeloom.errors import DeviceError, UsageError
from tapeloom.softdrive import HANGS_ALONE, Model, Trouble

if TYPE_CHECKING:
    from typing import Self

    from typing_extensions import Buffer

    from tapeloom.device.aside import Aside
    from tapeloom.health import Health

_U64_MAX = 2**64 - 1


def owned(made: Any, free: Any) -> Any:
    """Memory from C that lives as long as something refers to it: a call that comes back late still finds it."""
    if not made:
        raise MemoryError
    return ffi.gc(made, free)


class NativeDrive(ABC):
    """A `Device` over a table and a handle; a subclass knows its cartridges.

    `model` puts a table around the first, and `trouble` another around that, which every call goes through, the
    kernel's too. `bytes_before` names the function of the drive that a model asks.
    """

    makes_cartridges = False
    fed_by_hand = False
    aside: Aside | None = None

    def __init__(
        self,
        name: str,
        spec: str,
        ops: Any,
        handle: Any,
        trouble: Trouble | None = None,
        *,
        model: Model | None = None,
        bytes_before: str = "",
    ) -> None:
        self._closed = False
        self.name = name
        self.spec = spec
        self._owned = handle
        self._ops, self._handle = ops, ffi.cast("void *", handle)
        self._model = None
        if model is not None:
            self._model = Modelled(model, self._ops, self._handle, bytes_before)
            self._ops, self._handle = self._model.ops, self._model.handle
        self._trouble = None
        if trouble is not None:
            if trouble.hang_open and self.aside is None:
                raise UsageError(f"drive {name}: {HANGS_ALONE}")
            read_at = _U64_MAX if trouble.fail_read_at is None else trouble.fail_read_at
            counts = (trouble.fail_write, trouble.late_write, trouble.hang_write, trouble.fail_filemark, read_at)
            made = lib.tl_trouble_new(self._ops, self._handle, ffi.new("struct tl_trouble_plan *", counts))
            self._trouble = owned(made, lib.tl_trouble_free)
            self._ops, self._handle = lib.tl_trouble_ops(), ffi.cast("void *", self._trouble)

    @abstractmethod
    def cartridges(self) -> list[str]: ...

    @abstractmethod
    def new_cartridge(self, name: str) -> None: ...

    @abstractmethod
    def load(self, cartridge: str | None = None) -> None: ...

    @abstractmethod
    def unload(self) -> None: ...

    @property
    @abstractmethod
    def loaded(self) -> str | None: ...

    @property
    @abstractmethod
    def write_protected(self) -> bool: ...

    @property
    def write_once(self) -> bool:
        return False

    @abstractmethod
    def _let_go(self) -> None:
        """Lets go of what other processes could want; called once, with nothing loaded."""

    def _leave(self) -> None:
        """What `close` does first, with the cartridge."""
        self.unload()

    def call_it(self, name: str) -> None:
        if self.loaded is None:
            raise failure(Status.ERR_NO_MEDIUM, f"drive {self.name}")
        if name != self.loaded:
            raise UsageError(f"drive {self.name}: the cartridge in it is called {self.loaded}, not {name}")

    def changes(self) -> object:
        return tuple(self.cartridges())

    @property
    def simulated_seconds(self) -> float | None:
        return self._model.seconds if self._model and self._model.model.simulated else None

    def model_counts(self) -> ModelCounts | None:
        return self._model.counts() if self._model else None

    def health(self, *, alerts: bool = True) -> Health | None:
        return None

    @property
    def keeps(self) -> bool:
        return True

    @property
    def block_bytes_max(self) -> int:
        return int(lib.TL_VTAPE_BLOCK_BYTES_MAX)

    @property
    def block_bytes_direct_max(self) -> int:
        return self.block_bytes_max

    @property
    def ops_address(self) -> int:
        return int(ffi.cast("uintptr_t", self._ops))

    @property
    def handle_address(self) -> int:
        return int(ffi.cast("uintptr_t", self._open_handle()))

    def write(self, block: Buffer) -> bool:
        with ffi.from_buffer(block) as data:
            vec = ffi.new("struct tl_vec *", (data, len(data), len(data)))
            return self._call("write", lib.tl_write, vec, 1, ffi.new("uint32_t *")) is Status.EARLY_WARNING

    def read_into(self, buffer: Buffer) -> int:
        with ffi.from_buffer(buffer, require_writable=True) as room:
            vec = ffi.new("struct tl_vec *", (room, len(room), len(room)))
            status = self._call("read", lib.tl_read, vec, 1, ffi.new("uint32_t *"))
            return 0 if status is Status.FILEMARK else int(vec.bytes)

    def write_filemarks(self, count: int = 1) -> None:
        self._call("write filemark", lib.tl_write_filemarks, count)

    def rewind(self) -> None:
        self._call("rewind", lib.tl_rewind)

    def locate(self, position: int) -> None:
        self._call(f"locate {position}", lib.tl_locate, position)

    def to_end_of_data(self) -> None:
        self._call("to end of data", lib.tl_to_end_of_data)

    def space_filemarks(self, count: int) -> Status:
        return self._call(f"space {count} filemarks", lib.tl_space_filemarks, count)

    def space_blocks(self, count: int) -> Status:
        return self._call(f"space {count} blocks", lib.tl_space_blocks, count)

    def position(self) -> Position:
        here = ffi.new("struct tl_position *")
        self._call("position", lib.tl_position, here)
        file, end = (None if number == _U64_MAX else int(number) for number in (here.file, here.end_of_data))
        return Position(here.position, file, end)

    def release_hang(self) -> None:
        if self._trouble:
            lib.tl_trouble_release(self._trouble)

    def wait_hang(self, seconds: float) -> bool:
        """Waits until a write hangs on purpose; False: none does after so long."""
        return bool(self._trouble and lib.tl_trouble_wait_hang(self._trouble, int(seconds * 1000)))

    def close(self) -> None:
        if self._closed:
            return
        if self._trouble:
            lib.tl_trouble_abandon(self._trouble)
        ended = self.aside is not None and self.aside.ended is not None  # and the kernel has closed the drive
        try:
            if not ended:
                self._leave()
        finally:
            self._closed = True
            try:
                self._let_go()
            finally:
                if self.aside is not None:
                    self.aside.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open_handle(self) -> Any:
        if self._closed:
            raise UsageError(f"drive {self.name}: it is closed; open it again")
        return self._handle

    def _call(self, what: str, function: Any, *arguments: Any) -> Status:
        """Calls one function of the table. Returns the good outcomes, raises the others."""
        handle = self._open_handle()
        status = function(self._ops, handle, *arguments)
        if status in (Status.END_OF_DATA, Status.END_OF_MEDIUM) or status >= Status.ERR_IO:
            raise self._failure(status, what, handle)
        return Status(status)

    def failure(self, status: int, what: str) -> DeviceError:
        """The exception for a status that the kernel got from `ops_address` while it did `what`."""
        return self._failure(status, what, self._open_handle())

    def _failure(self, status: int, what: str, handle: Any) -> DeviceError:
        place = self._place(what)
        ended = self.aside.failure(place) if self.aside is not None else None
        return ended or failure(status, place, lib.tl_last_errno(self._ops, handle))

    def _place(self, what: str) -> str:
        cartridge = f", cartridge {self.loaded}" if self.loaded else ""
        return f"drive {self.name}{cartridge}: {what}"
