"""The parameters of a notebook: handed over by a run, or a file and what the notebook sets."""

from __future__ import annotations

import ast
import copy
import difflib
import os
from collections.abc import Iterator, Mapping
from typing import Any

from runbook_lib.base import ParameterError, secrets_in, yaml_source
from runbook_lib.lifecycle.runs import ENGINE_VARIABLE
from runbook_lib.notebook.section import plain
from runbook_lib.parameters import (
    FILE_VARIABLE,
    Checked,
    Layer,
    Parameters,
    handover,
    layers,
    loading,
)

INJECTED_HEADER = "# Parameters"
"""First line of the cell in which papermill puts the parameters given to it."""

_PARAMETERS_CELL = "from runbook_lib import Section"
"""First line of the cell above it, which a notebook has."""

_OF_PAPERMILL = ("PAPERMILL_INPUT_PATH", "PAPERMILL_OUTPUT_PATH")
"""What `papermill --inject-paths` sets; see https://papermill.readthedocs.io/en/latest/usage-cli.html."""

_PLACE = "the notebook"


class Given:
    """What a notebook was opened with.

    Attributes:
        checked: The parameters, in order.
    """

    def __init__(
        self, variables: Mapping[str, Any], environ: Mapping[str, str] = os.environ
    ) -> None:
        """Read and check the parameters.

        Args:
            variables: The notebook's `globals()`.
            environ: Where a run, or a session, names its parameters.

        Raises:
            ParameterError: They cannot be used.
        """
        self.checked: Checked
        self._variables = variables
        self._set = set_in(variables)
        self._follows = True
        handed = handover.received(environ)
        if handed is not None:
            self._refuse_what_the_run_does_not_know()
            self.checked, self._follows = handed, False
            return
        _refuse_injected_secrets(variables.get("In", ()), self._set, environ)
        # Parameters that name their target are a whole of their own: a file given to papermill.
        whole = layers.at(self._set, ("target", "kind")) is not None
        file = None if whole else environ.get(FILE_VARIABLE)
        self.checked = loading.load(file, [Layer(_PLACE, self._set)])

    def refuse_if_changed(self) -> None:
        """Check that these are the parameters still.

        Raises:
            ParameterError: Variables or files were changed after the notebook was opened.
        """
        if not self._follows:
            return
        now = set_in(self._variables)
        changed = [name for name in Parameters.model_fields if now.get(name) != self._set.get(name)]
        for file in self.checked.origin.files:
            try:
                same = yaml_source.digest(file.path.read_bytes()) == file.digest
            except OSError:
                same = False
            changed += [] if same else [str(file.path)]
        if changed:
            raise ParameterError(
                f"the parameters changed since this notebook was opened: {', '.join(changed)}",
                "run the cell that opens it, with Runbook.open, and the plan after it",
            )

    def _refuse_what_the_run_does_not_know(self) -> None:
        if self._set:
            raise ParameterError(
                f"the notebook itself sets {', '.join(self._set)}, and a run takes its parameters "
                "from the file and the command line",
                "move it to the parameters file, or to --set KEY=VALUE",
            )


def _refuse_injected_secrets(cells: Any, given: Any, environ: Mapping[str, str]) -> None:
    """Stop where papermill has put secrets into the notebook, and its engine does not mask them."""
    if environ.get(ENGINE_VARIABLE) or not injected_names(cells) or not any(secrets_in(given)):
        return
    loading.register_secrets(given)
    raise ParameterError(
        "papermill was given secrets, and has written them into the executed notebook",
        "delete that file; then use papermill --engine runbook, which masks them, or name the "
        f"parameters file in {FILE_VARIABLE} in place of -f",
    )


def set_in(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters that a notebook's variables set, as YAML would give them.

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
    given = {name: plain(variables[name]) for name in known if name in variables}
    return {name: copy.deepcopy(value) for name, value in given.items() if value is not None}


def injected_names(cells: Any) -> list[str]:
    """Return the names assigned in the cell that papermill injected, as it was run last.

    Args:
        cells: The sources of the cells run so far: IPython's `In`.
    """
    for source in reversed(cells):
        if source.lstrip().startswith(INJECTED_HEADER) and (tree := _parsed(source)):
            names = (_root(target) for target in _targets(tree))
            return [name for name in dict.fromkeys(names) if name and name not in _OF_PAPERMILL]
        if source.lstrip().startswith(_PARAMETERS_CELL):
            return []  # run again since, so what was injected below is gone
    return []


def _parsed(source: str) -> ast.Module | None:
    try:
        return ast.parse(source)
    except SyntaxError:  # such a cell has set nothing
        return None


def _targets(tree: ast.Module) -> Iterator[ast.expr]:
    for statement in tree.body:
        if isinstance(statement, ast.Assign):
            yield from statement.targets
        elif isinstance(statement, ast.AnnAssign):
            yield statement.target


def _root(target: ast.expr) -> str:
    """The variable that an assignment is about: `timeouts` of `timeouts.rollout = 900`."""
    while isinstance(target, ast.Attribute | ast.Subscript):
        target = target.value
    return target.id if isinstance(target, ast.Name) else ""


def _did_you_mean(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
