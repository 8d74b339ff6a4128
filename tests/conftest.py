"""Labs for the tests: real ones, each under a name of its own, always taken down."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from tests.labs import Lab, start_lab, stop_lab


def _name(suffix: str) -> str:
    return f"test-{os.getpid()}-{suffix}"


@pytest.fixture
def make_lab() -> Iterator[Callable[[str], Lab]]:
    """Start labs by a suffix of their name; all are down at the end of the test."""
    started: list[str] = []

    def make(suffix: str) -> Lab:
        name = _name(suffix)
        started.append(name)
        return start_lab(name)

    yield make
    for name in started:
        stop_lab(name)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A fresh lab of the module's own: the application runs, there is no mesh."""
    name = _name("main")
    try:
        yield start_lab(name)
    finally:
        stop_lab(name)


@pytest.fixture(scope="module")
def mesh() -> Iterator[Lab]:
    """A lab of the module's own with Istio installed and the application injected."""
    name = _name("mesh")
    try:
        lab = start_lab(name)
        lab.install_mesh()
        yield lab
    finally:
        stop_lab(name)
