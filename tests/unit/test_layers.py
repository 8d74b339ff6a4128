"""The layers of CONTRIBUTING.md hold: upper modules import lower ones only."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from runbook_lib.locations import repository_root

PACKAGE = repository_root() / "runbook_lib"
COMMANDS = ("__main__", "cli")
"""The only modules above the lab."""


def modules() -> list[str]:
    """Every module outside the lab, dotted, without the package's name."""
    files = [path for path in PACKAGE.rglob("*.py") if "lab" not in path.parts[-2:-1]]
    return sorted(_name(path) for path in files)


def _name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__") or "__init__"


def layers() -> list[list[str]]:
    """The table of layers in CONTRIBUTING.md, lowest first; `parameters*` stands for a prefix."""
    text = (repository_root() / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = text.split("## Layers")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")][1:]
    return [re.findall(r"`([^`]+)`", row.split("|")[2]) for row in reversed(rows)]


def rank(module: str) -> int:
    """A module's layer, 0 the lowest."""
    for number, names in enumerate(layers()):
        for name in names:
            pattern = name.rstrip("/").replace("*", "[^.]*")
            if re.fullmatch(rf"{pattern}(\..*)?", module):
                return number
    raise AssertionError(f"CONTRIBUTING.md puts {module} into no layer")


def imports(module: str, *, for_types_too: bool = True) -> Iterator[str]:
    """The modules of the package that a module imports anywhere, lazily or not."""
    path = PACKAGE / Path(*module.split("."))
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    tree = ast.parse(source.read_text(encoding="utf-8"))
    if not for_types_too:
        tree.body = [node for node in tree.body if not _is_for_types(node)]
    known = set(modules())
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [n if _inside(n) in known else node.module for n in names]
        else:
            continue
        for name in names:
            inside = _inside(name)
            if (inside and inside in known | {"lab"}) or inside.startswith("lab."):
                yield inside


def _is_for_types(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def _inside(name: str) -> str:
    package, _, rest = name.partition(".")
    return rest if package == "runbook_lib" else ""


@pytest.mark.parametrize("module", [m for m in modules() if m not in ("__init__", *COMMANDS)])
def test_a_module_imports_nothing_from_above_its_layer(module: str) -> None:
    above = [name for name in imports(module) if rank(name) > rank(module)]
    assert above == [], f"{module} (layer {rank(module)})"


def test_modules_of_a_layer_do_not_import_each_other_in_circles() -> None:
    left = {
        module: set(imports(module, for_types_too=False))
        for module in modules()
        if module != "__init__"
    }
    while left:
        free = [module for module, needs in left.items() if not needs & left.keys() - {module}]
        assert free, f"these import each other: {sorted(left)}"
        for module in free:
            del left[module]


@pytest.mark.parametrize("module", [m for m in modules() if m not in COMMANDS])
def test_only_the_command_line_imports_the_lab(module: str) -> None:
    assert [name for name in imports(module) if name.split(".")[0] == "lab"] == []


def test_the_lab_imports_the_base_only() -> None:
    base = set(layers()[0])
    for path in (PACKAGE / "lab").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                inside = _inside(node.module)
                outside_lab = inside and not inside.startswith("lab")
                assert not outside_lab or inside in base, f"{path.name} imports {inside}"
