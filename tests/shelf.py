"""Labs that several modules use, one after the other."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Self

from runbook_lib.base import wait
from tests import snapshot
from tests.labs import Lab, start_lab, stop_lab


class Shelf:
    """A lab that is borrowed again and again, for as long as it comes back as it was.

    Starting one takes more time than most modules need it for. One that comes back different is
    taken down, and the next borrower gets a new one: no module sees what another has left.
    """

    def __init__(self, name: str, prepare: Callable[[Lab], None] = lambda _: None) -> None:
        """Nothing is started before the first is borrowed.

        Args:
            name: The labs' name.
            prepare: Brings a new lab to the state in which it is lent.
        """
        self._name = name
        self._prepare = prepare
        self._lab: Lab | None = None
        self._state: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        stop_lab(self._name)

    @contextmanager
    def borrowed(self, *, spoil: bool) -> Iterator[Lab]:
        """Lend the lab.

        Args:
            spoil: It will not come back as it was, so there is no need to look.
        """
        if self._lab is None:
            lab = start_lab(self._name)
            self._prepare(lab)
            self._lab, self._state = lab, {}
        if not spoil:
            self._state = self._state or snapshot.of(self._lab)
        try:
            yield self._lab
        finally:
            if spoil or not self._came_back():
                stop_lab(self._name)
                self._lab = None

    def _came_back(self) -> bool:
        try:
            wait.until("the lab to be as it was", self._compare, timeout=15, interval=1)
        except Exception as error:  # it is different, or does not even answer
            print(f"{self._name} is not lent again: {error}", file=sys.stderr)
            return False
        return True

    def _compare(self) -> wait.State:
        assert self._lab is not None, "it is lent"
        difference = snapshot.difference(self._state, snapshot.of(self._lab))
        return wait.State(not difference, difference)
