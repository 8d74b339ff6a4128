"""JupyterLab as a person uses it: a server of the test's own, and one notebook on the screen."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from playwright.sync_api import Locator, Page, expect

from runbook_lib.base import Entry, journal, wait
from runbook_lib.base.locations import repository_root
from runbook_lib.lifecycle import runs
from tests.labs import Lab

TOKEN = "browser-test"
START_TIMEOUT = 60
CELL_TIMEOUT = 60_000
"""Milliseconds that a cell may take on a busy machine."""

_THEMES = "@jupyterlab/apputils-extension/themes"

_SETTINGS: dict[str, dict[str, object]] = {
    # No question about news, no request to the outside.
    "@jupyterlab/apputils-extension/notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
        "doNotDisturbMode": True,
    },
    # All cells are in the page, also those that are scrolled out of sight.
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},
    "@jupyterlab/docmanager-extension/plugin": {"autosave": False},
    # What a person may have switched on: the state of widgets is saved with the notebook.
    "@jupyter-widgets/jupyterlab-manager/plugin": {"saveState": True},
}


@dataclass(frozen=True)
class Server:
    """A running JupyterLab.

    Attributes:
        url: Its address on loopback.
        folder: The copies of the notebooks that it serves.
        settings: The folder with its user settings.
    """

    url: str
    folder: Path
    settings: Path

    def address(self, notebook: str) -> str:
        return f"{self.url}/lab/tree/{notebook}.ipynb?token={TOKEN}&reset"

    def set_theme(self, name: str) -> None:
        write_setting(self.settings, _THEMES, {"theme": name})


def write_setting(folder: Path, plugin: str, values: dict[str, object]) -> None:
    path = folder / f"{plugin}.jupyterlab-settings"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values))


@contextmanager
def serve(lab: Lab, folder: Path) -> Iterator[Server]:
    """Serve copies of the notebooks; the server and its kernels end with the block."""
    notebooks = folder / "notebooks"
    shutil.copytree(
        repository_root() / "notebooks",
        notebooks,
        ignore=shutil.ignore_patterns(".ipynb_checkpoints"),
    )
    places = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "IPYTHONDIR": "ipython",
    }
    inherited = {
        name: value
        for name, value in lab.environment.items()
        if not name.startswith(("JUPYTER", "JPY_", "RUNBOOK_")) or name == "RUNBOOK_LAB"
    }
    environment = {**inherited, **{name: str(folder / place) for name, place in places.items()}}
    for plugin, values in _SETTINGS.items():
        write_setting(folder / "settings", plugin, values)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    log = folder / "jupyterlab.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
                *("--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0"),
                *(f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={notebooks}"),
            ],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=repository_root(),
        )
    url = f"http://127.0.0.1:{port}"
    try:
        wait.until("JupyterLab", lambda: _look(process, url, log), timeout=START_TIMEOUT)
        yield Server(url, notebooks, folder / "settings")
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _look(process: subprocess.Popen[bytes], url: str, log: Path) -> wait.State:
    tail = log.read_text(errors="replace")[-500:]
    if process.poll() is not None:
        return wait.State(False, f"ended with {process.returncode}: {tail}", failed=True)
    try:
        answer = httpx.get(f"{url}/api/status?token={TOKEN}", timeout=5, trust_env=False)
    except httpx.TransportError as error:
        return wait.State(False, f"{error}; {tail}")
    return wait.State(answer.status_code == 200, str(answer.status_code))


class Notebook:
    """One notebook in the browser."""

    def __init__(self, page: Page, pictures: Path) -> None:
        self.page = page
        self._pictures = pictures

    def open(self, address: str) -> None:
        self.page.goto(address)
        expect(self.page.locator(".jp-Notebook")).to_be_visible(timeout=CELL_TIMEOUT)
        # The indicator is idle before there is a kernel, too.
        connected = self.page.locator("#jp-main-statusbar", has_text="| Idle")
        expect(connected).to_be_visible(timeout=CELL_TIMEOUT)
        self.idle()

    def idle(self) -> None:
        """Wait until the kernel is idle, and nothing is queued."""
        indicator = self.page.locator(".jp-Notebook-ExecutionIndicator[data-status='idle']")
        expect(indicator.first).to_be_visible(timeout=CELL_TIMEOUT)
        busy = self.page.locator(".jp-InputPrompt", has_text=re.compile(r"\[\*\]"))
        expect(busy).to_have_count(0, timeout=CELL_TIMEOUT)

    def cell(self, source: str) -> Locator:
        """The code cell with this text in its source."""
        editor = self.page.locator(".jp-InputArea-editor", has_text=source)
        return self.page.locator(".jp-CodeCell", has=editor)

    def output(self, source: str) -> Locator:
        """What is below the code cell with this text in its source."""
        return self.cell(source).locator(".jp-Cell-outputWrapper")

    def button(self, step: str, name: str) -> Locator:
        """A button of the gate of a step."""
        return self.output(f"{step}.gate()").get_by_role("button", name=name)

    def run_all(self) -> None:
        opening = self.cell("Runbook.open(").locator(".jp-InputPrompt").first
        before = opening.inner_text()
        self.menu("Run", "Run All Cells")
        expect(opening).not_to_have_text(before, timeout=CELL_TIMEOUT)
        self.idle()

    def run_from(self, source: str) -> None:
        """Run a cell and all below it."""
        self.start_from(source)
        self.idle()

    def start_from(self, source: str) -> None:
        """Begin to run a cell and all below it."""
        self.select(source)
        self.menu("Run", "Run Selected Cell and All Below")

    def run(self, source: str) -> None:
        """Run one cell."""
        self.select(source)
        self.page.keyboard.press("Control+Enter")
        self.idle()

    def select(self, source: str) -> None:
        self.cell(source).locator(".jp-InputPrompt").first.click()

    def restart_kernel(self) -> None:
        self.menu("Kernel", "Restart Kernel…")
        self.page.locator(".jp-Dialog .jp-mod-accept").click()
        self.idle()

    def clear_outputs(self) -> None:
        """Remove the outputs that the notebook was stored with."""
        self.menu("Edit", "Clear Outputs of All Cells")

    def shut_down(self) -> None:
        """End the kernel, whatever it is doing."""
        self.menu("Kernel", "Shut Down Kernel")
        self.page.locator(".jp-NotebookPanel-toolbar", has_text="No Kernel").wait_for()

    def menu(self, name: str, item: str) -> None:
        self.page.locator(".lm-MenuBar-item", has_text=re.compile(f"^{name}$")).click()
        # Some labels begin with another one: Save Notebook, Save Notebook As…
        self.page.get_by_role("menuitem").locator(".lm-Menu-itemLabel").get_by_text(
            item, exact=True
        ).click()

    def rewrite(self, old: str, new: str) -> None:
        """Put a line in place of another in a cell."""
        self.cell(old).locator(".cm-line", has_text=old).click()
        self.page.keyboard.press("Home")
        self.page.keyboard.press("Shift+End")
        self.page.keyboard.insert_text(new)
        expect(self.cell(new)).to_be_visible()

    def picture(self, name: str, source: str | None = None) -> None:
        """Keep a screenshot, with the cell of this source in sight."""
        self._pictures.mkdir(parents=True, exist_ok=True)
        if source is not None:
            self.cell(source).evaluate("cell => cell.scrollIntoView({block: 'start'})")
        self.page.screenshot(path=self._pictures / f"{name}.png")

    def evidence(self) -> tuple[Entry, ...]:
        """What was recorded since the cell that opens the runbook was run last."""
        return journal.read(self.evidence_file()).entries

    def evidence_file(self) -> Path:
        """Where it was recorded."""
        shown = self.output("Runbook.open(").inner_text()
        (folder,) = re.findall(r"Evidence:\s+(\S+)", shown)
        return Path(folder) / runs.EVIDENCE


def remove_run_folders(lab: Lab) -> None:
    """Remove the run folders that the notebooks made on this lab."""
    for folder in (repository_root() / "runs").glob("*-*"):
        started = runs.record_of(folder).started
        if started and started.target == f"lab-{lab.name}":
            shutil.rmtree(folder)


def chromium() -> Path:
    """Return the system's Chromium; tests install nothing."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name, path=os.environ["PATH"]):
            return Path(found)
    raise AssertionError("there is no Chromium on PATH; install it: apt-get install chromium")
