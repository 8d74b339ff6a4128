"""What a notebook's kernel knows: its parameters, and how to show the runbook's objects."""

from __future__ import annotations

import ast
import difflib
import os
from collections.abc import Mapping
from typing import Any

from runbook_lib.base import ParameterError
from runbook_lib.lifecycle import RUN_DIRECTORY_VARIABLE
from runbook_lib.parameters import Parameters

INJECTED_HEADER = "# Parameters"
"""First line of the cell in which papermill puts the parameters given to it."""

INTERACTIVE_VARIABLE = "RUNBOOK_INTERACTIVE"
"""`yes` or `no` overrides what is found out about the front end."""


def interactive(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether a person sits in front of this kernel, who can press buttons.

    A front end says with every cell whether it can ask its user for input; papermill, nbconvert and
    nbval say no. See `allow_stdin` in https://jupyter-client.readthedocs.io/en/stable/messaging.html

    Raises:
        ParameterError: The variable that overrides it has another value than `yes` or `no`.
    """
    wanted = environ.get(INTERACTIVE_VARIABLE, "").strip().lower()
    if wanted not in ("", "yes", "no"):
        raise ParameterError(
            f"{INTERACTIVE_VARIABLE} is {wanted!r}", "set it to yes or no, or not at all"
        )
    if wanted:
        return wanted == "yes"
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


def parameter_values(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Return a notebook's parameters by name.

    Papermill only warns about names that it does not find in the notebook, so they are looked for
    in the cell that it injected.

    Args:
        variables: The notebook's `globals()`.

    Raises:
        ParameterError: The injected cell sets names that are no parameters.
    """
    known = list(Parameters.model_fields)
    unknown = [name for name in injected_names(variables.get("In", ())) if name not in known]
    if unknown:
        raise ParameterError(
            "\n".join(f"{name} is not a parameter{_did_you_mean(name, known)}" for name in unknown),
            f"nothing has been touched; the parameters are: {', '.join(known)}",
        )
    return {name: variables[name] for name in known if name in variables}


def injected_names(cells: Any) -> list[str]:
    """Return the names assigned in cells that papermill injected.

    Args:
        cells: The sources of the cells run so far: IPython's `In`.
    """
    names: dict[str, None] = {}
    for source in cells:
        if not source.lstrip().startswith(INJECTED_HEADER):
            continue
        for statement in ast.parse(source).body:
            if isinstance(statement, ast.Assign):
                names.update((t.id, None) for t in statement.targets if isinstance(t, ast.Name))
    return list(names)


def _did_you_mean(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
