"""A small virtual machine with real tapes for the Linux st driver to drive, and no hardware at all.

`Guest` boots a Debian kernel under QEMU without hardware virtualisation, in some seconds. It runs commands of this
machine on this machine's own files (below a layer of its own that takes what is written), and has in /dev the tape
drives and the medium changer of a SCSI target that runs beside it here. `Control` makes that target's tapes and drives
fail, from inside of the guest and from outside. QEMU must be installed; all else comes from Debian packages, which are
unpacked and not installed.

- `packages`: gets and unpacks them, once
- `kernel`, `initramfs`: the kernel, its modules, and the archive that it starts from
- `init`, `agent`: two shell scripts, before and after the guest has this machine's files
- `boot`: starts target, file servers and QEMU, ends them; runs commands
- `control`: asks the target for trouble
- `mt`: the driver's ioctls, with nothing between
- `target`: drives, changer, cartridges, and iSCSI, over which QEMU reaches them

By hand: `PYTHONPATH=tests/guest python -m tapeguest --drives 2 -- mt -f /dev/nst0 status`
"""

from tapeguest.boot import Guest, GuestError, Result, Running, Shape
from tapeguest.control import Control, ControlError
from tapeguest.packages import Unavailable

__all__ = ["Control", "ControlError", "Guest", "GuestError", "Result", "Running", "Shape", "Unavailable"]
