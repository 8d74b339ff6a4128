"""Chapters 04 and 05 behind a load balancer as AWS runs it: TLS, and connections that are kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from runbook_lib.base.wait import State, until
from runbook_lib.lab.foundation.state import read_state
from runbook_lib.lifecycle import Probed
from runbook_lib.site import Expectation, Probe, probe
from tests.labs import LOGIN_PAGE, Lab, start_lab, stop_lab
from tests.notebooks.headless import Run, run

pytestmark = [
    *(pytest.mark.lab, pytest.mark.notebooks, pytest.mark.spoils_lab),
    pytest.mark.timeout(900),
]

CHAPTERS = ("01_install_istio", "02_label_namespace", "04_mutual_tls", "05_authorization")
CERTIFICATE = "arn:aws:acm:ap-southeast-2:111122223333:certificate/0a1b2c3d"
DRAIN = "3s"
"""How long a sidecar lets kept connections answer by the policy before; Istio's default is 45 s."""


@pytest.fixture(scope="module")
def behind(worker_id: str) -> Iterator[Lab]:
    """A lab whose load balancer keeps its connections, and ends TLS."""
    name = f"test-balancer-{worker_id}"
    lab = start_lab(name, keep_connections=True)
    annotation = f"alb.ingress.kubernetes.io/certificate-arn={CERTIFICATE}"
    lab.run("kubectl", "-n", "xnat", "annotate", "ingress", "--all", annotation)
    until(
        "the load balancer to speak TLS",
        lambda: State(url(lab).startswith("https://"), url(lab)),
        timeout=20,
    )
    yield lab
    stop_lab(name)


def url(lab: Lab) -> str:
    """The site as the load balancer has it now, by a name that its certificate holds."""
    state = read_state(lab.name)
    assert state is not None
    return state.sites["xnat"].replace("127.0.0.1", "localhost")


def ask(lab: Lab, verify: bool | Path) -> str:
    asked = Probe("GET", LOGIN_PAGE, Expectation(200))
    return probe.send(url(lab), asked, timeout=10, verify=verify).text


@pytest.fixture(scope="module")
def done(behind: Lab, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The chapters, run with the address and the authority that the parameters give."""
    folder = tmp_path_factory.mktemp("run")
    parameters = folder / "balancer.yaml"
    drain = {"meshConfig": {"defaultConfig": {"drainDuration": DRAIN}}}
    given = {
        "target": {"kind": "lab"},
        "application": {"url": url(behind), "ca_file": behind.state.authority},
        "istio": {"istiod": {"values": drain}},
    }
    parameters.write_text(yaml.safe_dump(given))
    chapters = [option for name in CHAPTERS for option in ("--only", name)]
    return run(behind, folder, "--parameters", str(parameters), *chapters)


def test_every_policy_is_proved_although_old_connections_answer_for_a_while(done: Run) -> None:
    assert done.code == 0, done.output
    assert set(done.outcomes.values()) == {"verified"}
    assert done.answers("mutual-tls-strict")["GET"].startswith("502")
    final = done.answers("authorization-methods")
    assert (final["POST"][:3], final["DELETE"]) == ("302", "403 RBAC: access denied")


def test_the_site_was_asked_where_the_parameters_say(behind: Lab, done: Run) -> None:
    assert url(behind).startswith("https://localhost:")
    events = [entry.event for entry in done.entries]
    assert {event.url for event in events if isinstance(event, Probed)} == {url(behind)}


@pytest.mark.usefixtures("done")
def test_a_certificate_is_verified_unless_somebody_says_not_to(behind: Lab) -> None:
    assert ask(behind, True).startswith("TLS error")
    assert ask(behind, Path(behind.state.authority)).startswith("200")
    assert ask(behind, False).startswith("200")
