"""Policies that are there before the sidecars."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from runbook_lib.chapters.shared.preflight import workloads
from runbook_lib.chapters.shared.preflight.workloads import policies
from runbook_lib.cluster.objects import Object
from runbook_lib.lifecycle import Loss
from tests.unit.chapters.shared.preflight.workloads.given import WEB, namespace, on, pod, refusing


def policy(kind: str, where: str, name: str, **spec: Any) -> Object:
    return {
        "apiVersion": "security.istio.io/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": where},
        "spec": spec,
    }


DENY = policy(
    "AuthorizationPolicy",
    "xnat",
    "of-others",
    action="DENY",
    selector={"matchLabels": {"app": WEB}},
)
STRICT = policy("PeerAuthentication", "istio-system", "default", mtls={"mode": "STRICT"})


def test_a_policy_of_others_that_begins_to_hold_with_the_sidecars_is_a_risk(
    tmp_path: Path,
) -> None:
    found = refusing(workloads.before_restart(on(tmp_path, *namespace(DENY))))
    assert [each.where for each in found] == ["AuthorizationPolicy xnat/of-others"]
    assert found[0].parameter == "application.accept: [policies]"
    accepted = on(tmp_path, *namespace(DENY), application={"accept": ["policies"]})
    assert refusing(workloads.before_restart(accepted)) == []


def test_the_runbooks_own_policies_and_those_of_other_pods_are_none(tmp_path: Path) -> None:
    own = policy("AuthorizationPolicy", "xnat", "xnat-all", selector={"matchLabels": {"app": WEB}})
    other = policy(
        "AuthorizationPolicy", "xnat", "other", selector={"matchLabels": {"app": "elsewhere"}}
    )
    found = on(tmp_path, *namespace(own, other))
    assert refusing(workloads.before_restart(found)) == []


def test_where_strict_is_in_force_already_the_restart_announces_it(tmp_path: Path) -> None:
    (lost,) = workloads.strict_already(on(tmp_path, *namespace(STRICT)))
    assert lost.loss is Loss.EVERYTHING
    assert lost.lasts == "until mutual-tls-exception is applied"
    assert [*workloads.strict_already(on(tmp_path, *namespace()))] == []


def test_pods_that_have_sidecars_wake_no_policy(tmp_path: Path) -> None:
    """They may be restarted for newer ones; what holds for them holds already."""
    meshed = pod()
    meshed["spec"] = {"containers": [*meshed["spec"]["containers"], {"name": "istio-proxy"}]}
    context = on(tmp_path, *namespace(DENY, STRICT, web_pod=meshed))
    assert [*policies.awakened(context, [*workloads.listed(context)])] == []
    assert [*workloads.strict_already(context)] == []
