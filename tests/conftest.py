"""Labs for the tests: real ones, each under a name of its own, always taken down."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from xdist.remote import Producer

from tests.durations import Recorder, Scheduling, longest_first, read
from tests.labs import Lab, start_lab, stop_lab
from tests.shelf import Shelf

# jsonschema, which reads notebooks, would build a grammar for internationalised URLs: 2 s a worker.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type] # makes its import fail

DURATIONS = Path(__file__).with_name("durations.json")
"""How long each file took when that was last recorded (`make durations`), in seconds."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a run record its durations."""
    parser.addoption(
        "--record-durations", action="store_true", help=f"keep each file's time in {DURATIONS.name}"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Record where the reports of all workers arrive."""
    if config.getoption("--record-durations") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Recorder(DURATIONS))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first, so that no worker is left alone with one of them at the end."""
    longest_first(items, read(DURATIONS))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling:
    """Give workers whole files."""
    return Scheduling(config, log)


def _name(suffix: str) -> str:
    return f"test-{os.getpid()}-{suffix}"


@pytest.fixture
def make_lab(labs: Shelf) -> Iterator[Callable[[str], Lab]]:
    """Start labs by a suffix of their name; all are down at the end of the test."""
    labs.make_room()
    started: list[str] = []

    def make(suffix: str) -> Lab:
        name = _name(suffix)
        started.append(name)
        return start_lab(name)

    yield make
    for name in started:
        stop_lab(name)


@pytest.fixture(scope="session")
def labs() -> Iterator[Shelf]:
    """Labs that modules share, one after the other."""
    with Shelf(_name("main")) as shelf:
        yield shelf


@pytest.fixture(scope="module")
def lab(labs: Shelf, request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A lab for the module alone: the application runs, there is no mesh."""
    with labs.borrowed(mesh=False, spoil=_spoils(request)) as lab:
        yield lab


@pytest.fixture(scope="module")
def mesh(labs: Shelf, request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A lab for the module alone, with Istio installed and the application injected."""
    with labs.borrowed(mesh=True, spoil=_spoils(request)) as lab:
        yield lab


def _spoils(request: pytest.FixtureRequest) -> bool:
    """Whether a module says that it does not leave its lab as it was."""
    return request.node.get_closest_marker("spoils_lab") is not None
