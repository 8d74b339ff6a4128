"""What is left of a path before it is logged: known words, and `*` for whatever could be a name."""

from __future__ import annotations

import re

import pytest

from runbook_lib.mesh.dry_run import paths

OWN = ("/app/template/Login.vm", "/data/projects/*")


def shown(path: str, *known: str) -> str:
    """A path as people read it in the end; a sidecar does the first half."""
    return paths.in_stars(re.sub(paths.pattern(known), paths.SUBSTITUTION, path))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/data/projects/Secret", "/data/projects/*"),
        (
            "/data/projects/P/subjects/Anna/experiments/MR1",
            "/data/projects/*/subjects/*/experiments/*",
        ),
        (
            "/data/archive/projects/Secret/subjects/Anna?label=Anna",
            "/data/archive/projects/*/subjects/*",
        ),
        ("/data/JSESSION", "/data/JSESSION"),
        ("/data/JSESSION;jsessionid=0A1B", "/data/*"),
        ("/data/projects", "/data/projects"),
        ("/data/projects/", "/data/projects/*"),
        ("/data/projects?owner=anna", "/data/projects"),
        ("/xapi/users/anna/roles/", "/xapi/users/*/roles/*"),
        ("/data/prearchive/projects/P/20260102/Anna_MR", "/data/prearchive/projects/*"),
        ("/data/experiments/E1/scans/4/files/anna/1.dcm", "/data/experiments/*/scans/*/files/*"),
        ("/app/template/Anna.vm/search_value/XNAT_S1", "/app/template/*"),
        ("/", "/*"),
        ("/anna", "/*"),
        ("//anna//", "/*"),
        ("*", "/*"),
    ],
)
def test_only_known_words_stay(path: str, expected: str) -> None:
    assert shown(path) == expected


@pytest.mark.parametrize("name", ["database", "data-anna", "projects2", "data%2Fanna", "a.data"])
def test_a_name_that_only_begins_or_ends_like_a_word_does_not_stay(name: str) -> None:
    assert shown(f"/data/{name}/data/{name}") == "/data/*/data/*"


@pytest.mark.parametrize("word", ["projects", "JSESSION", "files", "data"])
def test_a_project_that_is_called_like_a_word_is_a_name_all_the_same(word: str) -> None:
    assert shown(f"/data/projects/{word}/subjects/{word}") == "/data/projects/*/subjects/*"


def test_words_that_the_parameters_name_are_known() -> None:
    assert shown("/app/template/Login.vm", *OWN) == "/app/template/Login.vm"
    assert shown("/app/template/LoginXvm", *OWN) == "/app/template/*"
    assert shown("/shop/orders/7", "/shop/orders?x=secret") == "/shop/orders/*"


def test_the_stars_of_the_parameters_let_no_name_through() -> None:
    assert shown("/data/projects/Anna", *OWN) == "/data/projects/*"


def test_what_nothing_is_left_of_is_a_star() -> None:
    assert paths.in_stars(None) == paths.in_stars("") == "/*"
