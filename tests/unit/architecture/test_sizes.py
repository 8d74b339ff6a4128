"""A module can be read in one go and a package taken in at a glance; exceptions say why."""

from __future__ import annotations

from pathlib import Path

from runbook_lib.base.locations import repository_root

LIBRARY = repository_root() / "runbook_lib"
LINES = 350
MODULES = 12

LONGER = {
    "chapters/autoscaling/scale_out.py": "one calculation, which loses by being read in two places",
    "chapters/shared/release/planner.py": "one class: plan, apply and prove one release of Helm",
    "cluster/client.py": "one class: what can be asked of a cluster",
    "diagnosis/looking.py": "one class: everything that is looked at, each thing a few lines",
    "lab/standins/kiali_objects.py": "what Kiali's operator makes of a resource, object by object",
    "lab/standins/kiali_operator.py": "what Kiali's operator does in the order in which it does it",
}
"""Modules of more than LINES lines, and why they are better left whole."""

FULLER = {
    "chapters/kiali": "one module for each of the things that Kiali takes",
    "parameters": "one module for each kind of check, and each section with formats of its own",
    "lifecycle": "an event, an outcome, a record: small modules of one type each",
}
"""Packages of more than MODULES modules, and why they are better left together."""


def _modules() -> list[Path]:
    return [path for path in LIBRARY.rglob("*.py") if path.name != "__init__.py"]


def test_modules_are_short_enough_to_be_read_in_one_go() -> None:
    longer = {
        str(path.relative_to(LIBRARY))
        for path in _modules()
        if len(path.read_text(encoding="utf-8").splitlines()) > LINES
    }
    assert longer - LONGER.keys() == set(), "split them, or say in LONGER why not"
    assert LONGER.keys() - longer == set(), "they are short enough: take them out of LONGER"


def test_packages_have_few_enough_modules_to_be_taken_in_at_a_glance() -> None:
    folders = [str(path.parent.relative_to(LIBRARY)) for path in _modules()]
    fuller = {folder for folder in folders if folders.count(folder) > MODULES}
    assert fuller - FULLER.keys() == set(), "divide them, or say in FULLER why not"
    assert FULLER.keys() - fuller == set(), "they are small enough: take them out of FULLER"
