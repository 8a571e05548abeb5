from __future__ import annotations

import doctest

from tapeloom import quantity


def test_the_examples_hold() -> None:
    outcome = doctest.testmod(quantity)
    assert outcome.attempted >= 2
    assert outcome.failed == 0
