from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def open_path():
    """A folder that every user may enter (pytest's own are for one user), and as deep as one likes (those are not)."""
    folder = Path(tempfile.mkdtemp())
    os.chmod(folder, 0o777)
    yield folder
    subprocess.run(["rm", "-rf", folder], check=True)
