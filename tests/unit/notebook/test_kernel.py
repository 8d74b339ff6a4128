"""A notebook's parameters come from its variables, and unknown injected names are errors."""

from __future__ import annotations

import pytest

from runbook_lib.base.errors import ParameterError
from runbook_lib.notebook import kernel
from runbook_lib.parameters.loading import Parameters

INJECTED = '# Parameters\ntarget = {"kind": "lab"}\nstory = "safe"\n'


def test_only_variables_that_are_parameters_are_taken() -> None:
    variables = {"story": "safe", "mode": None, "other": 1, "In": []}
    assert kernel.parameter_values(variables) == {"story": "safe", "mode": None}


def test_injected_names_are_found_in_papermills_cell_only() -> None:
    cells = ["", "story = None", INJECTED, "unrelated = 1\n# Parameters"]
    assert kernel.injected_names(cells) == ["target", "story"]


def test_an_injected_name_that_is_no_parameter_is_an_error_with_a_hint() -> None:
    variables = {"In": ["# Parameters\nstroy = 'safe'\n"], "stroy": "safe"}
    with pytest.raises(ParameterError, match="stroy is not a parameter; did you mean 'story'"):
        kernel.parameter_values(variables)


def test_all_unknown_names_are_listed_at_once() -> None:
    variables = {"In": ["# Parameters\nstroy = 1\nnamespace = 'x'\n"]}
    with pytest.raises(ParameterError, match=r"(?s)stroy.*namespace") as caught:
        kernel.parameter_values(variables)
    assert "nothing has been touched" in caught.value.remedy


def test_outside_of_a_notebook_there_are_no_injected_names() -> None:
    assert kernel.parameter_values({"mode": "plan"}) == {"mode": "plan"}


def test_every_parameter_can_be_injected() -> None:
    source = "# Parameters\n" + "\n".join(f"{name} = None" for name in Parameters.model_fields)
    assert set(kernel.parameter_values({"In": [source]})) == set()
