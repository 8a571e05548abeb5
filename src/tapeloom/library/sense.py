"""What a device says when it does not do what it was asked, in words.

The numbers are additional sense code and qualifier as T10 assigns them (SPC-4, annex D.2); here are those that changers
and the drives in them send.
"""

from __future__ import annotations

from typing import Final

NOT_READY: Final = 0x2
UNIT_ATTENTION: Final = 0x6

_KEYS: Final = {
    0x0: "no reason given",
    0x1: "it recovered",
    0x2: "not ready",
    0x3: "medium error",
    0x4: "hardware error",
    0x5: "illegal request",
    0x6: "unit attention",
    0x7: "protected",
    0xB: "command aborted",
}

_WORDS: Final = {
    (0x00, 0x16): "an operation is in progress",
    (0x04, 0x00): "not ready, it does not say why",
    (0x04, 0x01): "it is becoming ready",
    (0x04, 0x02): "it has to be initialised",
    (0x04, 0x03): "somebody has to go to it",
    (0x04, 0x07): "an operation is in progress",
    (0x04, 0x12): "it is offline: put it online at its panel",
    (0x04, 0x83): "its door is open, or its firmware is busy",
    (0x15, 0x01): "mechanical positioning error: somebody has to look at it",
    (0x20, 0x00): "it does not know this command",
    (0x21, 0x01): "there is no element of that address",
    (0x24, 0x00): "it does not know a field of this command",
    (0x28, 0x00): "a medium may have changed",
    (0x28, 0x01): "an import/export element was accessed",
    (0x29, 0x00): "it was reset or powered on",
    (0x2A, 0x01): "its settings were changed",
    (0x30, 0x00): "the cartridge is not one that this drive takes",
    (0x30, 0x03): "it is a cleaning cartridge",
    (0x3A, 0x00): "no cartridge is there",
    (0x3B, 0x0D): "the place to put it is full",
    (0x3B, 0x0E): "there is no cartridge at the place to take it from",
    (0x3B, 0x11): "the magazine is not accessible",
    (0x3B, 0x12): "the magazine is taken out",
    (0x3B, 0x13): "the magazine was put in",
    (0x3B, 0x15): "the magazine is unlocked",
    (0x3B, 0x18): "the element is disabled",
    (0x3F, 0x01): "its firmware was changed",
    (0x44, 0x00): "internal failure",
    (0x53, 0x00): "loading or ejecting failed",
    (0x53, 0x01): "unloading failed",
    (0x53, 0x02): "the drive does not let go of its cartridge",
    (0x53, 0x03): "the cartridge is locked in by the drive",
    (0x80, 0x00): "its own code 80h/00h: see its manual",
}


def words(key: int, asc: int, ascq: int) -> str:
    """
    >>> words(5, 0x3B, 0x0E), words(4, 0x99, 0x01)
    ('there is no cartridge at the place to take it from (3Bh/0Eh)', 'hardware error (99h/01h)')
    """
    said = exception(asc, ascq)
    return said if (asc, ascq) in _WORDS else f"{_KEYS.get(key, f'sense key {key:X}h')} ({asc:02X}h/{ascq:02X}h)"


def exception(asc: int, ascq: int) -> str:
    """
    >>> exception(0x3B, 0x12)
    'the magazine is taken out (3Bh/12h)'
    """
    return f"{_WORDS.get((asc, ascq), 'an exception')} ({asc:02X}h/{ascq:02X}h)"
