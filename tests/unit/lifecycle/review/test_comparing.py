"""A reviewed plan holds if only that was filled in which review could not know."""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runbook_lib.base.errors import NotApproved, ParameterError
from runbook_lib.cluster import object_diff
from runbook_lib.lifecycle.interruption import Client, Interruption, Loss
from runbook_lib.lifecycle.plan import Change, Content, Plan, Unknown
from runbook_lib.lifecycle.review import files
from tests.unit.samples import lab_parameters

NOTEBOOK, STEP = "04_mutual_tls", "strict"
POLICY: dict[str, Any] = {
    "apiVersion": "security.istio.io/v1",
    "kind": "PeerAuthentication",
    "metadata": {"name": "default", "namespace": "xnat"},
    "spec": {"mtls": {"mode": "STRICT"}, "rules": [{"port": 1}], "none": None},
}
REF = "PeerAuthentication xnat/default"


def policy(**spec: Any) -> dict[str, Any]:
    made = deepcopy(POLICY)
    made["spec"] |= spec
    return made


def plan(*changes: Change, **more: Any) -> Plan:
    return Plan(STEP, "uid-1", changes, **more)


def change(before: Any, after: Any, *unknown: Unknown) -> Change:
    return Change.of_object(object_diff(before, after), *unknown)


def differences(
    folder: Path, reviewed: Plan, now: Plan, made: Mapping[str, str] | None = None
) -> list[str]:
    """What is different, by way of the file."""
    files.write(folder, NOTEBOOK, lab_parameters(), reviewed)
    return files.read(folder).plans[NOTEBOOK, STEP].differences(now, lambda: made or {})


def test_the_same_plan_holds(tmp_path: Path) -> None:
    assert differences(tmp_path, plan(change(None, POLICY)), plan(change(None, POLICY))) == []


def test_what_the_api_server_fills_in_holds_where_it_could_not_be_asked(tmp_path: Path) -> None:
    filled = policy(rules=[{"port": 1, "protocol": "TCP"}], added={"by": "default"})
    del filled["spec"]["none"]
    now = plan(change(None, filled))
    assert differences(tmp_path, plan(change(None, POLICY, Unknown.DEFAULTS)), now) == []
    assert differences(tmp_path, plan(change(None, POLICY)), now) == [
        f"create {REF}: it would become something else than was reviewed:",
        "  spec.rules[0].protocol: nothing when reviewed, TCP now",
        "  spec.added: nothing when reviewed, {'by': 'default'} now",
    ]


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (policy(mtls={"mode": "PERMISSIVE"}), "spec.mtls.mode: STRICT when reviewed, PERMISSIVE"),
        (policy(rules=[]), "spec.rules: [{'port': 1}] when reviewed, [] now"),
        (policy(rules=[{"port": 1}, {"port": 2}]), "spec.rules: [{'port': 1}] when reviewed"),
    ],
)
def test_what_was_reviewed_may_not_become_something_else(
    tmp_path: Path, other: Any, said: str
) -> None:
    reviewed = plan(change(None, POLICY, Unknown.DEFAULTS))
    (_, line) = differences(tmp_path, reviewed, plan(change(None, other)))
    assert said in line


@pytest.mark.parametrize(
    ("place", "one", "other", "same"),
    [
        ("requests", {"cpu": "0.5", "memory": "1024Mi"}, {"cpu": "500m", "memory": "1Gi"}, True),
        ("limits", {"cpu": 1}, {"cpu": "1"}, True),
        ("requests", {"cpu": "0.5"}, {"cpu": "600m"}, False),
        ("requests", {"cpu": "half"}, {"cpu": "500m"}, False),
        ("labels", {"cpu": "0.5"}, {"cpu": "500m"}, False),
    ],
)
def test_a_quantity_in_the_api_servers_spelling_is_the_one_that_was_reviewed(
    tmp_path: Path, place: str, one: dict[str, Any], other: dict[str, Any], same: bool
) -> None:
    reviewed = plan(change(None, policy(**{place: one}), Unknown.DEFAULTS))
    found = differences(tmp_path, reviewed, plan(change(None, policy(**{place: other}))))
    assert (found == []) is same


def test_an_object_that_others_made_meanwhile_is_shown(tmp_path: Path) -> None:
    theirs = policy(mtls={"mode": "DISABLE"})
    now = plan(change(theirs, POLICY))
    (said, line) = differences(tmp_path, plan(change(None, POLICY, Unknown.DEFAULTS)), now)
    assert said == f"change {REF}: it is not what it was when it was reviewed:"
    assert "the object: nothing when reviewed" in line


def test_an_object_that_others_changed_meanwhile_is_shown(tmp_path: Path) -> None:
    reviewed = plan(change(policy(mtls={"mode": "PERMISSIVE"}), POLICY))
    now = plan(change(policy(mtls={"mode": "DISABLE"}), POLICY))
    assert differences(tmp_path, reviewed, now)[1:] == [
        "  spec.mtls.mode: PERMISSIVE when reviewed, DISABLE now"
    ]
    gone = plan(change(None, POLICY))
    assert differences(tmp_path, reviewed, gone)[1:] != []


