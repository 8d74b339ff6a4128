"""The shape of every notebook, one rule a test."""

from __future__ import annotations

import ast
import re
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import nbformat
import papermill  # type: ignore[import-untyped]
import pytest

from runbook_lib import chapters as steps
from runbook_lib.base.locations import repository_root
from runbook_lib.notebook import given
from runbook_lib.parameters import Parameters
from tests.unit.samples import lab_parameters

NOTEBOOKS = sorted((repository_root() / "notebooks").glob("*.ipynb"))

COMPARED = "nbval-check-output"
KEPT = "keep_output"
IGNORED = "nbval-ignore-output"

VERBS = (
    *("introduce", "set", "connect", "explain", "look"),
    *("plan", "gate", "apply", "verify", "undo", "continue"),
)
"""What the cells do; each cell's id begins with one of these."""

pytestmark = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


@cache
def notebook(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def cells(path: Path, kind: str) -> list[Any]:
    return [cell for cell in notebook(path).cells if cell.cell_type == kind]


def tags(cell: Any) -> list[str]:
    found: list[str] = cell.metadata.get("tags", [])
    return found


def prose(path: Path) -> str:
    return "\n\n".join(cell.source for cell in cells(path, "markdown"))


def headings(path: Path) -> list[str]:
    text = re.sub(r"```.*?```", "", prose(path), flags=re.S)
    return re.findall(r"^#+ (.+)$", text, flags=re.M)


def has_stages(path: Path) -> bool:
    return bool(steps.CHAPTERS[path.stem].stages(lab_parameters()))


def has_steps(path: Path) -> bool:
    return bool(steps.of(path.stem, lab_parameters()))


def test_it_is_valid(path: Path) -> None:
    nbformat.validate(notebook(path))


def test_it_is_not_too_long(path: Path) -> None:
    """25 cells besides pictures, and more only where there are more than two steps."""
    pictures = ("look-mesh-before", "explain-mesh-after", "look-mesh-after", "look-timeline")
    # A step has six cells: explain, plan, gate, apply, explain what to expect, verify. A stage has
    # four: it explains once, and its gate plans.
    around = 9
    stages = steps.CHAPTERS[path.stem].stages(lab_parameters())
    cells_of_steps = 4 * len(stages) or 6 * len(steps.of(path.stem, lab_parameters()))
    limit = max(25, around + cells_of_steps)
    cells_besides = [cell for cell in notebook(path).cells if cell.id not in pictures]
    assert len(cells_besides) <= limit


def test_it_begins_with_a_title_two_sentences_and_a_table(path: Path) -> None:
    first = notebook(path).cells[0]
    assert first.cell_type == "markdown"
    title, _, rest = first.source.partition("\n\n")
    assert title == f"# {steps.CHAPTERS[path.stem].title}"
    sentences = rest.partition("\n\n")[0]
    assert len(re.findall(r"[.!?](?=\s|$)", sentences)) == 2, sentences
    for row in ("| Needs |", "| Changes |", "| Duration |", "| Risk |"):
        assert row in rest


def test_it_has_one_title(path: Path) -> None:
    assert len(re.findall(r"^# ", prose(path), flags=re.M)) == 1


def test_its_chapters_have_the_same_headings(path: Path) -> None:
    wanted = {"Before", "Plan, gate and apply", "Verify", "Undo", "Next"}
    if has_stages(path):
        wanted -= {"Plan, gate and apply", "Verify"}  # each stage is under one heading of its own
    elif not has_steps(path):
        wanted -= {"Plan, gate and apply"}
    found = headings(path)
    assert wanted <= set(found)
    assert found[-2:] == ["Undo", "Next"]


def test_headings_are_in_sentence_case(path: Path) -> None:
    names = {"Istio", "Istio's", "TLS", "HTTP", "Kiali", "Kiali's", "Prometheus", "Jaeger"}
    names |= {"Service", "XNAT", "PERMISSIVE"}
    for heading in headings(path):
        _, *words = re.findall(r"[A-Za-z']+", heading.replace(":", " "))
        assert [w for w in words if w[0].isupper() and w not in names] == [], heading


def test_the_parameters_cell_is_the_first_code_cell_and_has_every_parameter(path: Path) -> None:
    first = cells(path, "code")[0]
    assert tags(first) == ["parameters"]
    assert [cell for cell in cells(path, "code")[1:] if "parameters" in tags(cell)] == []
    known = papermill.inspect_notebook(path)
    assert list(known) == list(Parameters.model_fields)
    for name, parameter in known.items():
        assert parameter["inferred_type_name"] != "None", name
        assert parameter["help"], name


def test_the_parameters_cell_sets_nothing(path: Path) -> None:
    """The file decides; the cell is there for papermill, and for who tries something."""
    variables: dict[str, Any] = {}
    exec(cells(path, "code")[0].source, variables)
    assert given.set_in(variables) == {}


def test_the_parameters_cell_is_the_same_in_every_notebook(path: Path) -> None:
    assert cells(path, "code")[0].source == cells(NOTEBOOKS[0], "code")[0].source


def test_the_second_code_cell_connects_under_the_notebooks_name(path: Path) -> None:
    second = cells(path, "code")[1].source
    assert second.startswith("from runbook_lib import Runbook\n\nrunbook = Runbook.open(")
    assert f'Runbook.open("{path.stem}", globals())' in second


def test_nothing_else_is_imported(path: Path) -> None:
    for cell in cells(path, "code")[2:]:
        imports = [
            node
            for node in ast.walk(ast.parse(cell.source))
            if isinstance(node, ast.Import | ast.ImportFrom)
        ]
        assert imports == [], cell.id


def test_code_cells_make_one_call_and_nothing_else(path: Path) -> None:
    for cell in cells(path, "code")[2:]:
        (statement,) = ast.parse(cell.source).body
        assert isinstance(statement, ast.Expr), cell.id
        assert isinstance(statement.value, ast.Call), cell.id


def test_no_cell_defines_loops_tries_or_shells_out(path: Path) -> None:
    forbidden = (ast.FunctionDef, ast.ClassDef, ast.For, ast.While, ast.Try, ast.With, ast.If)
    for number, cell in enumerate(cells(path, "code")):
        # A line that begins with ! or % is no Python, so parsing refuses it.
        found = [node for node in ast.walk(ast.parse(cell.source)) if isinstance(node, forbidden)]
        assert found == [], cell.id
        # The first holds a line for each parameter.
        assert number == 0 or len(cell.source.splitlines()) <= 8, cell.id


def test_prose_comes_before_code(path: Path) -> None:
    everything = notebook(path).cells
    for before, cell in pairwise(everything):
        if has_stages(path) and cell.id.startswith("verify-"):
            continue  # its stage begins with what to expect
        if cell.cell_type == "code" and cell.id.split("-")[0] in ("look", "plan", "verify"):
            follows_look = before.id.startswith("look-")
            assert before.cell_type == "markdown" or follows_look, cell.id


def test_every_step_is_planned_gated_applied_and_verified_in_this_order(path: Path) -> None:
    if stages := steps.CHAPTERS[path.stem].stages(lab_parameters()):
        # One plan over all, and the gate of each plans it again.
        expected = ["plan", *["gate", "apply", "verify"] * len(stages)]
    else:
        expected = ["plan", "gate", "apply", "verify"] * len(steps.of(path.stem, lab_parameters()))
    calls = [cell.source.rpartition(".")[2] for cell in cells(path, "code")]
    found = [call.removesuffix("()") for call in calls]
    assert [call for call in found if call in ("plan", "gate", "apply", "verify")] == expected


def test_a_stage_says_what_to_expect_and_is_then_gated_applied_and_verified(path: Path) -> None:
    everything = notebook(path).cells
    for number, cell in enumerate(everything):
        if has_stages(path) and cell.id.startswith("gate-"):
            about = cell.id.removeprefix("gate-")
            ids = [each.id for each in everything[number - 1 : number + 3]]
            assert ids == [f"{verb}-{about}" for verb in ("explain", "gate", "apply", "verify")]
            assert "\n\nExpected: " in everything[number - 1].source


def test_cell_ids_are_verbs_with_objects_and_unique(path: Path) -> None:
    ids = [cell.id for cell in notebook(path).cells]
    assert len(set(ids)) == len(ids)
    for name in ids:
        assert re.fullmatch(r"[a-z]+(-[a-z0-9]+)+", name), name
        assert name.split("-")[0] in VERBS, name


def test_compared_cells_store_what_they_are_compared_with(path: Path) -> None:
    compared = [cell for cell in cells(path, "code") if COMPARED in tags(cell)]
    assert compared, "nbval would compare nothing"
    for cell in compared:
        assert KEPT in tags(cell), f"nbstripout would empty {cell.id}"
        assert cell.execution_count, f"{cell.id} was never executed, so nbval skips it"
        assert cell.outputs, f"{cell.id} has no stored output"


def test_every_verification_is_compared(path: Path) -> None:
    for cell in cells(path, "code"):
        if cell.id.startswith("verify-"):
            assert COMPARED in tags(cell), cell.id


def test_no_other_cell_stores_anything(path: Path) -> None:
    for cell in cells(path, "code"):
        if COMPARED not in tags(cell):
            assert cell.outputs == [], cell.id


def test_cells_whose_output_differs_between_runs_say_so(path: Path) -> None:
    """Plain `pytest --nbval` then passes as well as `--nbval-lax`."""
    for cell in cells(path, "code")[1:]:
        assert (COMPARED in tags(cell)) != (IGNORED in tags(cell)), cell.id


def test_stored_outputs_hold_nothing_that_differs_between_runs(path: Path) -> None:
    differs = re.compile(
        r"127\.0\.0\.1|\d{4}-\d\d-\d\d|\d\d:\d\d|[0-9a-f]{8}-[0-9a-f]{4}-|\b\d+\.\d+\.\d+\b|lab-"
    )
    for cell in cells(path, "code"):
        for output in cell.outputs:
            assert output.output_type == "execute_result", cell.id
            assert differs.findall(str(output.data)) == [], cell.id


def test_its_metadata_holds_the_kernel_and_nothing_of_a_run(path: Path) -> None:
    metadata = notebook(path).metadata
    assert set(metadata) == {"kernelspec", "language_info"}
    assert metadata.kernelspec.name == "python3"
    assert metadata.language_info == {"name": "python"}
    for cell in notebook(path).cells:
        assert set(cell.metadata) <= {"tags"}, cell.id


def test_links_lead_to_files_that_exist(path: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", prose(path)):
        assert link.startswith("https://") or (path.parent / link).exists(), link


def test_the_prose_does_not_belittle(path: Path) -> None:
    assert re.findall(r"\b(?:simply|just|easily|obviously)\b", prose(path), flags=re.I) == []
