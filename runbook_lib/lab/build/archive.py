"""One machine of a team compiles the lab's programs; the others fetch what it made.

An archive holds the folders of all modules, each under its digest: it fits checkouts with the same
go.mod, go.sum and flags, and is refused by others. Two exports of one build are the same bytes.
"""

from __future__ import annotations

import gzip
import hashlib
import platform
import re
import shutil
import tarfile
import tempfile
from pathlib import Path

import httpx

from runbook_lib.base.locations import command_line
from runbook_lib.lab.build.binaries import Build, Progress, builds, find_build, locked, missing
from runbook_lib.lab.build.recipes import BASE, MODULES
from runbook_lib.lab.foundation.errors import LabError

_TIMEOUT = httpx.Timeout(30.0)
"""For connecting and for each read; a download as a whole takes as long as it takes."""


def export(target: Path) -> str:
    """Write the build into an archive (tar, gzip); returns its SHA-256.

    Args:
        target: The file, replaced in one step.

    Raises:
        LabError: The build is not there, or not whole.
    """
    if missing():
        names = ", ".join(module.name for module in missing())
        raise LabError(f"not built yet: {names}", remedy=command_line("lab", "build"))
    partial = target.with_name(f"{target.name}.partial")
    try:
        # No name and no time in the header: the bytes follow from the contents.
        with (
            partial.open("wb") as raw,
            gzip.GzipFile("", "wb", compresslevel=1, fileobj=raw, mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as archive,
        ):
            for module in MODULES:
                archive.add(module.root(), _place(module.digest()), filter=_anonymous)
        digest = _sha256(partial)
        partial.rename(target)
    finally:
        partial.unlink(missing_ok=True)
    return digest


def fetch(url: str, sha256: str, progress: Progress) -> Build:
    """Fetch an archive and take the build out of it; a download that broke off is resumed.

    Args:
        url: Where it is, by HTTP or HTTPS.
        sha256: What `export` said, in hexadecimal digits.
        progress: Told how many MiB are there.

    Raises:
        LabError: It cannot be fetched, is another one, or belongs to another version of the lab.
    """
    if not re.fullmatch("[0-9a-fA-F]{64}", sha256):
        raise LabError(
            f"{sha256!r} is no SHA-256", remedy="give the 64 hexadecimal digits of `lab export`"
        )
    builds().mkdir(parents=True, exist_ok=True)
    with locked(BASE, progress):
        if missing():
            _fetch(url, sha256.lower(), progress)
    made = find_build()
    assert made is not None, "every module was in the archive"
    return made


def _fetch(url: str, sha256: str, progress: Progress) -> None:
    file = builds() / f"{sha256}.download"
    _download(url, file, progress)
    found = _sha256(file)
    if found != sha256:
        file.unlink()
        raise LabError(
            f"what {url} holds has the SHA-256 {found}, and {sha256} was given: nothing was used",
            remedy="ask who exported it for the address and the sum, and fetch it again",
        )
    progress("unpacking", 0, 0)
    _unpack(file, url)
    file.unlink()


def _place(digest: str) -> str:
    return f"{platform.system().lower()}-{platform.machine()}/{digest}"


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    return entry


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _download(url: str, file: Path, progress: Progress) -> None:
    there = file.stat().st_size if file.exists() else 0
    # As it lies there: a server that calls it encoded would have it unpacked on the way.
    header = {"Accept-Encoding": "identity"}
    header |= {"Range": f"bytes={there}-"} if there else {}
    try:
        with httpx.stream(
            "GET", url, headers=header, timeout=_TIMEOUT, follow_redirects=True
        ) as answer:
            if there and answer.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                return  # all of it is there
            answer.raise_for_status()
            goes_on = answer.status_code == httpx.codes.PARTIAL_CONTENT
            done = there if goes_on else 0
            total = done + int(answer.headers.get("Content-Length", 0))
            with file.open("ab" if goes_on else "wb") as output:
                for chunk in answer.iter_raw():
                    output.write(chunk)
                    done += len(chunk)
                    progress("fetching the lab's programs (MiB)", done >> 20, total >> 20)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        kept = f"; {file.stat().st_size >> 20} MiB are kept" if file.exists() else ""
        raise LabError(
            f"{url} cannot be fetched: {error or type(error).__name__}{kept}",
            remedy="check the address and the connection, and run it again: it goes on from there",
        ) from error


def _unpack(file: Path, url: str) -> None:
    """Take the modules' folders out; each appears under its name once it is whole."""
    partial = Path(tempfile.mkdtemp(prefix="archive.partial-", dir=builds()))
    try:
        with tarfile.open(file, "r:gz") as archive:
            # Its sum was checked; the filter came with Python 3.11.4.
            safe = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
            archive.extractall(partial, **safe)  # type: ignore[arg-type]
        for module in MODULES:
            source = partial / _place(module.digest())
            if not source.is_dir():
                held = sorted(str(each.relative_to(partial)) for each in partial.glob("*/*"))
                raise LabError(
                    f"{url} does not fit: it has no {_place(module.digest())} "
                    f"({module.name}), but {', '.join(held) or 'nothing of the lab'}",
                    remedy="export it from the same version of the runbook, on the same platform",
                )
        for module in MODULES:
            if not module.root().exists():
                (partial / _place(module.digest())).rename(module.root())
    except (tarfile.TarError, EOFError, OSError) as error:
        raise LabError(
            f"what was fetched from {url} cannot be unpacked: {error}",
            remedy="check that the disk has 3 GB free; else write the archive anew with: "
            + command_line("lab", "export"),
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
