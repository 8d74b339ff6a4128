"""A person has the parameters file written in JupyterLab: choose, look, save."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Page, expect

from runbook_lib.base.locations import repository_root
from runbook_lib.parameters import loading
from tests.browser.jupyterlab import CELL_TIMEOUT, Notebook, Server
from tests.labs import Lab

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

FORM = "Runbook.parameters_form()"


@pytest.fixture
def notebook(server: Server, page: Page, pictures: Path) -> Iterator[Notebook]:
    """The first notebook as far as the form."""
    copy = nbformat.read(repository_root() / "notebooks" / "00_start_here.ipynb", as_version=4)
    sources = [cell.source for cell in copy.cells]
    copy.cells = copy.cells[: sources.index(FORM) + 1]
    nbformat.write(copy, server.folder / "form.ipynb")
    opened = Notebook(page, pictures)
    opened.open(server.address("form"))
    opened.clear_outputs()
    yield opened
    opened.shut_down()


def test_the_form_shows_the_file_and_saves_it(
    notebook: Notebook, mesh: Lab, tmp_path: Path
) -> None:
    notebook.run_all()
    form = notebook.output(FORM)
    form.get_by_label("Context").select_option(mesh.state.context)
    form.get_by_label("Namespace").fill("xnat")
    form.get_by_label("Namespace").press("Enter")
    file = tmp_path / "my-cluster.yaml"
    form.get_by_label("File").fill(str(file))
    form.get_by_role("button", name="Look").click()
    shown = form.locator("pre")
    expect(shown).to_contain_text("StatefulSet/xnat-postgresql", timeout=CELL_TIMEOUT)
    expect(form.get_by_role("status")).to_contain_text("CHANGE application.probes")
    notebook.picture("form", FORM)
    form.get_by_role("button", name="Save").click()
    expect(form.get_by_role("status")).to_contain_text("passes its checks")
    assert loading.load(file).parameters.application.web.name == "xnat-xnat-web"
