"""Labs that several modules use, one after the other."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from runbook_lib.base import wait
from tests import snapshot
from tests.labs import Lab, start_lab, stop_lab


class Shelf:
    """A lab that is borrowed again and again, for as long as it comes back as it was.

    Starting one takes more time than most modules need it for. What is there in addition when it
    comes back is deleted. One that is different then, or has a mesh where none is asked for, is
    taken down, and the next borrower gets a new one: no module sees what another has left. There is
    one lab at a time, because the machine has inotify instances for about five, and several workers
    share it.
    """

    def __init__(self, name: str) -> None:
        """Nothing is started before the first is borrowed.

        Args:
            name: The labs' name.
        """
        self._name = name
        self._lab: Lab | None = None
        self._mesh = self._lent = False
        self._state: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        stop_lab(self._name)

    @contextmanager
    def borrowed(self, *, mesh: bool, spoil: bool) -> Iterator[Lab]:
        """Lend the lab.

        Args:
            mesh: Istio is installed and the application injected.
            spoil: It will not come back as it was, so there is no need to look.
        """
        lab = self._ready(mesh)
        if not spoil:
            self._state = self._state or snapshot.of(lab)
        self._lent = True
        try:
            yield lab
        finally:
            self._lent = False
            if spoil or not self._came_back():
                self._take_down()

    def make_room(self) -> None:
        """Take the lab down unless it is lent: the worker starts another, of a kind of its own."""
        if self._lab is not None and not self._lent:
            self._take_down()

    def _ready(self, mesh: bool) -> Lab:
        if self._mesh and not mesh:
            self._take_down()
        if self._lab is None:
            self._lab = start_lab(self._name)
        if mesh and not self._mesh:
            self._mesh, self._state = True, {}
            try:
                self._lab.install_mesh()
            except Exception:
                self._take_down()
                raise
        return self._lab

    def _take_down(self) -> None:
        stop_lab(self._name)
        self._lab, self._mesh, self._state = None, False, {}

    def _came_back(self) -> bool:
        try:
            assert self._lab is not None, "a module with two fixtures has returned it already"
            if self._compare().done:
                return True
            snapshot.delete_new(self._lab, self._state)
            wait.until("the lab to be as it was", self._compare, timeout=15, interval=1)
        except Exception as error:  # it is different, or does not even answer
            print(f"{self._name} is not lent again: {error}", file=sys.stderr)
            return False
        return True

    def _compare(self) -> wait.State:
        assert self._lab is not None, "it is compared as it is returned"
        difference = snapshot.difference(self._state, snapshot.of(self._lab))
        return wait.State(not difference, difference)
