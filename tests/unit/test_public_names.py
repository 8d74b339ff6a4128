"""What packages offer: a class name stands for one class, wherever it is read."""

from __future__ import annotations

import importlib
from collections import defaultdict
from inspect import isclass

from runbook_lib.base.locations import repository_root


def test_no_class_name_is_public_twice() -> None:
    root = repository_root()
    found: defaultdict[str, set[type]] = defaultdict(set)
    for stub in root.glob("runbook_lib/**/__init__.pyi"):
        package = importlib.import_module(".".join(stub.parent.relative_to(root).parts))
        for name in package.__all__:
            if isclass(each := getattr(package, name)):
                found[name].add(each)
    assert len(found) > 50
    assert {name: classes for name, classes in found.items() if len(classes) > 1} == {}
