"""Hand checked parameters to the kernels of a run: as they are, so that nothing is read twice."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from pathlib import Path

from runbook_lib.parameters.loading import Checked, register_secrets

VARIABLE = "RUNBOOK_CHECKED_PARAMETERS"
"""Names the file with a run's parameters to its kernels."""


def hand_over(checked: Checked, folder: Path) -> dict[str, str]:
    """Write parameters for kernels, and return the environment in which these find them.

    They may hold passwords among Helm's values, so they go neither into the notebooks nor into the
    run's folder.

    Args:
        checked: The parameters.
        folder: Of this process alone: what is in it is trusted, as `multiprocessing` trusts a pipe.
    """
    file = folder / "parameters.pickle"
    file.touch(0o600)
    file.write_bytes(pickle.dumps(checked))
    return {VARIABLE: str(file)}


def received(environ: Mapping[str, str] = os.environ) -> Checked | None:
    """Return what was handed to this kernel; None if it is no part of a run."""
    file = environ.get(VARIABLE)
    if not file:
        return None
    checked = pickle.loads(Path(file).read_bytes())
    assert isinstance(checked, Checked)
    register_secrets(checked.parameters.model_dump())
    return checked
