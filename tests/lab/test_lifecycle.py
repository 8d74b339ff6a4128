"""Labs start anywhere, live side by side, and leave nothing behind, however they end."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from runbook_lib.base.locations import lab_directory
from runbook_lib.base.wait import State, until
from runbook_lib.lab.foundation import limits
from runbook_lib.lab.foundation.errors import LabError
from runbook_lib.lab.foundation.process import MARK
from runbook_lib.lab.foundation.state import alive, marked_processes, read_state
from runbook_lib.lab.supervision import lifecycle
from tests.labs import Lab, start_lab, stop_lab

pytestmark = [pytest.mark.lab, pytest.mark.timeout(180)]

COMMAND = [sys.executable, "-m", "runbook_lib", "lab"]
TAKEN = [6443, 8080, *range(15000, 15022)]


def _gone(name: str, timeout: float = 20) -> None:
    """Wait until no process carries the lab's mark."""

    def observe() -> State:
        left = [f"{process.pid} {process.name()}" for process in marked_processes(name)]
        return State(not left, f"still running: {left}")

    until(f"the end of lab {name}", observe, timeout=timeout)


def _hold(stack: ExitStack, address: str, port: int) -> None:
    listener = stack.enter_context(socket.socket())
    try:
        listener.bind((address, port))
    except OSError:
        return  # taken already, which serves as well
    listener.listen()


def test_a_mesh_works_where_well_known_ports_are_taken(make_lab: Callable[[str], Lab]) -> None:
    """6443, 8080 and 15000 to 15021 are taken on all interfaces and on every pod's addresses."""
    with ExitStack() as stack:
        for port in TAKEN:
            _hold(stack, "0.0.0.0", port)
        lab = make_lab("ports")
        # Another lab on this machine prevents holding all interfaces; these no lab prevents.
        for octet in (lab.state.addresses, lab.state.addresses + 1):
            for pod in range(1, 20):
                for port in (8080, 15012, 15014, 15017, 15021):
                    _hold(stack, f"127.{octet}.1.{pod}", port)
        lab.install_mesh()
        assert lab.request("GET").status_code == 200
        listeners = lab.run("istioctl", "proxy-config", "listeners", "xnat-xnat-web-0.xnat")
        [inbound] = {line.split()[1] for line in listeners.splitlines() if "inbound|8080" in line}
        assert inbound != "8080"
        assert "2/2" in lab.run("kubectl", "-n", "xnat", "get", "pod", "xnat-xnat-web-0")


def test_two_labs_run_at_once_and_one_ends_alone(lab: Lab, make_lab: Callable[[str], Lab]) -> None:
    """Each has its own cluster and site; taking one down leaves everything else untouched."""
    one = make_lab("one")
    uid = ("kubectl", "get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}")
    assert one.run(*uid) != lab.run(*uid)
    before = {process.pid for process in marked_processes(lab.name)}
    # A process that only looks like the lab's.
    other = subprocess.Popen(["sleep", "60"], env={**os.environ, MARK: f"{one.name}-other"})
    try:
        assert lifecycle.down(one.name)
        assert other.poll() is None
        assert not lifecycle.down(one.name)
    finally:
        other.kill()
        other.wait()
    assert {process.pid for process in marked_processes(lab.name)} == before
    assert lab.request("GET").status_code == 200


def test_up_again_finds_the_running_lab(lab: Lab) -> None:
    """The second start is the same lab, not another."""
    assert start_lab(lab.name).state == lab.state


def test_kubeconfig_and_keys_are_private(lab: Lab) -> None:
    """Whatever holds a key has mode 0600, in a folder of mode 0700."""
    folder = lab_directory(lab.name)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    secrets = [Path(lab.state.kubeconfig), *folder.rglob("*.key"), *folder.rglob("kubeconfig")]
    assert {stat.S_IMODE(file.stat().st_mode) for file in secrets} == {0o600}


def test_everything_listens_on_loopback_but_the_agents_status_port(mesh: Lab) -> None:
    """pilot-agent opens its status port on all interfaces and has no setting for it."""
    open_wide = [
        (process.name(), connection.laddr.port)
        for process in marked_processes(mesh.name)
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN and not connection.laddr.ip.startswith("127.")
    ]
    assert {name for name, _ in open_wide} <= {"pilot-agent"}
    assert len(open_wide) == 2, open_wide


def test_kill_9_of_the_supervisor_leaves_no_orphan(make_lab: Callable[[str], Lab]) -> None:
    """Components, sidecars and the agents' own Envoys die with it; `up` starts anew."""
    lab = make_lab("killed")
    lab.install_mesh()
    names = {process.name() for process in marked_processes(lab.name)}
    assert {"kube-apiserver", "pilot-agent", "envoy", "pilot-discovery"} <= names
    os.kill(lab.state.pid, signal.SIGKILL)
    _gone(lab.name)
    assert not alive(lab.state)
    status = subprocess.run(
        [*COMMAND, "status", "--name", lab.name], capture_output=True, text=True, check=False
    )
    assert status.returncode == 1
    assert "not running" in status.stdout
    assert make_lab("killed").request("GET").status_code == 200


def test_down_cleans_up_after_a_kill_9_of_the_command(request: pytest.FixtureRequest) -> None:
    """`lab up` is killed while the lab starts; `lab down` finds all that it started."""
    name = f"test-{os.getpid()}-interrupted"
    request.addfinalizer(lambda: stop_lab(name))
    command = subprocess.Popen([*COMMAND, "up", "--name", name], stdout=subprocess.DEVNULL)

    def observe() -> State:
        names = {process.name() for process in marked_processes(name)}
        return State("kube-apiserver" in names, f"running: {sorted(names)}")

    until("the API server of the lab", observe, timeout=60, interval=0.02)
    command.kill()
    command.wait()
    assert lifecycle.down(name)
    _gone(name, timeout=1)
    assert read_state(name) is None


@pytest.mark.parametrize("name", ["", "Upper", "a/b", "..", "x" * 40])
def test_an_unusable_name_is_refused_before_anything_starts(name: str) -> None:
    """The error says which names are possible."""
    with pytest.raises(LabError, match="no name for a lab"):
        lifecycle.up(name, building=lambda *_: None, doing=lambda _: None)


def test_too_few_inotify_instances_are_named(
    monkeypatch: pytest.MonkeyPatch, make_lab: Callable[[str], Lab]
) -> None:
    """An Envoy without one would abort; the lab says so before it starts anything."""
    monkeypatch.setattr(limits, "_inotify_in_use", lambda: 10**6)
    with pytest.raises(LabError, match=r"needs 24 inotify instances, and 1000000 of \d+"):
        make_lab("inotify")
