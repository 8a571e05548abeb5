"""Libraries that only some jobs need: imported when they are, by one sentence when they are not there."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from tapeloom.errors import LibraryMissing

_EXTRAS = {
    "zstandard": ("zstd", "what is compressed with zstd"),
    "cryptography": ("seal", "keys and what is sealed with them"),
    "blake3": ("blake3", "BLAKE3 digests"),
}


def library(module: str) -> Any:
    """The module called so, of one of the optional libraries.

    Raises
    ------
    LibraryMissing
        It is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        name = module.partition(".")[0]
        extra, purpose = _EXTRAS[name]
        raise LibraryMissing(
            f"{purpose} needs the Python library {name}, which cannot be loaded ({error}): "
            f"pip install 'tapeloom[{extra}]'"
        ) from None
