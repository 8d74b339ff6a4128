"""Write an export where it replaces nothing that people wrote."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from runbook_lib.base import ParameterError

SUMS = "SHA256SUMS"
"""Names the files of an export, for `sha256sum --check`: only what is in it is replaced."""


def write(files: Mapping[str, str], folder: Path) -> tuple[str, ...]:
    """Write files into a folder, and remove those of an earlier export that are no more.

    Args:
        files: Text by path in the folder.
        folder: An empty one, a new one, or one of an earlier export. Further files in the latter
            stay as they are.

    Returns:
        The paths that were written or removed because they differed.

    Raises:
        ParameterError: It would replace a file that no export has written, or that was changed
            since; or the folder cannot be written.
    """
    try:
        earlier = _earlier(folder)
        _refuse_to_replace(files, folder, earlier)
        changed = [path for path, text in files.items() if _digest(folder / path) != _sum(text)]
        gone = [path for path in earlier if path not in files]
        for path in files:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(files[path], encoding="utf-8")
        for path in gone:
            (folder / path).unlink(missing_ok=True)
        lines = [f"{_sum(text)}  {path}\n" for path, text in sorted(files.items())]
        (folder / SUMS).write_text("".join(lines), encoding="utf-8")
    except OSError as error:
        raise ParameterError(
            f"cannot write {error.filename}: {error.strerror or error}", "choose another folder"
        ) from error
    return tuple(sorted([*changed, *gone]))


def _earlier(folder: Path) -> dict[str, str]:
    """Return the files of an earlier export and their digests; none for a new or empty folder."""
    if not folder.exists() or not any(folder.iterdir()):
        return {}
    if not (folder / SUMS).exists():
        raise ParameterError(
            f"{folder} is not empty, and no export has written it: there is no {SUMS} in it",
            "choose a new folder, such as one inside of it",
        )
    lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    pairs = (line.split("  ", 1) for line in lines)
    return {pair[1]: pair[0] for pair in pairs if len(pair) == 2}


def _refuse_to_replace(files: Mapping[str, str], folder: Path, earlier: Mapping[str, str]) -> None:
    kept = sorted(
        path
        for path in {**files, **earlier}
        if (found := _digest(folder / path)) is not None
        and found not in (earlier.get(path), _sum(files[path]) if path in files else None)
    )
    if kept:
        raise ParameterError(
            f"{folder}: {', '.join(kept)} is not as an export wrote it, and would be lost",
            "move what you wrote to a file of its own, and remove or restore these; then run it "
            "again",
        )


def _digest(path: Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def _sum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
