"""Why a request is allowed or denied: by which field of which policy."""

from __future__ import annotations

from typing import Any

import pytest

from runbook_lib.cluster import Object
from runbook_lib.mesh.policy import (
    Request,
    allowed_methods,
    allowed_on_port,
    decide,
    match_policy,
    needs_http,
    opened_ports,
    why_not_enforced,
)

GET = Request(8080, "GET", "/app")
TCP = Request(8080, http=False)
KNOWN = Request(8080, "GET", "/app", identity=True)
ANA = Request(8080, "GET", "/app", identity=True, principal="cluster.local/ns/xnat/sa/ana")


def policy(*rules: dict[str, Any], action: str = "ALLOW", name: str = "p", **spec: Any) -> Object:
    return {
        "kind": "AuthorizationPolicy",
        "metadata": {"name": name, "namespace": "xnat"},
        "spec": {"action": action, "rules": list(rules), **spec},
    }


def to(**operation: list[str]) -> dict[str, Any]:
    return {"to": [{"operation": operation}]}


def source(**fields: list[str]) -> dict[str, Any]:
    return {"from": [{"source": fields}]}


def when(key: str, **values: list[str]) -> dict[str, Any]:
    return {"when": [{"key": key, **values}]}


@pytest.mark.parametrize(
    ("rule", "request_", "matches", "fields"),
    [
        ({}, GET, True, []),
        (to(methods=["GET"]), GET, True, []),
        (to(methods=["POST"]), GET, False, ["to[0].operation.methods"]),
        (to(notMethods=["GET"]), GET, False, ["to[0].operation.notMethods"]),
        (to(notMethods=["POST"]), GET, True, []),
        (to(paths=["/other"], ports=["80"]), GET, False, None),
        (to(hosts=["x"]), GET, None, ["to[0].operation.hosts"]),
        # What is certain decides, whatever is not judged beside it.
        (to(hosts=["x"], methods=["POST"]), GET, False, ["to[0].operation.methods"]),
        (to(paths=["/app", "/a/{*}"]), GET, True, []),
        (to(paths=["/a/{*}"]), GET, None, ["to[0].operation.paths"]),
        # Nobody from outside has an identity: what asks for one misses, what excludes one matches.
        (source(principals=["x"]), GET, False, ["from[0].source.principals"]),
        (source(trustDomains=["x"]), GET, False, ["from[0].source.trustDomains"]),
        (source(notNamespaces=["x"]), GET, True, []),
        (source(principals=["x"]), KNOWN, None, ["from[0].source.principals"]),
        (source(principals=["cluster.local/ns/xnat/sa/ana"]), ANA, True, []),
        (source(principals=["*/sa/ben"]), ANA, False, ["from[0].source.principals"]),
        (source(notPrincipals=["*/sa/ana"]), ANA, False, ["from[0].source.notPrincipals"]),
        (source(namespaces=["xnat"]), ANA, True, []),
        (source(namespaces=["other"]), ANA, False, ["from[0].source.namespaces"]),
        (source(serviceAccounts=["xnat/ana"]), ANA, None, ["from[0].source.serviceAccounts"]),
        (source(ipBlocks=["10.0.0.0/8"]), GET, None, ["from[0].source.ipBlocks"]),
        (when("source.namespace", values=["x"]), GET, False, ["when[0].key"]),
        (when("source.namespace", notValues=["x"]), GET, True, []),
        (when("destination.port", values=["80"]), GET, False, ["when[0].values"]),
        (when("destination.port", values=["8080"]), GET, True, []),
        (when("request.headers[x]", values=["1"]), GET, None, ["when[0].key"]),
        # Where no HTTP is read, a rule that allows by it is left out as a whole.
        (to(methods=["GET"]), TCP, False, ["to[0].operation.methods"]),
        (to(ports=["8080"]), TCP, True, []),
        (
            {"to": [{"operation": {"ports": ["8080"]}}, {"operation": {"paths": ["/"]}}]},
            TCP,
            False,
            ["to[1].operation.paths"],
        ),
        (source(requestPrincipals=["x"]), TCP, False, ["from[0].source.requestPrincipals"]),
        (when("request.headers[x]", values=["1"]), TCP, False, ["when[0].key"]),
        (to(methods=["GET"]), Request(8080), None, ["to[0].operation.methods"]),
    ],
)
def test_a_rule_matches_or_the_fields_say_why_not(
    rule: dict[str, Any], request_: Request, matches: bool | None, fields: list[str] | None
) -> None:
    match = match_policy(policy(rule), request_)
    assert match.matches is matches
    if fields is not None:
        found = [reason.path for reason in (*match.against, *match.unknown)]
        assert found == [f".spec.rules[0].{field}" for field in fields]
        assert all(reason.why for reason in (*match.against, *match.unknown))


