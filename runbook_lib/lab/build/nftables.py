"""Find `nft`, which writes the rules of Services and sidecars; fetch it where there is none.

Fetching needs no root: the distribution's packages are unpacked into the lab's cache.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

from runbook_lib.base.locations import cache_root
from runbook_lib.lab.foundation.errors import LabError

_SYSTEM = "/usr/local/sbin:/usr/sbin:/sbin"
"""Where it lies if the distribution has it; an ordinary user's PATH lacks these."""

_REMEDY = "install it: the package is called nftables"


def find_nft() -> Path | None:
    """The machine's own, or the one that was fetched before."""
    found = shutil.which("nft", path=f"{os.environ.get('PATH', os.defpath)}:{_SYSTEM}")
    if found:
        return Path(found)
    fetched = _cached() / "nft"
    return fetched if fetched.exists() else None


def fetch_nft() -> Path:
    """Unpack the program into the cache, from the distribution's packages.

    Raises:
        LabError: it cannot be had; names the package to install.
    """
    if not all(map(shutil.which, ("apt-get", "dpkg-deb"))):
        raise LabError("the lab needs the program nft", _REMEDY)
    _fetch(_cached())
    return _cached() / "nft"


def _cached() -> Path:
    return cache_root() / "nftables"


def _fetch(final: Path) -> None:
    final.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="nftables-", dir=final.parent) as scratch:
        folder = Path(scratch)
        packages = _missing_packages(folder)
        _run(["apt-get", *_options(folder), "--quiet", "download", *packages], folder)
        root = folder / "root"
        for package in sorted(folder.glob("*.deb")):
            _run(["dpkg-deb", "--extract", str(package), str(root)], folder)
        # It finds the libraries beside it wherever the cache lies.
        libraries = sorted({str(each.parent) for each in root.rglob("*.so.*")})
        paths = ":".join(each.replace(str(root), str(final / "root")) for each in libraries)
        program = final / "root/usr/sbin/nft"
        script = folder / "nft"
        script.write_text(
            f"#!/bin/sh\nLD_LIBRARY_PATH={shlex.quote(paths)} exec {shlex.quote(str(program))} "
            '"$@"\n'
        )
        script.chmod(0o755)
        made = folder / "made"
        made.mkdir()
        root.rename(made / "root")
        script.rename(made / "nft")
        shutil.rmtree(final, ignore_errors=True)
        made.rename(final)


def _missing_packages(folder: Path) -> list[str]:
    """The package and those of its dependencies that are not installed."""
    simulate = ["apt-get", "--simulate", "--no-install-recommends", "install", "nftables"]
    try:
        said = _run(simulate, folder)
    except LabError:
        # The machine has no lists of packages, or old ones.
        lists = folder / "lists"
        (lists / "partial").mkdir(parents=True)
        _run(["apt-get", *_options(folder), "update"], folder)
        said = _run([simulate[0], *_options(folder), *simulate[1:]], folder)
    return re.findall(r"^Inst (\S+)", said, re.MULTILINE)


def _options(folder: Path) -> list[str]:
    """Have apt keep its lists in a folder of ours, if it was told to fetch some there."""
    lists = folder / "lists"
    if not lists.is_dir():
        return []
    settings = (
        f"Dir::State::lists={lists}",
        f"Dir::Cache={folder / 'cache'}",
        "Debug::NoLocking=1",
    )
    (folder / "cache/archives/partial").mkdir(parents=True, exist_ok=True)
    return [word for each in settings for word in ("-o", each)]


def _run(argv: list[str], folder: Path) -> str:
    done = subprocess.run(
        argv,
        cwd=folder,
        env={**os.environ, "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-3:]
        raise LabError(
            f"the lab needs the program nft, and {' '.join(argv[:3])} failed: {' '.join(last)}",
            _REMEDY,
        )
    return done.stdout
