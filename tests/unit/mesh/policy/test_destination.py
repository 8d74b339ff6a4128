"""Which DestinationRule callers go by, and why each other one does not hold."""

from __future__ import annotations

from typing import Any

import pytest

from runbook_lib.cluster import Object
from runbook_lib.mesh.policy import Called, Caller, Choice, choose, sent_to_port

DB = Called("db.xnat.svc.cluster.local", "xnat")
WEB = Caller("xnat", {"app": "web"})
FULL = DB.host


def rule(name: str, host: str = FULL, namespace: str = "xnat", day: int = 1, **spec: Any) -> Object:
    """A rule that is told from others by its mode, made on a day of January."""
    created = f"2026-01-{day:02}T00:00:00Z"
    metadata = {"name": name, "namespace": namespace, "creationTimestamp": created}
    spec = {"trafficPolicy": {"tls": {"mode": "DISABLE"}}, **spec}
    return {"kind": "DestinationRule", "metadata": metadata, "spec": {"host": host, **spec}}


def chosen(*rules: Object, to: Called = DB, caller: Caller = WEB) -> str:
    found = choose(rules, to, caller).rule
    return str(found["metadata"]["name"]) if found else ""


def reasons(choice: Choice) -> dict[str, tuple[str, str]]:
    """For each rule that does not hold, the field and why."""
    return {r.item["metadata"]["name"]: (r.path, r.why) for r in choice.passed_over}


@pytest.mark.parametrize(
    ("host", "namespace", "applies"),
    [
        ("db", "xnat", True),
        # Only a name without a dot is completed, and with the rule's namespace.
        ("db", "istio-system", False),
        ("db.xnat", "xnat", False),
        ("db.xnat.svc", "xnat", False),
        (FULL, "xnat", True),
        (FULL, "istio-system", True),
        ("*.xnat.svc.cluster.local", "xnat", True),
        ("*.local", "xnat", True),
        ("*", "xnat", True),
        ("*.shop.svc.cluster.local", "xnat", False),
        ("other", "xnat", False),
    ],
)
def test_a_rule_is_for_its_full_host_or_a_wildcard(
    host: str, namespace: str, applies: bool
) -> None:
    assert chosen(rule("r", host, namespace)) == ("r" if applies else "")


@pytest.mark.parametrize("host", ["db.xnat", "db.xnat.svc"])
def test_a_short_name_with_a_dot_is_said_to_be_taken_as_complete(host: str) -> None:
    path, why = reasons(choose([rule("r", host)], DB, WEB))["r"]
    assert path == ".spec.host"
    assert f"write {FULL}" in why


def test_the_most_specific_host_wins_whatever_its_age() -> None:
    wide = rule("wide", "*.svc.cluster.local")
    wider = rule("wider", "*.local")
    exact = rule("exact", day=9)
    assert chosen(wide, wider, exact) == "exact"
    assert chosen(wider, wide) == "wide"
    path, why = reasons(choose([wide, exact], DB, WEB))["wide"]
    assert (path, why) == (".spec.host", f"the rule for {FULL} is more specific")


def test_the_oldest_of_equals_wins_then_the_first_by_name() -> None:
    old, new = rule("old", day=1), rule("new", day=2)
    assert chosen(new, old) == "old"
    path, why = reasons(choose([new, old], DB, WEB))["new"]
    assert path == ".metadata.creationTimestamp"
    assert "DestinationRule xnat/old is older" in why
    assert chosen(rule("b"), rule("a")) == "a"
    assert reasons(choose([rule("b"), rule("a")], DB, WEB))["b"][0] == ".metadata.name"


def test_an_older_rule_without_a_traffic_policy_takes_that_of_the_next() -> None:
    subsets = rule("subsets", trafficPolicy=None, subsets=[{"name": "v1"}])
    assert chosen(subsets, rule("new", day=2), rule("newer", day=3)) == "new"
    # One that is there and empty is one.
    assert chosen(rule("empty", trafficPolicy={}), rule("new", day=2)) == "empty"


def test_the_callers_namespace_comes_first_then_the_services_then_the_root() -> None:
    own, service, root = (
        rule("own", "*.local", "shop"),
        rule("service", "*.local", "xnat"),
        rule("root", FULL, "istio-system"),
    )
    shop = Caller("shop")
    assert chosen(own, service, root, caller=shop) == "own"
    assert chosen(service, root, caller=shop) == "service"
    assert chosen(root, caller=shop) == "root"
    # Rules of a third namespace are for its own callers.
    assert chosen(own, caller=WEB) == ""
    path, why = reasons(choose([own, service], DB, WEB))["own"]
    assert path == ".metadata.namespace"
    assert "callers of namespace xnat go by the rules of xnat" in why


