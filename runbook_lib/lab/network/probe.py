"""Whether this machine lets the lab make its namespaces, and if not, what denies it.

A trial does once what a lab does all the time. Asking for a namespace alone would not tell: where
AppArmor restricts them, one is given, and everything in it is denied.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from runbook_lib.base.locations import repository_root
from runbook_lib.lab.foundation.addresses import pod_ip
from runbook_lib.lab.foundation.errors import LabError
from runbook_lib.lab.network.gate import ENTER
from runbook_lib.lab.network.node import set_up_node
from runbook_lib.lab.network.sandbox import make_sandbox

_REDIRECTION = """\
table inet probe {
  chain output {
    type nat hook output priority -100;
    meta mark 1337 return
    tcp dport 80 redirect to :15001
  }
}
"""
_PROGRAMS = ("unshare", "nsenter", "setpriv", "setsid")
_LIMITS = ("max_user_namespaces", "max_net_namespaces", "max_mnt_namespaces")
_FEW = 100
"""A limit below which a lab of some pods cannot be expected to run."""
_SYS_ADMIN = 1 << 21
"""The capability with which a process may make namespaces by itself; see capabilities(7)."""


@dataclass(frozen=True)
class Machine:
    """What can deny namespaces.

    Attributes:
        limits: This user's, by their names below /proc/sys/user.
        clone: kernel.unprivileged_userns_clone, which Debian's kernels have; None without it.
        apparmor: kernel.apparmor_restrict_unprivileged_userns; None without it.
        profile: The AppArmor profile that is enforced on this process; empty without one.
        seccomp: Whether a filter of system calls is on it, as container runtimes put there.
        privileged: Whether it needs no leave of the kernel's: the two settings do not concern it.
    """

    limits: dict[str, int]
    clone: int | None
    apparmor: int | None
    profile: str
    seccomp: bool
    privileged: bool

    @classmethod
    def read(cls, proc: Path = Path("/proc")) -> Machine:
        """As this process finds it.

        Args:
            proc: The folder of that name.
        """
        kernel, user = proc / "sys/kernel", proc / "sys/user"
        limits = {name: number for name in _LIMITS if (number := _number(user / name)) is not None}
        profile, _, mode = _read(proc / "self/attr/apparmor/current").partition(" ")
        status = dict(re.findall(r"^(\w+):\s*(\w+)", _read(proc / "self/status"), re.MULTILINE))
        return cls(
            limits=limits,
            clone=_number(kernel / "unprivileged_userns_clone"),
            apparmor=_number(kernel / "apparmor_restrict_unprivileged_userns"),
            profile=profile if mode == "(enforce)" else "",
            seccomp=status.get("Seccomp") == "2",
            privileged=bool(int(status.get("CapEff", "0"), 16) & _SYS_ADMIN),
        )


def denial(failed: str, code: int, machine: Machine) -> LabError:
    """Say what denied something, with the line that helps.

    Args:
        failed: What the trial could not do.
        code: The kernel's error; 0 if it is not known.
        machine: Where it happened.
    """
    low = [name for name, number in machine.limits.items() if number < _FEW]
    said = f"this machine does not let the lab {failed}"
    if low or code == errno.ENOSPC:
        name = low[0] if low else "max_user_namespaces"
        return LabError(
            f"{said}: the limit user.{name} is {machine.limits.get(name, 'too low')}",
            f"as root: sysctl user.{name}=10000",
        )
    if machine.clone == 0 and not machine.privileged:
        return LabError(
            f"{said}: its kernel gives ordinary users no namespaces",
            "as root: sysctl kernel.unprivileged_userns_clone=1",
        )
    if machine.seccomp or machine.profile:
        return _confinement(said, machine)
    if machine.apparmor and not machine.privileged:
        return LabError(
            f"{said}: AppArmor denies it to ordinary users",
            "as root: sysctl kernel.apparmor_restrict_unprivileged_userns=0",
        )
    why = os.strerror(code) if code else "for a reason that it does not tell"
    return LabError(
        f"{said}: {why}",
        "look at its security policies, or use a machine or a cluster that allows it",
    )


def _confinement(said: str, machine: Machine) -> LabError:
    """What a container runtime put there goes with its own options, all of them at once."""
    denying, options, fields = [], [], []
    if machine.seccomp:
        denying.append("a seccomp filter")
        options.append("--security-opt seccomp=unconfined")
        fields.append("seccompProfile: {type: Unconfined}")
    if machine.profile:
        denying.append(f"the AppArmor profile {machine.profile}")
        options.append("--security-opt apparmor=unconfined")
        fields.append("appArmorProfile: {type: Unconfined}")
    return LabError(
        f"{said}: {' or '.join(denying)} denies it, as in a container",
        f"docker run {' '.join(options)} ..., or in a pod's securityContext: {', '.join(fields)}",
    )


def require_namespaces(nft: Path | None) -> None:
    """Try everything that a lab needs of the kernel.

    Args:
        nft: The program; without it, rules are not tried.

    Raises:
        LabError: something is denied; says what, by what, and what helps.
    """
    missing = [program for program in _PROGRAMS if not shutil.which(program)]
    if missing:
        raise LabError(
            f"the lab needs the program {missing[0]}",
            "install it: the package is called util-linux",
        )
    done = subprocess.run(
        [*ENTER, sys.executable, "-m", __name__, *([str(nft)] if nft else [])],
        env={**os.environ, "PYTHONPATH": str(repository_root()), "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return
    machine = Machine.read()
    try:
        failed, code, said = json.loads(done.stdout)
    except ValueError:
        full = os.strerror(errno.ENOSPC) in done.stderr
        code = errno.ENOSPC if full else errno.EPERM
        failed, said = "make namespaces", done.stderr
        if os.strerror(errno.EPERM) not in done.stderr and not full:
            raise LabError(f"the lab's trial of namespaces failed: {said.strip()}") from None
    if failed == _RULES and code == 0 and os.strerror(errno.EPERM) not in said:
        raise LabError(
            f"nft could not write the lab's rules: {said.strip()}",
            "the kernel needs nf_tables with NAT; as root: modprobe -a nf_tables nft_chain_nat "
            "nft_redir nft_masq nft_ct",
        )
    raise denial(failed, code, machine)


_RULES = "redirect traffic"


def _try(nft: str | None) -> None:
    """In namespaces of its own: the node's network, a pod's, and a sidecar's rules there."""
    failed = "set up a network"
    try:
        set_up_node()
        failed = "make a pod's namespaces"
        with tempfile.TemporaryDirectory() as folder:
            sandbox = make_sandbox(
                Path(folder),
                name="probe",
                namespace="probe",
                address=pod_ip(0),
                number=0,
                host_network=False,
            )
            failed = _RULES
            subprocess.run(
                [*sandbox.enter, *([nft, "-f", "-"] if nft else ["true"])],
                input=_REDIRECTION,
                capture_output=True,
                text=True,
                check=True,
            )
            sandbox.close()
    except OSError as error:
        print(json.dumps([failed, error.errno, str(error)]))
        sys.exit(1)
    except subprocess.CalledProcessError as error:
        print(json.dumps([failed, 0, error.stderr]))
        sys.exit(1)


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    text = _read(path)
    return int(text) if text.isdigit() else None


if __name__ == "__main__":
    _try(sys.argv[1] if len(sys.argv) > 1 else None)
