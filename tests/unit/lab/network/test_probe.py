"""What denies namespaces is told apart, by taking it away and by what the machine says."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from runbook_lib.base.errors import RunbookError
from runbook_lib.lab.build.nftables import fetch_nft, find_nft
from runbook_lib.lab.foundation.errors import LabError
from runbook_lib.lab.network.probe import Machine, denial, require_namespaces

FREE = Machine(
    limits={"max_user_namespaces": 60_000},
    clone=1,
    apparmor=0,
    profile="",
    seccomp=False,
    privileged=False,
)
UNSHARE = "make namespaces"

TRIAL = """
import sys
from pathlib import Path
from runbook_lib.lab.network.probe import require_namespaces
from runbook_lib.lab.foundation.errors import LabError
{before}
try:
    require_namespaces(Path(sys.argv[1]))
except LabError as error:
    print(error.cause, error.remedy, sep="\\n")
"""

# A filter as container runtimes have it: unshare(2) is answered with EPERM. See seccomp(2); the
# system call's number is that of x86-64.
SECCOMP = """
import ctypes, struct
code = [(0x20, 0, 0, 0), (0x15, 0, 1, 272), (0x06, 0, 0, 0x00050001), (0x06, 0, 0, 0x7FFF0000)]
filters = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *each) for each in code))
program = struct.pack("=HxxxxxxQ", len(code), ctypes.addressof(filters))
libc = ctypes.CDLL(None)
libc.prctl(38, 1, 0, 0, 0)
assert libc.prctl(22, 2, ctypes.c_char_p(program), 0, 0) == 0
"""


@pytest.fixture(scope="module")
def nft() -> Path:
    found = find_nft()
    try:
        require_namespaces(found)
    except RunbookError as error:
        pytest.skip(f"this machine cannot run a lab: {error}")
    return found or fetch_nft()


def trial(nft: Path, *prefix: str, before: str = "") -> str:
    """What a process hears that tries namespaces in circumstances of its own."""
    argv = [*prefix, sys.executable, "-c", TRIAL.format(before=before), str(nft)]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def test_a_machine_that_lets_it_is_found_so_within_a_second(nft: Path) -> None:
    began = time.monotonic()
    require_namespaces(nft)
    assert time.monotonic() - began < 5  # a busy machine; 0.2 s on an idle one


@pytest.mark.parametrize("limit", ["max_user_namespaces", "max_net_namespaces"])
def test_a_limit_is_named_with_the_line_that_raises_it(nft: Path, limit: str) -> None:
    lower = f'echo 0 > /proc/sys/user/{limit}; exec "$@"'
    said = trial(nft, "unshare", "--user", "--map-root-user", "sh", "-c", lower, "sh")
    assert f"the limit user.{limit} is 0" in said
    assert f"as root: sysctl user.{limit}=" in said


def test_a_seccomp_filter_is_named_with_the_flag_of_docker(nft: Path) -> None:
    said = trial(nft, before=SECCOMP)
    assert "a seccomp filter denies it" in said
    assert "docker run --security-opt seccomp=unconfined" in said
    assert "seccompProfile: {type: Unconfined}" in said


@pytest.mark.parametrize(
    ("machine", "code", "cause", "remedy"),
    [
        (
            replace(FREE, clone=0),
            errno.EPERM,
            "gives ordinary users no",
            "unprivileged_userns_clone=1",
        ),
        (
            replace(FREE, apparmor=1),
            errno.EPERM,
            "AppArmor denies it",
            "restrict_unprivileged_userns=0",
        ),
        (
            replace(FREE, profile="docker-default"),
            errno.EACCES,
            "profile docker-default",
            "apparmor=",
        ),
        (replace(FREE, limits={}), errno.ENOSPC, "limit user.max_user_namespaces", "sysctl user."),
        (FREE, errno.EPERM, "Operation not permitted", "security policies"),
    ],
)
def test_each_denial_has_its_own_words(
    machine: Machine, code: int, cause: str, remedy: str
) -> None:
    error = denial(UNSHARE, code, machine)
    assert cause in error.cause
    assert remedy in error.remedy


def test_root_is_not_told_about_settings_for_ordinary_users() -> None:
    machine = replace(FREE, clone=0, apparmor=1, seccomp=True, privileged=True)
    assert "seccomp" in denial(UNSHARE, errno.EPERM, machine).cause


def test_all_that_a_container_runtime_denies_is_lifted_by_one_line() -> None:
    error = denial(UNSHARE, errno.EPERM, replace(FREE, seccomp=True, profile="docker-default"))
    assert "a seccomp filter or the AppArmor profile docker-default denies it" in error.cause
    assert (
        "docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined"
        in error.remedy
    )
    assert "appArmorProfile: {type: Unconfined}" in error.remedy


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, replace(FREE, limits={}, clone=None, apparmor=None)),
        (
            {"sys/user/max_net_namespaces": "7\n", "sys/kernel/unprivileged_userns_clone": "0\n"},
            replace(FREE, limits={"max_net_namespaces": 7}, clone=0, apparmor=None),
        ),
        (
            {
                "sys/kernel/apparmor_restrict_unprivileged_userns": "1\n",
                "self/attr/apparmor/current": "unconfined\n",
                "self/status": "Name:\tpython\nCapEff:\t0000000000000000\nSeccomp:\t0\n",
            },
            replace(FREE, limits={}, clone=None, apparmor=1),
        ),
        (
            # As root in a container: no CAP_SYS_ADMIN.
            {
                "self/attr/apparmor/current": "docker-default (enforce)\n",
                "self/status": "CapEff:\t00000000a80425fb\nNoNewPrivs:\t0\nSeccomp:\t2\n",
            },
            replace(
                FREE, limits={}, clone=None, apparmor=None, profile="docker-default", seccomp=True
            ),
        ),
        (
            {
                "self/attr/apparmor/current": "vscode (unconfined)\n",
                "self/status": "CapEff:\t000001ffffffffff\nSeccomp:\t0\n",
            },
            replace(FREE, limits={}, clone=None, apparmor=None, privileged=True),
        ),
    ],
)
def test_the_kernel_says_what_can_deny(
    tmp_path: Path, files: dict[str, str], expected: Machine
) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    assert Machine.read(tmp_path) == expected


def test_a_missing_program_is_named_with_its_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LabError, match="the lab needs the program unshare") as error:
        require_namespaces(None)
    assert "util-linux" in error.value.remedy


@pytest.mark.usefixtures("nft")  # a machine that cannot run a lab says something else
def test_lab_up_says_so_before_it_fetches_or_builds_anything(tmp_path: Path) -> None:
    code = f"{SECCOMP}\nfrom runbook_lib.cli import main; main()"
    said = subprocess.run(
        [sys.executable, "-c", code, "lab", "up"],
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 1
    assert "a seccomp filter denies it" in said.stderr
    assert [each.name for each in tmp_path.rglob("*")] == ["istio-runbook", "labs", "default.lock"]
