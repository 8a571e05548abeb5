"""Fixtures for tests that need the real st driver: see `tapeguest`. A module that wants another guest than the usual
one says so: `SHAPE = Shape(drives=3)`."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from tapeguest import Guest, Shape, Unavailable


def boot(factory: pytest.TempPathFactory, shape: Shape) -> Guest:
    """A running guest. Skips the test where this machine cannot have one."""
    try:
        return Guest(factory.mktemp("guest"), shape)
    except Unavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def machine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Guest]]:
    """Gives the guest of this module; another one where a test has ended it."""
    guests: list[Guest] = []

    def give() -> Guest:
        if not (guests and guests[-1].alive):
            guests.append(boot(tmp_path_factory, getattr(request.module, "SHAPE", Shape())))
        return guests[-1]

    yield give
    for guest in guests:
        guest.close()


@pytest.fixture
def guest(machine: Callable[[], Guest]) -> Guest:
    """The guest of this module, which boots once; its cartridges are blank, and nothing fails."""
    guest = machine()
    guest.control.reset()
    return guest
