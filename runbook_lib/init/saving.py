"""Write the file where its checks are passed, and nowhere else."""

from __future__ import annotations

import os
from pathlib import Path

from runbook_lib.base import ParameterError
from runbook_lib.init.drafting import Draft
from runbook_lib.parameters import loading


def refuse_to_replace(path: Path, *, force: bool) -> None:
    """Refuse a file that is there already.

    Args:
        path: Where a draft is to go.
        force: Whether it may be replaced.

    Raises:
        ParameterError: It is there.
    """
    if path.exists() and not force:
        raise ParameterError(
            f"{path} is there already, and may hold what a person has written",
            "choose another: --output FILE; or replace it: --force",
        )


def save(draft: Draft, path: Path, *, force: bool = False) -> None:
    """Check the draft as a run would, and write it.

    Args:
        draft: The file.
        path: Where to.
        force: Whether a file that is there already may be replaced.

    Raises:
        ParameterError: There is such a file, it cannot be written, or it does not pass the checks
            of parameters.
    """
    refuse_to_replace(path, force=force)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        part.write_text(draft.text, encoding="utf-8")
        loading.load(part)  # relative paths count from the file's folder
        part.replace(path)
    except OSError as error:
        raise ParameterError(
            f"cannot write {path}: {error.strerror or error}", "choose another: --output FILE"
        ) from error
    finally:
        part.unlink(missing_ok=True)
