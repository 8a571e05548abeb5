"""Loading numpy, which takes longer than a small command: when it is wanted, and without threads."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Final

THREADS: Final = "OPENBLAS_NUM_THREADS"


def load() -> None:
    """Loads numpy, if nobody has yet, without the thread for each processor that its linear algebra would start for
    nothing. Commands that sources run do not see that."""
    if "numpy" in sys.modules or THREADS in os.environ:
        import_module("numpy")
        return
    os.environ[THREADS] = "1"
    try:
        import_module("numpy")
    finally:
        del os.environ[THREADS]
