"""A browser, and JupyterLab with a lab of the test's own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from runbook_lib.base.locations import repository_root
from tests.browser.jupyterlab import Notebook, Server, chromium, remove_run_folders, serve
from tests.labs import Lab
from tests.shelf import Shelf

NOTEBOOK = "04_mutual_tls"


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    path = chromium()
    # Chromium's sandbox needs rights that root in a container has not.
    flags = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=flags)
        yield running
        running.close()


@pytest.fixture(scope="package")
def mesh(labs: Shelf) -> Iterator[Lab]:
    """One mesh for all: what these tests look at is the browser."""
    with labs.borrowed(mesh=True, spoil=True) as lab:
        yield lab


@pytest.fixture(scope="package")
def server(mesh: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve(mesh, tmp_path_factory.mktemp("jupyter")) as running:
        yield running
    remove_run_folders(mesh)


@pytest.fixture(scope="package")
def profile(browser: Browser) -> Iterator[BrowserContext]:
    """One for all, because its cache holds JupyterLab; that resets itself when it is opened."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    yield context
    context.close()


@pytest.fixture
def page(profile: BrowserContext) -> Iterator[Page]:
    page = profile.new_page()
    yield page
    page.close()


@pytest.fixture
def pictures() -> Path:
    """Where screenshots are kept: runs/ is no part of the repository."""
    return repository_root() / "runs" / "screenshots"


@pytest.fixture
def notebook(server: Server, mesh: Lab, page: Page, pictures: Path) -> Iterator[Notebook]:
    """The chapter on mutual TLS on a mesh without policies, with a new kernel."""
    original = repository_root() / "notebooks" / f"{NOTEBOOK}.ipynb"
    (server.folder / original.name).write_bytes(original.read_bytes())
    mesh.run("kubectl", "delete", "peerauthentication", "--all", "--all-namespaces")
    opened = Notebook(page, pictures)
    opened.open(server.address(NOTEBOOK))
    opened.clear_outputs()
    yield opened
    opened.shut_down()
