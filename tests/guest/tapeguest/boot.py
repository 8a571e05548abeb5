"""Starts a guest and ends it, and runs commands in it."""

from __future__ import annotations

import os
import select
import shlex
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tapeguest.control import VARIABLE, Control
from tapeguest.initramfs import Initramfs
from tapeguest.kernel import Kernel
from tapeguest.packages import QEMU, fetch, file_server
from tapeguest.target.iscsi import NAME

if TYPE_CHECKING:
    from typing import Self

ROOT = Path(__file__).parents[3]
HERE = Path(__file__).parent
MODULES = ("virtio_pci", "virtiofs", "overlay", "st", "sg", "ch", "virtio_scsi")
BOOT_SECONDS = 90
MIB = 1 << 20


class GuestError(Exception):
    """A guest that did not start, or a command in it that did not end in time; with the last lines that were said."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What a guest has.

    Attributes
    ----------
    capacity, early_warning : bytes of each cartridge; bytes before its end from which on the drive warns.
    block_bytes_max : the longest block that the drives take.
    """

    drives: int = 2
    tapes: int = 5
    changer: bool = False
    capacity: int = 64 * MIB
    early_warning: int = 4 * MIB
    block_bytes_max: int = 8 * MIB
    processors: int = 1
    memory_mib: int = 1024


@dataclass(frozen=True, slots=True)
class Result:
    """How a command ended: its exit status, what it said on standard output and error, and for how long it ran."""

    status: int
    output: str
    seconds: float


class Running:
    """A command that was started in a guest."""

    def __init__(self, guest: Guest, number: int, command: str, output: Path) -> None:
        self._guest, self._number, self._command, self._output = guest, number, command, output
        self._start = time.monotonic()

    def output(self) -> str:
        """What it has said so far."""
        return self._output.read_text(errors="replace") if self._output.exists() else ""

    def wait(self, timeout: float = 120) -> Result:
        """Raises GuestError if it does not end within `timeout` seconds; the guest is over then."""
        number, status = "0", ""
        try:
            while int(number) != self._number:  # those that nobody waited for end first
                number, status = self._guest._read_line(timeout).split()
        except GuestError as error:
            raise GuestError(f"{self._command}: {error}\n{self.output()[-4000:]}") from None
        return Result(int(status), self.output(), time.monotonic() - self._start)


