from __future__ import annotations

from pathlib import Path

import pytest

from runbook_lib.base import locations


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment in which this is an installed wheel."""
    packages = tmp_path / "lib" / "site-packages"
    monkeypatch.setattr(locations, "repository_root", lambda: packages)
    monkeypatch.setattr("sys.prefix", str(tmp_path))
    return tmp_path


def test_a_checkout_is_where_everything_is() -> None:
    root = locations.repository_root()
    assert locations.delivered() == locations.working_folder() == root
    assert locations.command_line("lab", "up") == "python -m runbook_lib lab up"


def test_an_installed_one_works_in_the_current_folder(
    environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (environment / "share" / "istio-runbook" / "notebooks").mkdir(parents=True)
    assert locations.delivered() == environment / "share" / "istio-runbook"
    assert locations.working_folder() == Path.cwd()
    assert locations.command_line("lab", "up") == "istio-runbook lab up"
    monkeypatch.setenv(locations.FOLDER_VARIABLE, "/home/ana/mesh")
    assert locations.working_folder() == Path("/home/ana/mesh")


@pytest.mark.usefixtures("environment")
def test_one_that_was_installed_for_a_user_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "user"
    (home / "share" / "istio-runbook" / "notebooks").mkdir(parents=True)
    monkeypatch.setattr("site.getuserbase", lambda: str(home))
    assert locations.delivered() == home / "share" / "istio-runbook"
