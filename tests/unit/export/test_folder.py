"""An export replaces what an export wrote, and nothing else."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from runbook_lib.base import ParameterError
from runbook_lib.export import write

FILES = {"README.md": "read me\n", "manifests/a.yaml": "a: 1\n"}


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_second_export_of_the_same_changes_no_file(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "export"
    assert write(FILES, folder) == ("README.md", "manifests/a.yaml")
    before = contents(folder)
    assert write(FILES, folder) == ()
    assert contents(folder) == before


def test_its_digests_are_those_of_sha256sum(tmp_path: Path) -> None:
    write(FILES, tmp_path)
    subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )


def test_what_is_not_exported_any_more_goes(tmp_path: Path) -> None:
    write(FILES, tmp_path)
    assert write({"README.md": "other\n"}, tmp_path) == ("README.md", "manifests/a.yaml")
    assert contents(tmp_path).keys() == {"README.md", "SHA256SUMS"}


def test_a_folder_with_files_of_others_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ParameterError, match="is not empty, and no export has written it"):
        write(FILES, tmp_path)
    assert contents(tmp_path) == {"mine.txt": "mine"}


def test_files_that_people_add_to_an_export_stay(tmp_path: Path) -> None:
    write(FILES, tmp_path)
    (tmp_path / "mine.txt").write_text("mine")
    write({"README.md": "other\n"}, tmp_path)
    assert contents(tmp_path)["mine.txt"] == "mine"


@pytest.mark.parametrize("path", ["README.md", "manifests/a.yaml"])
@pytest.mark.parametrize("after", [FILES, {"README.md": "other\n"}])
def test_a_file_that_a_person_changed_is_not_replaced_or_removed(
    tmp_path: Path, path: str, after: dict[str, str]
) -> None:
    write(FILES, tmp_path)
    (tmp_path / path).write_text("changed by hand\n")
    before = contents(tmp_path)
    with pytest.raises(ParameterError, match=rf"{path} is not as an export wrote it"):
        write(after, tmp_path)
    assert contents(tmp_path) == before


def test_a_file_of_somebody_in_the_place_of_a_new_one_is_not_replaced(tmp_path: Path) -> None:
    write({"README.md": "read me\n"}, tmp_path)
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests/a.yaml").write_text("mine")
    with pytest.raises(ParameterError, match=r"manifests/a\.yaml is not as an export wrote it"):
        write(FILES, tmp_path)


def test_a_folder_that_cannot_be_made_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ParameterError, match="cannot write"):
        write(FILES, tmp_path / "file" / "export")