class Guest:
    """A running guest: use it in a `with` block. One command at a time.

    Parameters
    ----------
    folder : shared with the guest, at the same path there. All else of this machine's files can be read there too; what
        is written to them stays in the guest's memory.

    Raises
    ------
    Unavailable : this machine cannot run one.
    GuestError : it did not start.
    """

    def __init__(self, folder: Path, shape: Shape | None = None) -> None:
        self.folder = folder.resolve()
        self.shape = shape or Shape()
        self.drives = [f"/dev/nst{number}" for number in range(self.shape.drives)]
        self._own = self.folder / ".guest"
        self._own.mkdir(parents=True)
        self._count = 0
        self._packages = fetch()
        self.control = Control(self._own)
        with ExitStack() as stack:
            self._qemu = self._start(stack)
            if (word := self._read_line(BOOT_SECONDS)) != "ready":
                raise GuestError(f"the guest said {word!r} where it had to be ready\n{self.console()}")
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the guest and all that was started for it, whatever it is doing. May be called again."""
        self._stack.close()

    @property
    def alive(self) -> bool:
        return self._qemu.poll() is None

    def start(self, command: str | Sequence[str], env: Mapping[str, str] | None = None) -> Running:
        """Starts a command (a string goes through a shell), in the checkout's folder, as root."""
        line = command if isinstance(command, str) else shlex.join(command)
        self._count += 1
        variables = self._environment() | dict(env or {})
        exports = "\n".join(f"export {name}={shlex.quote(value)}" for name, value in variables.items())
        (self._own / f"{self._count}.sh").write_text(f"{exports}\ncd {shlex.quote(str(ROOT))}\n{line}\n")
        assert self._qemu.stdin is not None
        self._qemu.stdin.write(b"%d\n" % self._count)
        self._qemu.stdin.flush()
        return Running(self, self._count, line, self._own / f"{self._count}.out")

    def run(
        self, command: str | Sequence[str], *, timeout: float = 120, env: Mapping[str, str] | None = None
    ) -> Result:
        """Runs a command to its end. GuestError: it takes longer than `timeout` seconds."""
        return self.start(command, env).wait(timeout)

    def python(self, *arguments: str, timeout: float = 120, env: Mapping[str, str] | None = None) -> Result:
        """Runs this interpreter, which finds tapeloom and `tapeguest`."""
        return self.run([sys.executable, *arguments], timeout=timeout, env=env)

    def console(self) -> str:
        """The last lines of the kernel."""
        path = self._own / "console"
        return path.read_text(errors="replace")[-2000:] if path.exists() else ""

    def _environment(self) -> dict[str, str]:
        root = self._packages
        tools = [Path(sys.executable).parent, root / "bin", root / "sbin", root / "usr/bin", root / "usr/sbin"]
        return {
            "PATH": ":".join(
                [*map(str, tools), "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
            ),
            "LD_LIBRARY_PATH": str(root / "usr/lib/x86_64-linux-gnu"),
            "HOME": "/root",
            "LANG": "C.UTF-8",
            "PYTHONPATH": f"{ROOT / 'src'}:{HERE.parent}",
            "PYTHONDONTWRITEBYTECODE": "1",
            VARIABLE: str(self._own),
        }

    # Starting

    def _start(self, stack: ExitStack) -> subprocess.Popen[bytes]:
        log = stack.enter_context((self._own / "log").open("wb"))
        port = self._start_target(stack, log.fileno())
        host = self._share(stack, log.fileno(), Path("/"), cache="always")
        shared = self._share(stack, log.fileno(), self.folder, cache="auto")
        (self._own / "initramfs").write_bytes(self._initramfs())
        command = [
            QEMU,
            *self._machine(),
            *self._files("guest-host", host),
            *self._files("guest-shared", shared),
            *self._units(port),
        ]
        libraries = self._packages / "usr/lib/x86_64-linux-gnu"
        environment = {"QEMU_MODULE_DIR": str(libraries / "qemu"), "LD_LIBRARY_PATH": str(libraries)}
        pipe = subprocess.PIPE
        return stack.enter_context(_child(command, stdin=pipe, stdout=pipe, stderr=log, env=os.environ | environment))

    def _start_target(self, stack: ExitStack, log: int) -> int:
        """The port that the target listens on."""
        shape = self.shape
        with socket.create_server(("127.0.0.1", 0)) as listener:
            command = [sys.executable, "-m", "tapeguest.target"]
            command += [f"--socket={listener.fileno()}", f"--requests={self._own}"]
            command += [f"--drives={shape.drives}", f"--tapes={shape.tapes}", f"--capacity={shape.capacity}"]
            command += [f"--early-warning={shape.early_warning}", f"--block-bytes-max={shape.block_bytes_max}"]
            command += ["--changer"] * shape.changer
            environment = os.environ | {"PYTHONPATH": str(HERE.parent)}
            stack.enter_context(_child(command, stdout=log, stderr=log, env=environment, pass_fds=[listener.fileno()]))
            return listener.getsockname()[1]

    def _share(self, stack: ExitStack, log: int, folder: Path, cache: str) -> str:
        """The abstract socket at which QEMU finds this folder."""
        name = f"tapeguest-{uuid.uuid4().hex}"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(f"\0{name}")
            listener.listen(1)
            command = [file_server(), f"--fd={listener.fileno()}", "-o", f"source={folder}"]
            command += ["-o", f"cache={cache}", "-o", "sandbox=chroot"]
            stack.enter_context(_child(command, stdout=log, stderr=log, pass_fds=[listener.fileno()]))
        return name

    def _machine(self) -> list[str]:
        shape = self.shape
        memory = f"memory-backend-memfd,id=memory,size={shape.memory_mib}M,share=on"
        words = "console=ttyS0 panic=-1 quiet loglevel=4 mitigations=off nokaslr audit=0 no_timer_check"
        return [
            *("-M", "pc", "-accel", "tcg,thread=multi,tb-size=512", "-cpu", "max"),
            *("-smp", str(shape.processors), "-m", str(shape.memory_mib)),
            *("-object", memory, "-numa", "node,memdev=memory"),
            *("-nodefaults", "-no-reboot", "-display", "none", "-vga", "none", "-monitor", "none"),
            *("-serial", f"file:{self._own / 'console'}"),
            *("-chardev", "stdio,id=agent,signal=off", "-serial", "chardev:agent"),
            *("-kernel", str(Kernel(self._packages).image), "-initrd", str(self._own / "initramfs")),
            *("-append", words),
        ]

    def _files(self, tag: str, name: str) -> list[str]:
        return [
            *("-chardev", f"socket,id={tag},path={name},abstract=on"),
            *("-device", f"vhost-user-fs-pci,chardev={tag},tag={tag}"),
        ]

    def _units(self, port: int) -> list[str]:
        words = ["-device", "virtio-scsi-pci,id=scsi"]
        for lun in range(self.shape.drives + self.shape.changer):
            words += ["-drive", f"file=iscsi://127.0.0.1:{port}/{NAME}/{lun},if=none,id=unit{lun},format=raw"]
            words += ["-device", f"scsi-generic,drive=unit{lun},bus=scsi.0,scsi-id={lun},lun=0"]
        return words

    def _initramfs(self) -> bytes:
        archive = Initramfs()
        for folder in ("proc", "sys", "dev", "host", "layer", "root"):
            archive.folder(folder)
        archive.character_device("dev/console", 5, 1)
        archive.file("bin/busybox", (self._packages / "bin/busybox").read_bytes(), executable=True)
        modules = Kernel(self._packages).modules(MODULES)
        for name, content in modules.items():
            archive.file(f"modules/{name}.ko", content)
        archive.file("modules/order", "".join(f"{name}\n" for name in modules).encode())
        archive.file("init", (HERE / "init").read_bytes(), executable=True)
        archive.file("agent", (HERE / "agent").read_bytes())
        archive.file("shared", f"{self.folder}\n".encode())
        return archive.content()

    def _read_line(self, timeout: float) -> str:
        """The agent's next word."""
        assert self._qemu.stdout is not None
        until, line = time.monotonic() + timeout, b""
        while not line.endswith(b"\n"):
            if not select.select([self._qemu.stdout], [], [], max(0, until - time.monotonic()))[0]:
                self._qemu.kill()
                raise GuestError(f"it has not ended within {timeout:g} seconds\n{self.console()}")
            piece = os.read(self._qemu.stdout.fileno(), 1)
            if not piece:
                log = (self._own / "log").read_text(errors="replace")
                raise GuestError(f"the guest is gone\n{self.console()}{log[-2000:]}")
            line += piece
        return line.decode().strip()


@contextmanager
def _child(command: Sequence[str], **how: object) -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends with this block, and with this process whatever becomes of it."""
    process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *command], **how)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()