@pytest.mark.parametrize(
    ("rule", "denied"),
    [
        # The field is dropped where no HTTP is read, and so everything is denied.
        (to(methods=["POST"]), True),
        (to(methods=["POST"], ports=["80"]), False),
        (source(requestPrincipals=["x"]), True),
        (when("request.headers[x]", values=["1"]), True),
    ],
)
def test_a_denial_by_http_denies_more_where_no_http_is_read(
    rule: dict[str, Any], denied: bool
) -> None:
    assert decide([policy(rule, action="DENY")], TCP).allowed is not denied


def test_what_is_about_other_ports_is_no_reason_unless_there_is_nothing_else() -> None:
    match = match_policy(policy(to(methods=["POST"]), to(ports=["8104"])), GET)
    assert [reason.path for reason in match.against] == [".spec.rules[0].to[0].operation.methods"]
    match = match_policy(policy(to(ports=["8104"])), GET)
    assert [reason.field for reason in match.against] == ["ports"]


ALLOW_GET = policy(to(methods=["GET"]), name="read")
DENY_ALL = policy({}, action="DENY", name="deny")
DENY_SOME = policy(source(ipBlocks=["198.51.100.0/24"]), action="DENY", name="some")


@pytest.mark.parametrize(
    ("policies", "allowed", "reason"),
    [
        ([], True, None),
        ([ALLOW_GET], True, None),
        ([policy(to(methods=["POST"]))], False, "p .spec.rules[0].to[0].operation.methods: POST"),
        ([policy()], False, "p .spec.rules: none"),
        ([ALLOW_GET, DENY_ALL], False, "deny .spec.rules[0]"),
        ([ALLOW_GET, DENY_SOME], None, "some .spec.rules[0].from[0].source.ipBlocks: 198.51"),
        ([DENY_ALL, DENY_SOME], False, "deny .spec.rules[0]"),
        ([policy({}, action="AUDIT")], True, None),
        ([policy({}, action="CUSTOM")], None, "p .spec.action: CUSTOM"),
        ([policy(source(ipBlocks=["10.0.0.0/8"])), ALLOW_GET], True, None),
    ],
)
def test_a_decision_names_the_fields_that_make_it(
    policies: list[Object], allowed: bool | None, reason: str | None
) -> None:
    decision = decide(policies, GET)
    assert decision.allowed is allowed
    found = decision.reasons[0].text if decision.reasons else None
    assert found is reason is None or str(found).startswith(f"AuthorizationPolicy xnat/{reason}")


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({}, None),
        ({"metadata": {"annotations": {"istio.io/dry-run": "true"}}}, "metadata.annotations"),
        ({"metadata": {"annotations": {"istio.io/dry-run": "1"}}}, "metadata.annotations"),
        ({"metadata": {"annotations": {"istio.io/dry-run": "no"}}}, None),
        ({"spec": {"targetRefs": [{"kind": "Gateway"}]}}, "spec.targetRefs"),
        ({"spec": {"targetRef": {"kind": "Gateway"}}}, "spec.targetRef"),
        ({"spec": {"selector": {"matchLabels": {"app": "x"}}}}, "spec.selector.matchLabels.app"),
    ],
)
def test_a_policy_that_decides_nothing_says_why(changes: dict[str, Any], path: str | None) -> None:
    found = {**policy(), **changes}
    reason = why_not_enforced(found, {"app": "web"})
    assert (reason is None) is (path is None)
    assert reason is None or reason.path.startswith(f".{path}")


def test_the_fields_that_need_http_are_named() -> None:
    found = needs_http(policy(to(ports=["80"]), to(notHosts=["x"]), to(methods=["GET"])))
    assert [reason.field for reason in found] == ["notHosts", "methods"]


def test_allowed_methods_are_those_of_all_rules() -> None:
    found = policy(to(methods=["GET"]), to(methods=["POST", "HEAD"]))
    assert allowed_methods(found) == {"GET", "HEAD", "POST"}
    assert allowed_methods(None) == set()


def test_what_is_allowed_on_a_port_is_what_its_rules_say() -> None:
    found = policy(to(methods=["GET", "HEAD"]), to(ports=["8104"]))
    assert allowed_on_port(found, 8080) == {"GET", "HEAD"}
    assert allowed_on_port(found, 8104) == {"everything"}
    assert opened_ports(found) == ["8104"]
    assert opened_ports(policy(to(methods=["GET"], ports=["8080"]))) == []
    assert allowed_on_port(policy(), 8080) == set()
    assert allowed_on_port(policy({}), 8080) == {"everything"}
