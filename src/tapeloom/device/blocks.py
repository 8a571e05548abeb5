"""Whether a drive takes blocks of a size, said before the first byte."""

from __future__ import annotations

from tapeloom.device.contract import Device, Status
from tapeloom.errors import BlockSizeError
from tapeloom.quantity import rough_size


def check_block(device: Device, block_bytes: int) -> list[str]:
    """What is to be known before blocks of so many bytes, header included, go to this drive.

    Raises
    ------
    BlockSizeError
        It cannot take them.
    """
    if block_bytes > device.block_bytes_max:
        raise BlockSizeError(
            f"drive {device.name} takes blocks of at most {rough_size(device.block_bytes_max)}, not of "
            f"{rough_size(block_bytes)}: take a smaller block",
            status=Status.ERR_BLOCK_SIZE,
        )
    if block_bytes > device.block_bytes_direct_max:
        return [
            f"drive {device.name}: blocks of {rough_size(block_bytes)} go through the buffer of the system's driver, "
            "which costs a copy of each, and errors are heard of late; up to "
            f"{rough_size(device.block_bytes_direct_max)} they do not"
        ]
    return []
