"""Drives: one contract (`Device`), and virtual tapes, null and memory drives behind it.

>>> with open_drive("memory:", name="R1") as drive:
...     drive.new_cartridge("A00001")
...     drive.load("A00001")
...     near_the_end = drive.write(b"one block")
...     drive.write_filemarks()
...     drive.rewind()
...     buffer = bytearray(4096)
...     print(drive.read_into(buffer), drive.read_into(buffer))
9 0
"""

from __future__ import annotations

from tapeloom.device.contract import UNNAMED, Device, Magazine, Position, Status
from tapeloom.device.spec import open_drive
from tapeloom.softdrive import Trouble

__all__ = ["UNNAMED", "Device", "Magazine", "Position", "Status", "Trouble", "open_drive"]
