"""A notebook's parameters: from a run, or from a file and the notebook's variables over it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from runbook_lib.base.errors import ParameterError
from runbook_lib.notebook.given import Given, injected_names, set_in
from runbook_lib.notebook.section import Section
from runbook_lib.parameters import handover, loading
from runbook_lib.parameters.model import Parameters
from tests.unit.samples import CLUSTER

ABOVE = "from runbook_lib import Section\n\ntarget: Section = Section()  # which cluster\n"
INJECTED = '# Parameters\ntarget = {"kind": "lab"}\nstory = "safe"\n'


def opened(environ: dict[str, str] | None = None, **variables: Any) -> Given:
    return Given(variables, environ or {})


def executed(*cells: str) -> dict[str, Any]:
    """Variables of a notebook after its cells were run, and the cells as IPython keeps them."""
    variables: dict[str, Any] = {}
    for cell in cells:
        exec(cell, variables)
    return {**variables, "In": ["", *cells]}


def test_only_variables_that_are_parameters_are_taken() -> None:
    assert set_in({"story": "safe", "mode": None, "other": 1, "In": []}) == {"story": "safe"}


def test_sections_without_keys_set_nothing() -> None:
    assert set_in({"timeouts": Section(), "istio": Section()}) == {}


def test_keys_are_set_as_papermill_writes_them() -> None:
    injected = "# Parameters\ntimeouts.rollout = 900\nistio.istiod.values.pilot.replicas = 2\n"
    cells = (ABOVE, "timeouts = Section()\nistio = Section()", injected)
    assert set_in(executed(*cells)) == {
        "timeouts": {"rollout": 900},
        "istio": {"istiod": {"values": {"pilot": {"replicas": 2}}}},
    }


def test_a_key_that_was_only_looked_at_is_not_set() -> None:
    section = Section()
    assert repr(section.web.port) == "Section()"
    assert set_in({"application": section}) == {}


def test_injected_names_are_found_in_papermills_cell_only() -> None:
    cells = ["", "story = None", INJECTED, "unrelated = 1\n# Parameters"]
    assert injected_names(cells) == ["target", "story"]


def test_an_injected_name_that_is_no_parameter_is_an_error_with_a_hint() -> None:
    with pytest.raises(ParameterError, match="stroy is not a parameter; did you mean 'story'"):
        opened(**executed(ABOVE, "# Parameters\nstroy = 'safe'\n"))


def test_all_unknown_names_are_listed_at_once() -> None:
    with pytest.raises(ParameterError, match=r"(?s)stroy.*namespace") as caught:
        opened(**executed(ABOVE, "# Parameters\nstroy = 1\nnamespace = 'x'\n"))
    assert "nothing has been touched" in caught.value.remedy


@pytest.mark.parametrize(
    "corrected",
    ["# Parameters\nstory = 'safe'\n", ABOVE],
    ids=["the injected cell", "without it, from the cell above"],
)
def test_a_typo_that_was_corrected_is_gone_without_a_restart(corrected: str) -> None:
    typo = "# Parameters\nstroy = 'safe'\n"
    assert opened(**executed(ABOVE, typo, corrected)).checked


def test_a_corrected_cell_that_does_not_parse_does_not_count() -> None:
    cells = [ABOVE, "# Parameters\nstroy = 'safe'\n", "# Parameters\nstory = 'safe\n"]
    assert injected_names(cells) == ["stroy"]


def test_the_paths_that_papermill_injects_are_no_parameters() -> None:
    paths = "PAPERMILL_INPUT_PATH = 'a.ipynb'\nPAPERMILL_OUTPUT_PATH = 'b.ipynb'\n"
    given = opened(**executed(ABOVE, f"# Parameters\nmode = 'plan'\n{paths}"))
    assert given.checked.parameters.mode == "plan"


def test_every_parameter_can_be_injected() -> None:
    source = "# Parameters\n" + "\n".join(f"{name} = None" for name in Parameters.model_fields)
    assert set_in(executed(ABOVE, source)) == {}


def test_without_a_file_the_labs_holds() -> None:
    given = opened(story="safe")
    assert given.checked.parameters.target.kind == "lab"
    assert str(given.checked.origin).endswith("no file was given; from the notebook: story")


def test_the_file_of_a_session_holds_and_the_notebook_is_laid_over_it(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(CLUSTER))
    timeouts = Section()
    timeouts.rollout = 900
    given = opened({"RUNBOOK_PARAMETERS": str(file)}, timeouts=timeouts, mode=None)
    assert given.checked.parameters.target.context == "staging"
    assert given.checked.parameters.timeouts.rollout == 900
    (source,) = given.checked.origin.files
    assert str(given.checked.origin) == f"{source}; from the notebook: timeouts.rollout"


def test_an_error_in_the_file_of_a_session_has_its_line(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("target: {kind: lab}\nstroy: safe\n")
    with pytest.raises(ParameterError, match="line 2, stroy: unknown key → did you mean 'story'"):
        opened({"RUNBOOK_PARAMETERS": str(file)})


def test_parameters_that_name_their_target_are_not_mixed_with_the_sessions(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({**CLUSTER, "timeouts": {"rollout": 901}}))
    given = opened({"RUNBOOK_PARAMETERS": str(file)}, **CLUSTER)
    assert given.checked.parameters.timeouts.rollout is None
    assert given.checked.origin.files == ()
    assert str(given.checked.origin).startswith("no file; from the notebook: target.kind")


def test_a_variable_that_changed_since_is_an_error_until_the_notebook_is_opened_again() -> None:
    variables: dict[str, Any] = {"mode": None, "timeouts": Section()}
    given = Given(variables, {})
    given.refuse_if_changed()
    variables["mode"] = "plan"
    variables["timeouts"].rollout = 5
    with pytest.raises(ParameterError, match="opened: mode, timeouts\n") as caught:
        given.refuse_if_changed()
    assert "run the cell that opens it" in caught.value.remedy
    Given(variables, {}).refuse_if_changed()


def test_a_file_that_changed_since_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("target: {kind: lab}\nmode: apply\n")
    given = opened({"RUNBOOK_PARAMETERS": str(file)})
    given.refuse_if_changed()
    file.write_text("target: {kind: lab}\nmode: plan\n")
    with pytest.raises(ParameterError, match=rf"the parameters changed since .*: {file}"):
        given.refuse_if_changed()
    file.unlink()
    with pytest.raises(ParameterError, match=rf"the parameters changed since .*: {file}"):
        given.refuse_if_changed()


def test_a_kernel_of_a_run_gets_what_was_checked_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({**CLUSTER, "mode": "plan"}))
    checked = loading.load(file)
    private = tmp_path / "private"
    private.mkdir()
    environ = handover.hand_over(checked, private)
    file.unlink()  # it is not read again
    assert [path.stat().st_mode & 0o777 for path in private.iterdir()] == [0o600]
    given = Given({"timeouts": Section(), "mode": None}, environ)
    assert given.checked == checked
    given.refuse_if_changed()
    with pytest.raises(ParameterError, match="the notebook itself sets mode, and a run takes"):
        Given({"mode": "apply"}, environ)
