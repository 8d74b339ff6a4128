"""Labs start anywhere, live side by side, and leave nothing behind, however they end."""

from __future__ import annotations

import ipaddress
import os
import signal
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
from tests.labs import Lab, hold_known_ports, start_lab, stop_lab

pytestmark = [pytest.mark.lab, pytest.mark.timeout(180)]

COMMAND = [sys.executable, "-m", "runbook_lib", "lab"]


def _gone(name: str, timeout: float = 20) -> None:
    """Wait until no process carries the lab's mark."""

    def observe() -> State:
        left = [f"{process.pid} {process.name()}" for process in marked_processes(name)]
        return State(not left, f"still running: {left}")

    until(f"the end of lab {name}", observe, timeout=timeout)


def test_a_mesh_works_where_well_known_ports_are_taken(make_lab: Callable[[str], Lab]) -> None:
    """All that a lab uses is taken on all interfaces of the host: it has a network of its own."""
    with ExitStack() as stack:
        hold_known_ports(stack)
        lab = make_lab("ports")
        lab.install_mesh()
        assert lab.request("GET").status_code == 200
        listeners = lab.run("istioctl", "proxy-config", "listeners", "xnat-xnat-web-0.xnat")
        assert "15006" in {
            line.split()[1] for line in listeners.splitlines() if "inbound|8080" in line
        }
        assert "3/3" in lab.run("kubectl", "-n", "xnat", "get", "pod", "xnat-xnat-web-0")


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


def test_everything_that_listens_on_the_host_listens_on_loopback(mesh: Lab) -> None:
    """The site and the API server on ports of their own; load balancers on addresses of theirs."""
    ours = {process.pid for process in marked_processes(mesh.name)}
    listening = {
        connection.laddr
        for connection in psutil.net_connections("tcp")
        if connection.pid in ours and connection.status == psutil.CONN_LISTEN
    }
    assert all(ipaddress.ip_address(each.ip).is_loopback for each in listening)
    urls = (mesh.state.url, mesh.state.server)
    ports = {each.port for each in listening if each.ip == "127.0.0.1"}
    assert ports == {int(url.rsplit(":", 1)[1]) for url in urls}


def _family(lab: Lab) -> tuple[psutil.Process, list[psutil.Process]]:
    """The lab's gate, and all that descends from it, whatever is in its environment."""
    (gate,) = [each for each in marked_processes(lab.name) if lifecycle.GATE in each.cmdline()]
    return gate, gate.children(recursive=True)


def _runs(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_kill_9_of_the_supervisor_leaves_no_orphan(make_lab: Callable[[str], Lab]) -> None:
    """Components, sidecars and what they started die with it; `up` starts anew."""
    lab = make_lab("killed")
    lab.install_mesh()
    # Nobody's child: no signal is sent to it when its parent dies.
    left = "sleep 600 > /dev/null 2>&1 &"
    lab.run("kubectl", "-n", "xnat", "exec", "xnat-xnat-web-0", "--", "sh", "-c", left)
    _, family = _family(lab)
    names = {process.name() for process in family}
    assert {"kube-apiserver", "pilot-agent", "envoy", "pilot-discovery", "postgres"} <= names
    assert "sleep" in {process.name() for process in marked_processes(lab.name)}
    os.kill(lab.state.pid, signal.SIGKILL)
    _gone(lab.name, timeout=1)
    # None stays even as a zombie, whatever the machine's first process does; before it can be
    # taken off the table of processes, each of its threads has to end.
    assert psutil.wait_procs(family, timeout=20)[1] == []
    assert not alive(lab.state)
    status = subprocess.run(
        [*COMMAND, "status", "--name", lab.name], capture_output=True, text=True, check=False
    )
    assert status.returncode == 1
    assert "not running" in status.stdout
    assert make_lab("killed").request("GET").status_code == 200


def test_kill_9_of_the_gate_leaves_no_orphan(make_lab: Callable[[str], Lab]) -> None:
    """The lab cannot be without the host's sockets, and goes with them."""
    lab = make_lab("gateless")
    gate, family = _family(lab)
    gate.kill()
    _gone(lab.name, timeout=1)
    # The mark goes with a process's memory, a moment before its end.
    until("its end", lambda: State(not any(map(_runs, family)), "some run"), timeout=1)


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
