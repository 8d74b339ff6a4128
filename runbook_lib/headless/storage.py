"""Copy a run's folder to object storage, or to any other place for which fsspec has a file system.

The run itself works in a folder: evidence has to be on disk before a change begins.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from runbook_lib.base import ParameterError, RunbookError
from runbook_lib.lifecycle import runs

_INSTALL = "pip install 'istio-runbook[s3]'"

_BUCKETS = frozenset({"abfs", "abfss", "az", "gcs", "gs", "s3", "s3a"})
"""Where a folder is part of a name: making one would ask for the right to make buckets."""

_BEGUN = b'{"complete": false}\n'
"""The summary of a run that has not come to its end."""


@dataclass(frozen=True)
class Storage:
    """A place for the folders of runs.

    Attributes:
        url: The place.
        files: Its file system, one of fsspec's.
    """

    url: str
    files: Any

    def begin(self, folder: Path) -> None:
        """Say at the place that a run has begun, before anything is changed.

        Raises:
            RunbookError: It cannot be written to.
        """
        with self._writing("nothing has been touched; correct the URL or its rights"):
            self._make_room(f"{self._place(folder)}/{runs.SUMMARY}")
            self.files.pipe_file(f"{self._place(folder)}/{runs.SUMMARY}", _BEGUN)

    def keep(self, folder: Path) -> str:
        """Copy all files of a run; returns where they are.

        Raises:
            RunbookError: They could not be copied.
        """
        with self._writing(f"everything is in {folder}: copy it by hand"):
            for path in sorted(folder.rglob("*")):
                if path.is_file():
                    there = f"{self._place(folder)}/{path.relative_to(folder).as_posix()}"
                    self._make_room(there)
                    self.files.put_file(str(path), there)
        return self._place(folder)

    def _place(self, folder: Path) -> str:
        return f"{self.url.rstrip('/')}/{folder.name}"

    def _make_room(self, file: str) -> None:
        protocols = self.files.protocol
        if not _BUCKETS.intersection((protocols,) if isinstance(protocols, str) else protocols):
            self.files.makedirs(file.rpartition("/")[0], exist_ok=True)

    @contextmanager
    def _writing(self, remedy: str) -> Iterator[None]:
        try:
            with runs.written_to(Path(self.url)):
                yield
        except RunbookError:
            raise
        # What a file system raises is its library's own: botocore's, aiohttp's and others.
        except Exception as error:
            said = str(error) or type(error).__name__
            raise RunbookError(f"cannot write the run to {self.url}: {said}", remedy) from error


def of(output: str) -> Storage | None:
    """Return the place that a URL names; None for a folder.

    Args:
        output: A folder or a URL; S3 takes credentials and endpoint as boto3 does, see
            https://s3fs.readthedocs.io/en/latest/#credentials.

    Raises:
        ParameterError: The URL cannot be used, or what it takes is not installed.
    """
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):/", output)
    if found is None:
        return None
    scheme = found[1]
    if not output.startswith(f"{scheme}://") or scheme != scheme.lower():
        raise ParameterError(
            f"--runs {output} is neither a folder nor a URL", "write s3://bucket/folder"
        )
    if "@" in urlsplit(output).netloc:
        raise ParameterError(
            "the URL of --runs holds credentials",
            "remove them; give them as the library for it expects them, such as AWS_PROFILE for S3",
        )
    try:
        import fsspec  # type: ignore[import-untyped]
    except ModuleNotFoundError as error:
        raise ParameterError(f"--runs {output} needs fsspec", f"{_INSTALL}") from error
    try:
        return Storage(output, fsspec.filesystem(scheme))
    except ImportError as error:
        raise ParameterError(
            f"--runs {output}: {error}", f"for S3: {_INSTALL}; for others see the message"
        ) from error
    except ValueError as error:
        known = "s3://, gs://, abfs://, file://"
        raise ParameterError(
            f"--runs {output}: fsspec knows no {scheme}://", f"use one that it knows: {known}, …"
        ) from error
