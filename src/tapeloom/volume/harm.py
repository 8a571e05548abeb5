"""How blocks of a copy, which had their receipt, can be found harmed on their volume."""

from __future__ import annotations

from enum import StrEnum


class Harm(StrEnum):
    """Said of blocks, and kept in the catalog under these names."""

    CHECKSUM = "checksum"
    """The medium gives them, but not as they were written: a checksum is wrong."""
    UNREADABLE = "unreadable"
    """The drive cannot read them. That may be the drive's fault, or the cable's."""
    MISSING = "missing"
    """Something else stands in their place, or the tape ends before them."""

    @property
    def words(self) -> str:
        """For people."""
        return "bad checksum" if self is Harm.CHECKSUM else self.value
