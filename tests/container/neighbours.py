"""Three users of one machine start labs at once, while all ports that a lab knows are taken.

Run as root; HOME holds the cache with the lab's binaries. Prints a line for each lab.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import httpx

from runbook_lib.base.locations import cache_root
from tests.labs import LOGIN_PAGE, hold_known_ports

USERS = (2001, 2002, 2003)


def home_of(user: int) -> Path:
    """Make a home that uses the binaries of ours."""
    home = Path.home() / f"user {user}"
    cache = home / ".cache/istio-runbook"
    cache.mkdir(parents=True)
    (cache / "builds").symlink_to(cache_root() / "builds")
    for each in (home, *home.rglob("*")):
        os.chown(each, user, user, follow_symlinks=False)
    return home


def lab(user: int, home: Path, command: str) -> subprocess.Popen[str]:
    """Begin a command of `lab` as another user."""
    return subprocess.Popen(
        [sys.executable, "-m", "runbook_lib", "lab", command],
        user=user,
        group=user,
        extra_groups=[],
        env={**os.environ, "HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def main() -> None:
    """Start them together, ask each one's site, stop them together."""
    Path.home().chmod(0o755)
    homes = {user: home_of(user) for user in USERS}
    with ExitStack() as stack:
        hold_known_ports(stack)
        for starting in [lab(user, home, "up") for user, home in homes.items()]:
            said, _ = starting.communicate()
            assert starting.returncode == 0, said
            (url,) = [word for word in said.split() if word.startswith("http:")]
            print(url, httpx.get(f"{url}{LOGIN_PAGE}", timeout=10, trust_env=False).status_code)
        for stopping in [lab(user, home, "down") for user, home in homes.items()]:
            said, _ = stopping.communicate()
            assert stopping.returncode == 0, said


if __name__ == "__main__":
    main()