@pytest.mark.parametrize(
    ("export", "caller", "applies"),
    [
        ([], "shop", True),
        (["*"], "shop", True),
        (["."], "shop", False),
        (["xnat"], "shop", False),
        (["other"], "shop", False),
        (["shop"], "shop", True),
        (["."], "xnat", True),
        (["xnat"], "xnat", True),
        (["shop"], "xnat", False),
    ],
)
def test_a_rule_is_for_the_namespaces_it_is_exported_to(
    export: list[str], caller: str, applies: bool
) -> None:
    found = rule("r", exportTo=export)
    assert chosen(found, caller=Caller(caller)) == ("r" if applies else "")
    if not applies:
        assert reasons(choose([found], DB, Caller(caller)))["r"][0] == ".spec.exportTo"


def test_a_private_rule_of_the_root_namespace_is_for_its_own_callers() -> None:
    private = rule("private", namespace="istio-system", exportTo=["."])
    assert chosen(private) == ""
    assert chosen(private, caller=Caller("istio-system")) == "private"


def test_of_rules_for_different_namespaces_the_newest_is_not_merged_and_holds() -> None:
    """As Istio does by default: they stay apart, and the last one is taken."""
    everyone, own = rule("everyone", exportTo=["*"]), rule("own", day=2, exportTo=["."])
    assert chosen(everyone, own) == "own"
    assert reasons(choose([everyone, own], DB, WEB))["everyone"][0] == ".spec.exportTo"


def test_a_rule_for_the_callers_pods_comes_before_an_older_one_for_all() -> None:
    def for_app(app: str, day: int = 9) -> Object:
        return rule(app, day=day, workloadSelector={"matchLabels": {"app": app}})

    everyone = rule("everyone")
    assert chosen(everyone, for_app("web")) == "web"
    assert chosen(everyone, for_app("other")) == "everyone"
    assert chosen(for_app("other")) == ""
    path, why = reasons(choose([everyone, for_app("other")], DB, WEB))["other"]
    assert path == ".spec.workloadSelector.matchLabels.app"
    assert why == "the pods carry app=web"
    # It is for callers of its own namespace, whatever its exportTo says.
    assert chosen(for_app("web"), caller=Caller("shop", {"app": "web"})) == ""
    merged = choose([for_app("web", 3), everyone, for_app("web", 2)], DB, WEB)
    assert merged.rule is not None
    assert merged.rule["metadata"]["creationTimestamp"].startswith("2026-01-02")


@pytest.mark.parametrize(
    ("policy", "mode", "path"),
    [
        ({}, "", ""),
        ({"tls": {"mode": "ISTIO_MUTUAL"}}, "ISTIO_MUTUAL", "tls.mode"),
        ({"tls": {}}, "DISABLE", "tls.mode"),
        (
            {
                "tls": {"mode": "ISTIO_MUTUAL"},
                "portLevelSettings": [{"port": {"number": 5432}, "tls": {"mode": "DISABLE"}}],
            },
            "DISABLE",
            "portLevelSettings[0].tls.mode",
        ),
        # A port that sets something else inherits for endpoints.
        (
            {
                "tls": {"mode": "DISABLE"},
                "portLevelSettings": [{"port": {"number": 5432}, "connectionPool": {}}],
            },
            "DISABLE",
            "tls.mode",
        ),
        (
            {
                "tls": {"mode": "ISTIO_MUTUAL"},
                "portLevelSettings": [{"port": {"number": 5432}, "connectionPool": {}}],
            },
            "ISTIO_MUTUAL",
            "tls.mode",
        ),
        # Of TLS of other kinds nothing is inherited but that it is no mutual TLS of Istio's.
        (
            {
                "tls": {"mode": "SIMPLE"},
                "portLevelSettings": [{"port": {"number": 5432}, "connectionPool": {}}],
            },
            "DISABLE",
            "tls.mode",
        ),
        (
            {"tls": {"mode": "SIMPLE"}, "portLevelSettings": [{"port": {"number": 1}}]},
            "SIMPLE",
            "tls.mode",
        ),
        ({"portLevelSettings": [{"port": {"number": 5432}, "connectionPool": {}}]}, "", ""),
    ],
)
def test_what_is_sent_to_a_port(policy: dict[str, Any], mode: str, path: str) -> None:
    sent = sent_to_port(rule("r", trafficPolicy=policy), 5432)
    assert sent.mode == mode
    assert (sent.reason.path if sent.reason else "") == (
        f".spec.trafficPolicy.{path}" if path else ""
    )


def test_without_a_rule_nothing_is_told() -> None:
    assert sent_to_port(None, 5432).reason is None
