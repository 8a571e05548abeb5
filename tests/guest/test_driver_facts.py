"""What tapeloom relies on in the Linux st driver, asked of the driver itself: one boot, plain system calls. Where one
of these fails, the driver has changed, and device/st.py and the virtual tape have to be looked at."""

from __future__ import annotations

from pathlib import Path

import pytest
from tapeguest import Guest, Shape

pytestmark = pytest.mark.slow

SHAPE = Shape(drives=1, tapes=2)
FACTS = Path(__file__).with_name("driver_facts.py")


def test_the_driver_answers_as_tapeloom_expects(guest: Guest) -> None:
    asked = guest.python(str(FACTS), timeout=120)
    assert asked.status == 0, asked.output
    assert asked.output.count("as expected: ") == FACTS.read_text().count("@fact\n"), asked.output
