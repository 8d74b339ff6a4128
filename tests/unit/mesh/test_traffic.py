"""Which answers to expect follows from the policies in force, as Istio defines them."""

from __future__ import annotations

from typing import Any

import pytest

from runbook_lib.base.errors import RunbookError
from runbook_lib.mesh import traffic
from runbook_lib.mesh.policy import PortProtocol, Protocol, Reason
from runbook_lib.mesh.traffic import DENIED, Policies
from runbook_lib.site.probe import CLOSED, Expectation
from tests.unit.samples import lab_parameters

PARAMETERS = lab_parameters()
WEB = {"app": "xnat-web", "statefulset.kubernetes.io/pod-name": "xnat-xnat-web-0"}


def peer(
    namespace: str = "istio-system",
    mode: str | None = "STRICT",
    *,
    selector: dict[str, str] | None = None,
    ports: dict[str, str] | None = None,
    created: str = "2026-01-01T00:00:00Z",
    name: str = "default",
) -> dict[str, Any]:
    spec: dict[str, Any] = {}
    if mode:
        spec["mtls"] = {"mode": mode}
    if selector:
        spec["selector"] = {"matchLabels": selector}
    if ports:
        spec["portLevelMtls"] = {port: {"mode": value} for port, value in ports.items()}
    metadata = {"name": name, "namespace": namespace, "creationTimestamp": created}
    return {"kind": "PeerAuthentication", "metadata": metadata, "spec": spec}


def allow(*rules: dict[str, Any], action: str = "ALLOW", **metadata: Any) -> dict[str, Any]:
    return {
        "kind": "AuthorizationPolicy",
        "metadata": {"name": "p", "namespace": "xnat", **metadata},
        "spec": {"action": action, "rules": list(rules)},
    }


def to(**operation: list[str]) -> dict[str, Any]:
    return {"to": [{"operation": operation}]}


def answer(method: str = "GET", *, path: str = "/", status: int = 200, **given: Any) -> Expectation:
    policies = Policies(
        tuple(given.get("peers", ())),
        tuple(given.get("policies", ())),
        WEB,
        in_mesh=given.get("in_mesh", True),
        web_past=given.get("past"),
        web_protocol=given.get("protocol", PortProtocol()),
    )
    return traffic.expected_answer(PARAMETERS, policies, method, path, status)


WEB_SELECTOR = {"app": "xnat-web"}
EXCEPTION = peer("xnat", selector=WEB_SELECTOR, ports={"8080": "DISABLE"})


def test_without_policies_the_application_answers() -> None:
    assert answer("DELETE", status=405) == Expectation(405)


def test_without_a_sidecar_no_policy_has_an_effect() -> None:
    assert answer(peers=[peer()], policies=[allow()], in_mesh=False) == Expectation(200)


@pytest.mark.parametrize(
    ("peers", "mode"),
    [
        ([], "PERMISSIVE"),
        ([peer()], "STRICT"),
        ([peer(mode="PERMISSIVE")], "PERMISSIVE"),
        ([peer(mode=None)], "PERMISSIVE"),
        ([peer(), peer("xnat", "PERMISSIVE")], "PERMISSIVE"),
        ([peer(mode="PERMISSIVE"), peer("xnat")], "STRICT"),
        ([peer(), peer("xnat", "UNSET")], "STRICT"),
        ([peer(), EXCEPTION], "DISABLE"),
        ([peer(), peer("xnat", None, selector=WEB_SELECTOR)], "STRICT"),
        ([peer(), peer("xnat", selector=WEB_SELECTOR, ports={"80": "DISABLE"})], "STRICT"),
        ([peer(), peer("xnat", selector={"app": "other"}, ports={"8080": "DISABLE"})], "STRICT"),
        # A selector in the root namespace selects nothing elsewhere.
        ([peer(selector=WEB_SELECTOR)], "PERMISSIVE"),
        # Leftovers in other namespaces are not read at all; of equals, the oldest counts.
        (
            [
                peer(name="new", mode="STRICT", created="2026-02-01T00:00:00Z"),
                peer(name="old", mode="PERMISSIVE", created="2026-01-01T00:00:00Z"),
            ],
            "PERMISSIVE",
        ),
    ],
)
def test_the_narrowest_mode_holds_on_the_port(peers: list[dict[str, Any]], mode: str) -> None:
    assert traffic.port_mode(PARAMETERS, Policies(tuple(peers), (), WEB)) == mode


def test_strict_turns_every_request_into_the_edges_502() -> None:
    for method in ("GET", "HEAD", "POST", "DELETE"):
        assert answer(method, peers=[peer()]) == CLOSED


def test_the_exception_lets_requests_in_again() -> None:
    assert answer(peers=[peer(), EXCEPTION]) == Expectation(200)


def test_strict_is_met_before_any_authorization() -> None:
    assert answer(peers=[peer()], policies=[allow()]) == CLOSED


READ = allow(to(methods=["GET", "HEAD"]))


@pytest.mark.parametrize(
    ("method", "allowed"), [("GET", True), ("HEAD", True), ("POST", False), ("DELETE", False)]
)
def test_an_allow_policy_forbids_everything_else(method: str, allowed: bool) -> None:
    expected = Expectation(200) if allowed else DENIED
    assert answer(method, policies=[READ]) == expected


def test_an_allow_policy_without_rules_forbids_everything() -> None:
    assert answer(policies=[allow()]) == DENIED


def test_a_rule_without_conditions_allows_everything() -> None:
    assert answer("DELETE", policies=[allow({})]) == Expectation(200)


def test_several_policies_allow_the_union() -> None:
    assert answer("POST", policies=[READ, allow(to(methods=["POST"]))]) == Expectation(200)


