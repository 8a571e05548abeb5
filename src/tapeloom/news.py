"""What whoever gave a command should hear of at once, though nothing in its result has a place for it.

It is said where it happens, however deep, and heard by the one who has set `listener`; a program that embeds tapeloom
and sets none hears nothing.
"""

from __future__ import annotations

from collections.abc import Callable

listener: Callable[[str], None] | None = None


def tell(sentence: str) -> None:
    """From any thread."""
    if listener is not None:
        listener(sentence)
