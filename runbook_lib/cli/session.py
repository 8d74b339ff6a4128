"""The command that opens JupyterLab, and the lab that it needs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from runbook_lib.base import FOLDER_VARIABLE, delivered, installed, working_folder
from runbook_lib.cli.options import ParametersFile, lab, load

if TYPE_CHECKING:
    from runbook_lib.parameters import Checked, Parameters


def notebook(context: typer.Context, parameters: ParametersFile = None) -> None:
    """Open the runbook in JupyterLab, on the lab or the cluster that the parameters name.

    Further options go to JupyterLab, such as --ip 0.0.0.0 --no-browser.
    """
    import sys
    from uuid import uuid4

    from runbook_lib.lifecycle.lease import HOLDER_VARIABLE
    from runbook_lib.parameters import FILE_VARIABLE

    given = load(parameters, None)
    typer.echo(f"Parameters: {given.origin}")
    start_lab(given)
    folder = working_folder()
    session = f"jupyterlab-{uuid4().hex[:8]}"
    variables = {**os.environ, FOLDER_VARIABLE: str(folder), HOLDER_VARIABLE: session}
    if parameters is not None:
        variables[FILE_VARIABLE] = str(parameters.absolute())
    # The notebooks ask for `python3`; one that somebody put on the path may be of an environment
    # without the runbook.
    own_kernel = str(Path(sys.prefix, "share", "jupyter"))
    variables["JUPYTER_PATH"] = os.pathsep.join(
        filter(None, [own_kernel, os.environ.get("JUPYTER_PATH")])
    )
    if installed():
        _copy_notebooks(folder)
    argv = [sys.executable, "-m", "jupyterlab", f"--notebook-dir={folder}"]
    # In most containers everybody is root, and JupyterLab refuses without this.
    argv += ["--allow-root"] if os.geteuid() == 0 else []
    argv += [*context.args, "notebooks/00_start_here.ipynb"]
    os.chdir(folder)
    os.execve(sys.executable, argv, variables)


def _copy_notebooks(folder: Path) -> None:
    """Give people copies of their own, to edit; what they have stays as it is."""
    import shutil

    for name in ("notebooks", "parameters"):
        if (folder / name).exists():
            typer.echo(f"{name}/ stays as it is: {folder / name}")
        else:
            shutil.copytree(delivered() / name, folder / name)
            typer.echo(f"{name}/ was copied to {folder / name}")


def start_lab(given: Checked) -> None:
    """Start the lab, where the target is one."""
    target = given.parameters.target
    if target.allows.starts_by_command:
        lab().up(target.lab)


def await_programs(notebook: str, parameters: Parameters) -> None:
    """Wait for what a notebook needs of the lab and may still be compiled."""
    target = parameters.target
    if notebook == "06_kiali" and target.allows.starts_by_command and parameters.mode == "apply":
        lab().wait_for_addons(target.lab)
