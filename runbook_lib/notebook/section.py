"""A section of the parameters as a notebook's variable."""

from __future__ import annotations

from typing import Any


class Section:
    """Keys set in a notebook, each as an attribute: `timeouts.rollout = 900`.

    This is how papermill writes `-p timeouts.rollout 900` into a notebook. A section inside comes
    into being when it is named, so `application.web.port = 8443` works as well.
    """

    def __getattr__(self, name: str) -> Section:
        if name.startswith("_"):  # asked by IPython and copy, and never a parameter
            raise AttributeError(name)
        section = Section()
        setattr(self, name, section)
        return section

    def __repr__(self) -> str:
        keys = (f"{key}={value!r}" for key, value in vars(self).items())
        return f"Section({', '.join(keys)})"


def plain(value: Any) -> Any:
    """Return what a variable holds as YAML would give it; None for a section without keys."""
    if not isinstance(value, Section):
        return value
    given = {key: (item, plain(item)) for key, item in vars(value).items()}
    # A section inside that was only looked at is none; a None that somebody set is a value.
    return {
        key: item
        for key, (given_as, item) in given.items()
        if item is not None or not isinstance(given_as, Section)
    } or None
