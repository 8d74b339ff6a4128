"""A person asks for a token in JupyterLab: it is on the screen, and not in what is saved."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Page, expect

from runbook_lib.base.locations import repository_root
from tests.browser.jupyterlab import Notebook, Server
from tests.labs import Lab

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

LOGIN = "runbook.kiali_login()"
ACCOUNT = "kiali-service-account"
JWT = re.compile(r"eyJ[\w-]+\.eyJ[\w-]+")


@pytest.fixture
def notebook(server: Server, mesh: Lab, page: Page, pictures: Path) -> Iterator[Notebook]:
    """A notebook with the login alone, on a mesh that has Kiali's account and no Kiali."""
    kubectl = ("kubectl", "--namespace", "istio-system")
    mesh.run(*kubectl, "create", "serviceaccount", ACCOUNT)
    original = repository_root() / "notebooks" / "04_mutual_tls.ipynb"
    copy = nbformat.read(original, as_version=4)
    opening = [cell for cell in copy.cells if cell.cell_type == "code"][:2]
    opening[1].source = opening[1].source.partition("runbook.steps")[0].rpartition("\n")[0]
    copy.cells = [*opening, nbformat.v4.new_code_cell(LOGIN)]
    nbformat.write(copy, server.folder / "login.ipynb")
    opened = Notebook(page, pictures)
    opened.open(server.address("login"))
    opened.clear_outputs()
    yield opened
    opened.shut_down()
    mesh.run(*kubectl, "delete", "serviceaccount", ACCOUNT)


def test_a_token_is_on_the_screen_and_not_in_the_saved_notebook(
    notebook: Notebook, server: Server
) -> None:
    notebook.run_all()
    below = notebook.output(LOGIN)
    expect(below).to_contain_text(f"create token {ACCOUNT}")
    below.get_by_role("button", name=f"Show a token for {ACCOUNT}").click()
    secret = below.frame_locator("iframe").locator("textarea")
    expect(secret).to_have_value(JWT)
    notebook.picture("token", LOGIN)

    notebook.menu("File", "Save Notebook")
    saved = server.folder / "login.ipynb"
    expect(notebook.page.locator(".jp-mod-dirty")).to_have_count(0)
    text = saved.read_text()
    # The state of the widgets is saved, so this is the notebook with the token on the screen.
    assert "Show a token for" in json.dumps(json.loads(text)["metadata"].get("widgets", {}))
    assert "<iframe" in text
    assert secret.input_value() not in text
    assert JWT.findall(text) == []
    assert "token-shown" in [entry.event.name for entry in notebook.evidence()]
    assert JWT.findall(notebook.evidence_file().read_text()) == []