def test_deny_wins() -> None:
    deny = allow(to(methods=["GET"]), action="DENY")
    assert answer("GET", policies=[READ, deny]) == DENIED
    assert answer("POST", policies=[deny]) == Expectation(200)


def test_a_dry_run_decides_nothing() -> None:
    dry = allow(annotations={"istio.io/dry-run": "true"})
    assert answer(policies=[dry]) == Expectation(200)


def test_an_audit_policy_decides_nothing() -> None:
    assert answer(policies=[allow(action="AUDIT")]) == Expectation(200)


def test_a_policy_for_other_pods_decides_nothing() -> None:
    other = allow()
    other["spec"]["selector"] = {"matchLabels": {"app": "other"}}
    assert answer(policies=[other]) == Expectation(200)


def test_a_policy_may_select_by_any_label_of_the_pod() -> None:
    selecting = allow()
    selecting["spec"]["selector"] = {
        "matchLabels": {"statefulset.kubernetes.io/pod-name": "xnat-xnat-web-0"}
    }
    assert answer(policies=[selecting]) == DENIED


def test_a_policy_with_targets_is_not_for_sidecars() -> None:
    targeted = allow()
    targeted["spec"]["targetRefs"] = [{"kind": "Gateway", "name": "waypoint"}]
    assert answer(policies=[targeted]) == Expectation(200)


@pytest.mark.parametrize(
    ("operation", "path", "allowed"),
    [
        ({"paths": ["/"]}, "/", True),
        ({"paths": ["/"]}, "/data", False),
        ({"paths": ["/data*"]}, "/data/projects", True),
        ({"paths": ["*/status"]}, "/a/status", True),
        ({"paths": ["*"]}, "/anything", True),
        ({"paths": ["/a"]}, "/a?query=1", True),
        ({"notPaths": ["/admin*"]}, "/admin/x", False),
        ({"notPaths": ["/admin*"]}, "/", True),
        ({"notMethods": ["GET"]}, "/", False),
        ({"ports": ["8080"]}, "/", True),
        ({"ports": ["80"]}, "/", False),
        ({"methods": ["GET"], "paths": ["/other"]}, "/", False),
    ],
)
def test_operations_match_as_in_istio(
    operation: dict[str, list[str]], path: str, allowed: bool
) -> None:
    expected = Expectation(200) if allowed else DENIED
    assert answer(path=path, policies=[allow(to(**operation))]) == expected


@pytest.mark.parametrize("identity", ["principals", "namespaces", "requestPrincipals"])
def test_a_rule_about_identities_never_matches_the_edge(identity: str) -> None:
    rule = {"from": [{"source": {identity: ["cluster.local/ns/xnat/sa/web"]}}]}
    assert answer(policies=[allow(rule)]) == DENIED


@pytest.mark.parametrize(
    ("policy", "what"),
    [
        (allow(action="CUSTOM"), "action CUSTOM"),
        (allow({"when": [{"key": "source.ip", "values": ["10.0.0.0/8"]}]}), "'when'"),
        (allow({"from": [{"source": {"ipBlocks": ["10.0.0.0/8"]}}]}), "source ipBlocks"),
        (allow(to(hosts=["xnat.example.com"])), "operation hosts"),
        (allow(to(paths=["/a/{*}"])), "path template"),
    ],
)
def test_what_cannot_be_derived_is_said_and_not_guessed(policy: dict[str, Any], what: str) -> None:
    with pytest.raises(RunbookError, match=what):
        answer(policies=[policy])


def test_every_probe_gets_its_expected_answer() -> None:
    probes = traffic.expected_probes(PARAMETERS, Policies((), (READ,), WEB))
    assert [(probe.method, probe.expected.status) for probe in probes] == [
        ("GET", 200),
        ("HEAD", 200),
        ("POST", 403),
        ("DELETE", 403),
    ]


TCP = PortProtocol(Protocol.TCP)
PAST = Reason({"kind": "Pod", "metadata": {"name": "web-0"}}, ".metadata.annotations.x", "8080")


def test_a_policy_about_methods_lets_nothing_through_where_no_http_is_read() -> None:
    assert answer("GET", policies=[READ], protocol=TCP) == CLOSED
    assert answer("GET", policies=[allow({})], protocol=TCP) == Expectation(200)
    denies = allow(to(methods=["POST"]), action="DENY")
    assert answer("GET", policies=[denies], protocol=TCP) == CLOSED


def test_no_policy_holds_on_a_port_that_is_not_captured() -> None:
    assert answer("GET", peers=[peer()], policies=[allow()], past=PAST) == Expectation(200)


def test_a_port_of_its_own_changes_nothing_about_the_sites_answers() -> None:
    policy = allow(to(methods=["GET"]), to(ports=["8104"]))
    assert answer("GET", policies=[policy]) == Expectation(200)
    assert answer("DELETE", policies=[policy]) == DENIED


def test_what_others_apply_changes_nothing_about_what_is_wanted() -> None:
    """A foreign policy is told apart by its name, and is named."""

    def named(name: str, selector: dict[str, Any]) -> dict[str, Any]:
        spec = {**READ["spec"], "selector": {"matchLabels": selector}}
        return {**READ, "metadata": {**READ["metadata"], "name": name}, "spec": spec}

    own = named(PARAMETERS.authorization.policy, {})
    theirs, elsewhere = named("other-team", {}), named("another", {"app": "another"})
    found = Policies((), (own, theirs, elsewhere), WEB)
    assert traffic.of_the_runbook(PARAMETERS, found).authorization_policies == (own,)
    assert [p["metadata"]["name"] for p in traffic.of_others(PARAMETERS, found)] == ["other-team"]
