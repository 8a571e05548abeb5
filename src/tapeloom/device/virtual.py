"""The virtual tape drive: "vtape:DIR", a folder with a stack of cartridges, each NAME.tape and NAME.index."""

from __future__ import annotations

import errno
import os
from contextlib import ExitStack
from pathlib import Path

from tapeloom._devio import lib
from tapeloom.device.contract import Status, failure
from tapeloom.device.reserve import LOCK_FILE, Reservation
from tapeloom.device.tape import Medium, TapeDrive, check_cartridge_name, format_index
from tapeloom.errors import DeviceError, UsageError
from tapeloom.softdrive import Model, Trouble

_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW


class VirtualDrive(TapeDrive):
    """See `device.open_drive`. The folder is made where it is missing."""

    kind = "vtape"
    lock_file = LOCK_FILE
    """What in the folder says that the drive is somebody's."""

    def __init__(
        self,
        folder: Path,
        *,
        name: str,
        capacity: int | None = None,
        early_warning: int | None = None,
        trouble: Trouble | None = None,
        model: Model | None = None,
    ) -> None:
        with ExitStack() as undo:
            try:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # a tape holds what only root may read
                self._folder = os.open(folder, os.O_DIRECTORY | os.O_CLOEXEC)
                undo.callback(os.close, self._folder)
                self._reservation = Reservation(self._folder, f"drive {name} ({self.kind}:{folder})", self.lock_file)
                undo.callback(self._reservation.release)
            except OSError as error:
                raise DeviceError(
                    f"drive {name}: its folder {folder} cannot be used ({error.strerror})", errno=error.errno or 0
                ) from error
            super().__init__(
                name,
                f"{self.kind}:{folder}",
                capacity=capacity,
                early_warning=early_warning,
                trouble=trouble,
                model=model,
            )
            undo.pop_all()

    def cartridges(self) -> list[str]:
        self._open_handle()
        files = set(os.listdir(self._folder))
        names = (file.removesuffix(".index") for file in files if file.endswith(".index"))
        return sorted(name for name in names if f"{name}.tape" in files)

    def new_cartridge(self, name: str) -> None:
        self._open_handle()
        check_cartridge_name(name)
        what = f"drive {self.name}: new cartridge {name}"
        if name in self.cartridges():
            raise UsageError(f"{what}: there is one of that name")
        make_cartridge(self._folder, name, what)

    def protect(self, cartridge: str, on: bool = True) -> None:
        """Sets or clears the write-protect flag of a cartridge that is not loaded. It binds root, whom modes do not."""
        self._open_handle()
        what = f"drive {self.name}, cartridge {self._known(cartridge)}: protect"
        if cartridge == self.loaded:
            raise UsageError(f"{what}: it is loaded; unload it first")
        try:
            index = os.open(f"{cartridge}.index", os.O_RDWR | _FLAGS, dir_fd=self._folder)
        except OSError as error:
            raise _translated(error, what) from error
        try:
            failed = lib.tl_vtape_protect(index, on)
            if failed:
                raise failure(Status.ERR_IO, what, failed)
        finally:
            os.close(index)

    def _open_medium(self, cartridge: str) -> Medium:
        what = f"drive {self.name}, cartridge {cartridge}: load"
        try:
            modes = [os.stat(f"{cartridge}.{part}", dir_fd=self._folder).st_mode for part in ("tape", "index")]
            if all(mode & 0o222 for mode in modes):
                try:
                    return self._open_pair(cartridge, os.O_RDWR)
                except OSError as error:
                    if error.errno not in (errno.EACCES, errno.EROFS):
                        raise
            return self._open_pair(cartridge, os.O_RDONLY)
        except OSError as error:
            raise _translated(error, what) from error

    def _open_pair(self, cartridge: str, access: int) -> Medium:
        index = os.open(f"{cartridge}.index", access | _FLAGS, dir_fd=self._folder)
        try:
            data, direct = self._open_data(f"{cartridge}.tape", access)
        except BaseException:
            os.close(index)
            raise
        return Medium(data, index, writable=access == os.O_RDWR, direct=direct)

    def _open_data(self, file: str, access: int) -> tuple[int, bool]:
        """The data file, with O_DIRECT unless its file system refuses that."""
        try:
            data = os.open(file, access | os.O_DIRECT | _FLAGS, dir_fd=self._folder)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
        else:
            if lib.tl_vtape_takes_direct(data):
                return data, True
            os.close(data)
        return os.open(file, access | _FLAGS, dir_fd=self._folder), False

    def _shut_medium(self, medium: Medium) -> None:
        os.close(medium.data_fd)
        os.close(medium.index_fd)

    def _let_go(self) -> None:
        self._reservation.release()
        os.close(self._folder)


def make_cartridge(folder_fd: int, name: str, what: str) -> None:
    """A blank cartridge in a folder. The index appears last, in one step: what was interrupted is no cartridge, and can
    be made again."""
    unfinished = f".{name}.index"
    try:
        data = os.open(f"{name}.tape", os.O_RDWR | os.O_CREAT | _FLAGS, 0o600, dir_fd=folder_fd)
        try:
            if os.fstat(data).st_size > 0:
                raise UsageError(f"{what}: {name}.tape has data but no {name}.index; move it out of the way")
        finally:
            os.close(data)
        index = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_TRUNC | _FLAGS, 0o600, dir_fd=folder_fd)
        try:
            format_index(index, what)
        finally:
            os.close(index)
        os.rename(unfinished, f"{name}.index", src_dir_fd=folder_fd, dst_dir_fd=folder_fd)
        os.fsync(folder_fd)
    except OSError as error:
        raise _translated(error, what) from error


def _translated(error: OSError, what: str) -> DeviceError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return failure(Status.ERR_HOST_FULL if full else Status.ERR_IO, what, error.errno or 0)