def test_what_an_earlier_step_made_is_known_by_exactly_what_it_left(tmp_path: Path) -> None:
    """Reviewed, there was nothing yet; and what others add to it meanwhile is not what it left."""
    first = policy(rules=[])
    left = change(None, first).makes
    reviewed = plan(change(None, POLICY, Unknown.DEFAULTS))
    now = plan(change(first, POLICY))
    assert differences(tmp_path, reviewed, now, {REF: left}) == []
    meddled = plan(change(policy(rules=[], theirs=True), policy(theirs=True)))
    assert differences(tmp_path, reviewed, meddled, {REF: left}) != []


def test_less_than_was_reviewed_needs_no_approval_and_more_does(tmp_path: Path) -> None:
    more = Change.of_text("Deployment a/b", "restart", "why")
    both = plan(change(None, POLICY), more)
    assert differences(tmp_path, both, plan(more)) == []
    (said,) = differences(tmp_path, plan(more), both)
    assert said.startswith(f"create {REF}: was not in the plan that was reviewed")


def test_names_that_are_generated_do_not_count_and_reasons_do(tmp_path: Path) -> None:
    def restart(pod: str, why: str) -> Plan:
        content = Content(None, (why,))
        text = f"{pod}: {why}"
        ref = "Deployment a/b"
        return plan(Change.of_text(ref, "restart", text, content, (Unknown.NAMES,)))

    reviewed = restart("b-1", "no sidecar")
    assert differences(tmp_path, reviewed, restart("b-2", "no sidecar")) == []
    assert differences(tmp_path, reviewed, restart("b-1", "an old sidecar")) != []


def test_a_change_of_which_only_the_purpose_was_known_holds(tmp_path: Path) -> None:
    foreseen = Change.of_text("Job a/caller", "run", "a pod", unknown=(Unknown.CONTENT,))
    now = plan(Change.of_text("Job a/caller", "run", "all of it"))
    assert differences(tmp_path, plan(foreseen), now) == []
    stays = plan(Change.of_text("Job a/caller", "create", "all of it"))
    assert differences(tmp_path, plan(foreseen), stays) != []


def test_a_change_that_is_only_text_has_to_be_the_same(tmp_path: Path) -> None:
    reviewed, now = (
        plan(Change.of_text("Helm release istiod", "upgrade", text)) for text in ("1", "2")
    )
    (said,) = differences(tmp_path, reviewed, now)
    assert said.endswith("reviewed as upgrade:\n1\nand now:\n2")


def test_what_was_not_announced_is_a_difference(tmp_path: Path) -> None:
    lost = Interruption((Client.BROWSER,), Loss.EVERYTHING, "no answer", "a restart", 30)
    reviewed = plan(change(None, POLICY), unpredictable=("who calls",), interruptions=(lost,))
    sooner = replace(reviewed, interruptions=(replace(lost, seconds=3),), unpredictable=())
    assert differences(tmp_path, reviewed, sooner) == []
    assert differences(tmp_path, sooner, reviewed) == ["not foreseen: who calls"]
    (said,) = differences(tmp_path, replace(reviewed, interruptions=()), reviewed)
    assert said.startswith("an interruption that was not announced: people in a browser")


def test_another_cluster_is_a_difference(tmp_path: Path) -> None:
    reviewed = plan(change(None, POLICY))
    (said,) = differences(tmp_path, reviewed, replace(reviewed, target_uid="uid-2"))
    assert said == "it was reviewed on cluster uid-1, and this is uid-2"


def test_secrets_are_in_no_file_and_count_all_the_same(tmp_path: Path) -> None:
    def secret(value: str) -> Plan:
        item = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "s", "namespace": "a"},
            "stringData": {"k": value},
            "spec": {"password": value, "text": f"postgres://me:{value}@host"},
        }
        return plan(change(None, item, Unknown.DEFAULTS))

    assert differences(tmp_path, secret("hunter2-hunter2"), secret("hunter2-hunter2")) == []
    found = differences(tmp_path, secret("hunter2-hunter2"), secret("another-one"))
    assert found[1:] == [
        f"  {place}: [redacted] when reviewed, [redacted] now"
        for place in ("stringData.k", "spec.password", "spec.text")
    ]
    (file,) = (tmp_path / "plans").iterdir()
    assert "hunter2" not in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600


def test_other_parameters_and_another_version_are_refused_before_anything(tmp_path: Path) -> None:
    files.write(tmp_path, NOTEBOOK, lab_parameters(mode="plan"), plan(change(None, POLICY)))
    review = files.read(tmp_path)
    review.require(lab_parameters(mode="apply"))
    with pytest.raises(NotApproved, match="the parameters are not those"):
        review.require(lab_parameters(story="safe"))
    path = tmp_path / "plans" / f"{NOTEBOOK}.{STEP}.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "runbook": "0.0.1"}))
    with pytest.raises(NotApproved, match=r"planned by version 0\.0\.1"):
        files.read(tmp_path).require(lab_parameters())


def test_a_folder_without_plans_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="holds no plans"):
        files.read(tmp_path)
    (tmp_path / "plans").mkdir()
    (tmp_path / "plans" / "x.json").write_text("{}")
    with pytest.raises(ParameterError, match="cannot be read"):
        files.read(tmp_path)
