"""Labs for the tests: real ones, each under a name of its own, always taken down."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from tests.labs import Lab, start_lab, stop_lab


@pytest.fixture(scope="module")
def make_lab() -> Iterator[Callable[[str], Lab]]:
    """Start labs by a suffix of their name; all are down at the end of the module."""
    started: list[str] = []

    def make(suffix: str) -> Lab:
        name = f"test-{os.getpid()}-{suffix}"
        started.append(name)
        return start_lab(name)

    yield make
    for name in started:
        stop_lab(name)


@pytest.fixture(scope="module")
def lab(make_lab: Callable[[str], Lab]) -> Lab:
    """A fresh lab of the module's own: the application runs, there is no mesh."""
    return make_lab("main")


@pytest.fixture(scope="module")
def mesh(make_lab: Callable[[str], Lab]) -> Lab:
    """A lab of the module's own with Istio installed and the application injected."""
    lab = make_lab("mesh")
    lab.install_mesh()
    return lab
