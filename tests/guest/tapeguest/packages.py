"""What the guest is made of, besides QEMU: Debian packages, downloaded by apt-get and unpacked, not installed."""

from __future__ import annotations

import fcntl
import os
import platform
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

CACHE = Path(__file__).parents[3] / "build" / "guest"

WANTED = {
    "busybox-static": None,
    "linux-image-cloud-amd64": r"linux-image-\d",
    "lsscsi": None,
    "mt-st": None,
    "mtx": None,
    "qemu-block-extra": r"libiscsi\d",
    "sg3-utils": r"libsgutils",
}
"""Packages, and which of their dependencies are needed too."""

QEMU = "qemu-system-x86_64"
FILE_SERVERS = ("/usr/lib/qemu/virtiofsd", "/usr/libexec/virtiofsd", "/usr/lib/virtiofsd")


class Unavailable(Exception):
    """This machine has not what a guest needs: one sentence that says what."""


def check_machine() -> None:
    """Raises Unavailable where a guest cannot be started."""
    if platform.machine() != "x86_64":
        raise Unavailable("a guest runs this machine's programs on an x86-64 kernel, and this is another machine")
    if shutil.which(QEMU) is None:
        raise Unavailable("QEMU is not installed; apt-get install --no-install-recommends qemu-system-x86")
    if os.geteuid() != 0:
        raise Unavailable("only root can share this machine's files with a guest")
    file_server()


def file_server() -> str:
    """The virtiofsd of this machine."""
    for path in FILE_SERVERS:
        if os.access(path, os.X_OK):
            return path
    raise Unavailable("virtiofsd is not installed; it is in Debian's package virtiofsd or qemu-system-common")


def fetch() -> Path:
    """The folder that the packages are unpacked in; the first call downloads them, some 30 MB. Raises Unavailable."""
    check_machine()
    version = _qemu_version()
    there = CACHE / re.sub(r"[^\w.+-]", "_", version)
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not there.exists():
            with tempfile.TemporaryDirectory(dir=CACHE) as unfinished:
                _unpack(version, Path(unfinished))
                (Path(unfinished) / "root").rename(there)
    return there


def _qemu_version() -> str:
    """QEMU loads only modules of its very version."""
    return _ask("dpkg-query", "--show", "--showformat=${Version}", "qemu-system-x86")


def _unpack(qemu_version: str, folder: Path) -> None:
    names = [f"{name}={qemu_version}" if name.startswith("qemu") else name for name in WANTED]
    for name, pattern in WANTED.items():
        depends = re.findall(r"^ *Depends: (\S+)", _ask("apt-cache", "depends", name), re.MULTILINE)
        names += [other for other in depends if pattern and re.match(pattern, other)]
    _ask("apt-get", "--option=APT::Sandbox::User=root", "--quiet", "download", *names, cwd=folder)
    for package in sorted(folder.glob("*.deb")):
        _ask("dpkg", "--extract", str(package), str(folder / "root"))
    (folder / "root/bin/mt").symlink_to("mt-st")


def _ask(*command: str, cwd: Path | None = None) -> str:
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True, cwd=cwd).stdout
    except FileNotFoundError:
        raise Unavailable(f"Debian packages for the guest cannot be fetched: there is no {command[0]}") from None
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise Unavailable(f"Debian packages for the guest cannot be fetched: {command[0]}: {last}") from None
