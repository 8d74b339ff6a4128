"""The whole safe story and the way back, while clients never pause.

`make test-soak` repeats it with what is known to harm a site put in at random: RUNBOOK_ROUNDS
rounds from the seed RUNBOOK_SEED, which each prints.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from runbook_lib.base import Entry, ExitCode, journal
from runbook_lib.base.wait import State, until
from runbook_lib.lifecycle import Client, runs
from runbook_lib.site import dicom
from tests.chapters import parameters_for, take_chapter
from tests.labs import Lab
from tests.notebooks import headless
from tests.notebooks.headless import run
from tests.soak import inputs, judging
from tests.soak.clients import Attempt, Browser, Device, Rest, Upload, at_work

pytestmark = [
    *(pytest.mark.lab, pytest.mark.notebooks, pytest.mark.spoils_lab),
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]

METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"]

PARAMETERS: dict[str, Any] = {
    "target": {"kind": "lab"},
    "story": "safe",
    "on_failure": "revert",
    "application": {
        "probes": [
            {"method": "GET", "path": "/app/template/Login.vm", "status": 200},
            {"method": "HEAD", "path": "/app/template/Login.vm", "status": 200},
            {"method": "POST", "path": "/login", "status": 302},
            {"method": "PUT", "path": "/data/projects", "status": 200},
            {"method": "DELETE", "path": "/data/projects", "status": 200},
            {"method": "OPTIONS", "path": "/data/projects", "status": 200},
            {"method": "PATCH", "path": "/data/projects", "status": 200},
        ],
        "canary": True,
    },
    "authorization": {"methods": METHODS, "denied_method": "PATCH"},
}
"""The safe story with the methods that clusters have by default."""


SHORT = ("01_install_istio", "02_label_namespace", "04_mutual_tls", "05_authorization")
CHAPTERS = headless.CHAPTERS if "RUNBOOK_ROUNDS" in os.environ else SHORT
"""The suite leaves out what no client meets: autoscalers, and Kiali."""


@pytest.fixture(scope="module")
def two_replicas(lab: Lab) -> Lab:
    """A site with two web pods, without a mesh."""
    two = ("hpa/xnat-xnat-web", '--patch={"spec": {"minReplicas": 2}}')
    lab.run("kubectl", "-n", "xnat", "patch", *two)
    ready = ("--for=jsonpath={.status.readyReplicas}=2", "statefulset/xnat-xnat-web")
    lab.run("kubectl", "-n", "xnat", "wait", *ready, "--timeout=90s")
    host, port = lab.receiver()
    until("devices to be answered", lambda: State(dicom.echo(host, port).answered, ""), timeout=30)
    return lab


def test_what_clients_notice_was_announced(two_replicas: Lab, tmp_path: Path) -> None:
    given = parameters_for(two_replicas, **{**PARAMETERS, "rollback": {"kinds": True}})
    clients = at(two_replicas)
    with at_work(clients):
        for chapter in (*CHAPTERS, "90_rollback"):
            take_chapter(given, chapter, tmp_path / chapter)
    attempts = [attempt for each in clients for attempt in each.attempts]
    evidence = [journal.read(each / runs.EVIDENCE).entries for each in tmp_path.iterdir()]
    seen = judged(attempts, *evidence)
    # The database was away, and web pods were replaced: somebody has to have noticed.
    assert {each.first.client for each in seen} >= {Client.BROWSER, Client.REST}
    counted = Counter(attempt.client for attempt in attempts)
    assert all(counted[client] >= 10 for client in Client), counted


def judged(attempts: list[Attempt], *evidence: tuple[Entry, ...]) -> list[judging.Outage]:
    """All outages; none may be there that no evidence announces."""
    announced = [window for each in evidence for window in judging.windows(each)]
    found = list(judging.outages(attempts))
    print(*map(str, found), sep="\n")
    for window in announced:
        print(window.step, *map(str, window.announced), sep="\n  ")
    assert judging.unannounced(found, announced) == []
    return found


SEED = int(os.environ.get("RUNBOOK_SEED", "6")) or random.SystemRandom().randrange(1, 10**6)
"""The same each time unless another is asked for; 0 stands for any."""

ROUNDS = int(os.environ.get("RUNBOOK_ROUNDS", "1"))


@pytest.mark.parametrize("number", range(ROUNDS))
def test_a_site_is_never_worse_after_a_run_than_before(
    make_lab: Callable[[str], Lab], tmp_path: Path, number: int
) -> None:
    chosen = inputs.drawn(random.Random(f"{SEED}-{number}"))
    print(f"RUNBOOK_SEED={SEED}, round {number}:", *(each.name for each in chosen), sep="\n  ")
    lab = make_lab(f"soak-{number}")
    given = tmp_path / "parameters.yaml"
    given.write_text(yaml.safe_dump(inputs.parameters(chosen, PARAMETERS)))
    if any(each.installed for each in chosen):
        install = tmp_path / "install.yaml"
        install.write_text(yaml.safe_dump(PARAMETERS))
        only = ("--only", "01_install_istio")
        done = run(lab, tmp_path / "installing", "-f", str(install), *only)
        assert done.code == ExitCode.DONE, done.output
    for each in chosen:
        each.put_in(lab)
    before = working(lab)
    clients = at(lab)
    way = [option for chapter in CHAPTERS for option in ("--only", chapter)]
    with at_work(clients):
        done = run(lab, tmp_path / "run", "-f", str(given), *way)
    print(f"ended with {done.code}")
    after = working(lab)
    assert before <= after, f"{before - after} worked before\n{done.output}"
    if done.changed:  # else whatever fails comes from what was put in
        judged([attempt for each in clients for attempt in each.attempts], done.entries)


def at(lab: Lab) -> tuple[Browser, Rest, Upload, Device]:
    """A client of each kind."""
    url, (host, port) = lab.state.url, lab.receiver()
    return Browser(url), Rest(url), Upload(url), Device(url, host=host, port=port)


def working(lab: Lab) -> set[str]:
    """What of the site works, when it is tried some times: not every pod may answer."""
    found, tried = set[str](), {""}
    for _ in range(4):
        if found == tried:
            break
        clients = at(lab)
        for client in clients:
            client.once()
            client.once()  # a browser logs in first
        attempts = [attempt for each in clients for attempt in each.attempts]
        tried = {attempt.what for attempt in attempts}
        found |= {attempt.what for attempt in attempts if not attempt.problem}
    return found
