"""What a notebook's kernel knows about the front end that it works for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from runbook_lib.base import ParameterError
from runbook_lib.lifecycle import RUN_DIRECTORY_VARIABLE

INTERACTIVE_VARIABLE = "RUNBOOK_INTERACTIVE"
"""`yes` or `no` overrides what is found out about the front end."""


def interactive(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether a person sits in front of this kernel, who can press buttons.

    A front end says with every cell whether it can ask its user for input; papermill, nbconvert and
    nbval say no. See `allow_stdin` in https://jupyter-client.readthedocs.io/en/stable/messaging.html

    Raises:
        ParameterError: The variable that overrides it has another value than `yes` or `no`.
    """
    desired = environ.get(INTERACTIVE_VARIABLE, "").strip().lower()
    if desired not in ("", "yes", "no"):
        raise ParameterError(
            f"{INTERACTIVE_VARIABLE} is {desired!r}", "set it to yes or no, or not at all"
        )
    if desired:
        return desired == "yes"
    if environ.get(RUN_DIRECTORY_VARIABLE, "").strip():
        return False
    kernel = getattr(_shell(), "kernel", None)
    if kernel is None:
        return False
    request = kernel.get_parent("shell") or {}
    return bool(request.get("content", {}).get("allow_stdin", False))


def running_cell() -> object:
    """Identify the request to run a cell that this kernel works on."""
    return getattr(_shell(), "execution_count", None)


def _shell() -> Any:
    try:
        from IPython.core.getipython import get_ipython
    except ModuleNotFoundError:
        return None
    return get_ipython()
