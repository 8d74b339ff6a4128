"""The lab and the runbook in a container of Docker's that is given one option and no network.

Needs root, and Debian's packages docker.io and debootstrap: a daemon is started for these tests
alone, and the image is a bare Debian, made once into the user's cache. The checkout, its
environment and the lab's binaries are mounted into it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from runbook_lib.base.locations import cache_root, repository_root
from runbook_lib.base.wait import State, until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1800)]

RELEASE = "bookworm"
# The interpreter is the machine's own, unless that is Debian's; either needs the same libraries.
PACKAGES = "nftables,python3"
HOME = "/home/some one"
FLAG = "--security-opt=seccomp=unconfined"
CHAPTERS = (
    *("00_start_here", "01_install_istio", "02_label_namespace"),
    *("03_autoscaling", "04_mutual_tls", "05_authorization"),
)

users = pytest.mark.parametrize("user", [0, 1000], ids=["root", "user"])


@dataclass(frozen=True)
class Docker:
    """A daemon with one image.

    Attributes:
        socket: Of the daemon.
        image: The image's id.
    """

    socket: Path
    image: str

    def run(self, user: int, *arguments: str, options: tuple[str, ...] = ()) -> tuple[int, str]:
        """Run Python in a new container, from a new home; returns exit code and all it said.

        Args:
            user: Its id.
            arguments: Python's.
            options: Further ones of `docker run`.
        """
        with tempfile.TemporaryDirectory() as home:
            inside = f"{HOME}/.cache/istio-runbook/builds"
            _own(Path(home), ".cache/istio-runbook/builds", user)
            fixed = (repository_root(), Path(sys.prefix), Path(sys.base_prefix))
            given = [f"{each}:{each}:ro" for each in {*fixed} if each != Path("/usr")]
            mounts = [f"{home}:{HOME}", f"{cache_root() / 'builds'}:{inside}:ro", *given]
            return _said(
                *("docker", f"--host=unix://{self.socket}", "run", "--rm", "--network=none"),
                *(f"--user={user}:{user}", f"--workdir={repository_root()}", *options),
                *(f"--volume={each}" for each in mounts),
                *(f"--env={each}" for each in (f"HOME={HOME}", "GOGC=200")),
                *(self.image, sys.executable, *arguments),
            )


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Docker]:
    """A daemon of our own: no network, so it leaves the machine's alone."""
    if os.geteuid():
        pytest.fail("this needs root: sudo make test-container")
    # Not pytest's folder: a Unix socket has a short name.
    with tempfile.TemporaryDirectory(prefix="docker-") as scratch:
        folder, socket = Path(scratch), Path(scratch) / "socket"
        log = tmp_path_factory.mktemp("docker") / "dockerd.log"
        with log.open("wb") as output:
            daemon = subprocess.Popen(
                [
                    *("dockerd", f"--host=unix://{socket}", f"--pidfile={folder / 'pid'}"),
                    *(f"--data-root={folder / 'data'}", f"--exec-root={folder / 'exec'}"),
                    *("--bridge=none", "--iptables=false", "--ip6tables=false"),
                ],
                stdout=output,
                stderr=output,
            )
        try:

            def observe() -> State:
                assert daemon.poll() is None, f"dockerd ended: {log.read_text()[-2000:]}"
                return State(_said("docker", f"--host=unix://{socket}", "info")[0] == 0, "no")

            until("Docker's daemon to answer", observe, timeout=60)
            code, image = _said("docker", f"--host=unix://{socket}", "import", str(_debian()))
            assert code == 0, image
            yield Docker(socket, image.strip())
        finally:
            daemon.terminate()
            daemon.wait()


def _debian() -> Path:
    """A bare Debian as an archive, made if it is not there."""
    archive = cache_root() / "container" / f"{RELEASE}.tar"
    if not archive.exists():
        archive.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=archive.parent) as scratch:
            root, made = Path(scratch) / "root", Path(scratch) / "made.tar"
            options = ("--variant=minbase", f"--include={PACKAGES}")
            for argv in (
                # What it mounts goes with it, even when it is interrupted.
                ("unshare", "--mount", "debootstrap", *options, RELEASE, str(root)),
                ("chmod", "755", str(root / "root")),  # the interpreter may lie below it
                ("tar", "--create", f"--directory={root}", f"--file={made}", "."),
            ):
                code, said = _said(*argv)
                assert code == 0, f"{argv[0]} failed: {said[-2000:]}"
            made.rename(archive)
    return archive


def _own(home: Path, folders: str, user: int) -> None:
    (home / folders).mkdir(parents=True)
    for each in (home, *home.rglob("*")):
        os.chown(each, user, user)


def _said(*argv: str) -> tuple[int, str]:
    done = subprocess.run(
        argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    return done.returncode, done.stdout


@users
def test_without_the_option_the_message_names_it(docker: Docker, user: int) -> None:
    code, said = docker.run(user, "-m", "runbook_lib", "lab", "up")
    assert code == 1
    assert "a seccomp filter denies it, as in a container" in said
    assert "docker run --security-opt seccomp=unconfined ..." in said


@users
def test_with_it_the_runbook_passes_without_a_network(docker: Docker, user: int) -> None:
    words = ["run", "--start-lab", "--set", "story=safe", "--runs", f"{HOME}/runs"]
    words += [word for each in CHAPTERS for word in ("--only", each)]
    code, said = docker.run(user, "-m", "runbook_lib", *words, options=(FLAG,))
    assert code == 0, said
    assert "steps verified" in said


def test_kill_9_leaves_nothing_of_an_ordinary_users_lab(docker: Docker) -> None:
    words = ("-p", "no:cacheprovider", "-q", "tests/lab/test_lifecycle.py", "-k", "kill_9")
    code, said = docker.run(1000, "-m", "pytest", *words, options=(FLAG,))
    assert code == 0, said
    assert "3 passed" in said


def test_three_users_run_labs_at_once_where_known_ports_are_taken(docker: Docker) -> None:
    """The container is their machine; a home's name has a space in it."""
    code, said = docker.run(0, "-m", "tests.container.neighbours", options=(FLAG,))
    assert code == 0, said
    urls, statuses = zip(*(line.split() for line in said.splitlines()), strict=True)
    assert len(set(urls)) == 3
    assert set(statuses) == {"200"}
