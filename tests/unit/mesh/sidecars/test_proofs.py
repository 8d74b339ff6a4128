"""What a sidecar does is read from its listeners, and each must do what the policies say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from runbook_lib.base.errors import CommandError, WaitFailed, WaitTimeout
from runbook_lib.chapters.policies.manifest import (
    authorization_policy,
    mutual_tls_exception,
    strict_mutual_tls,
)
from runbook_lib.lifecycle.context import Context
from runbook_lib.lifecycle.table import Row, Table
from runbook_lib.mesh.policy import allowed_methods, allowed_on_port, allowed_to_some
from runbook_lib.mesh.sidecars import accepts_plaintext, allows, prove_authorization, prove_modes
from runbook_lib.parameters import RuleParameters
from tests.unit.doubles.given_cluster import WEB, context, pod
from tests.unit.samples import lab_parameters


def _chain(transport: str | None, port: int | None = None) -> dict[str, Any]:
    match: dict[str, Any] = {}
    if transport:
        match["transportProtocol"] = transport
    if port:
        match["destinationPort"] = port
    return {"filterChainMatch": match}


def _inbound(*chains: dict[str, Any]) -> list[dict[str, Any]]:
    outbound = {"trafficDirection": "OUTBOUND", "filterChains": [_chain(None)]}
    return [outbound, {"trafficDirection": "INBOUND", "filterChains": list(chains)}]


@pytest.mark.parametrize(
    ("chains", "accepted"),
    [
        ([_chain("tls", 8080)], False),
        ([_chain("raw_buffer", 8080)], True),
        ([_chain("tls", 8080), _chain("raw_buffer", 8080)], True),
        ([_chain("tls"), _chain("raw_buffer")], True),
        ([_chain("tls")], False),
        # A chain for the port wins over one for any port, either way.
        ([_chain("tls", 8080), _chain("raw_buffer")], False),
        ([_chain("raw_buffer", 8080), _chain("tls")], True),
        # A chain for another port says nothing, such as the one that guards 15006 itself.
        ([_chain("tls"), _chain(None, 15006)], False),
        ([_chain("tls", 8080), _chain("raw_buffer", 9090)], False),
    ],
)
def test_plaintext_on_8080(chains: list[dict[str, Any]], accepted: bool) -> None:
    assert accepts_plaintext(_inbound(*chains), 8080) is accepted


def _permission(*, methods: Sequence[str] = (), ports: Sequence[int] = ()) -> dict[str, Any]:
    """As istiod builds it: all of these, each any of those."""
    headers = [{"header": {"name": ":method", "stringMatch": {"exact": m}}} for m in methods]
    numbers = [{"destinationPort": number} for number in ports]
    every = [{"orRules": {"rules": rules}} for rules in (headers, numbers) if rules]
    return {"andRules": {"rules": every or [{"any": True}]}}


def _rbac(*permissions: dict[str, Any], kind: str = "rules", name: str = "xnat-all") -> Any:
    rules = {
        f"ns[xnat]-policy[{name}]-rule[{i}]": {
            "permissions": [permission],
            "principals": permission.get("sources", [ANYBODY]),
        }
        for i, permission in enumerate(permissions)
    }
    return {"name": "envoy.filters.http.rbac", "typedConfig": {kind: {"policies": rules}}}


def _http(port: int, *filters: dict[str, Any], transport: str = "raw_buffer") -> dict[str, Any]:
    manager = {
        "name": "envoy.filters.network.http_connection_manager",
        "typedConfig": {"httpFilters": [*filters, {"name": "envoy.filters.http.router"}]},
    }
    return {**_chain(transport, port), "filters": [manager]}


def _tcp(port: int, *filters: dict[str, Any]) -> dict[str, Any]:
    found = [{**each, "name": "envoy.filters.network.rbac"} for each in filters]
    proxy = {"name": "envoy.filters.network.tcp_proxy"}
    return {**_chain("raw_buffer", port), "filters": [*found, proxy]}


ANYBODY = {"andIds": {"ids": [{"any": True}]}}
IMAGING = {"andIds": {"ids": [{"orIds": {"ids": [{"authenticated": {"principalName": {}}}]}}]}}
WRITE = {**_permission(methods=["POST"]), "sources": [IMAGING]}
READ = _permission(methods=["GET", "HEAD"])
DICOM = _permission(ports=[8104])
DENYING: dict[str, Any] = {
    "name": "envoy.filters.http.rbac",
    "typedConfig": {"rules": {"action": "DENY", "policies": {}}},
}
POLICY = authorization_policy(lab_parameters(), WEB, ["GET", "HEAD"])
SOME = authorization_policy(
    lab_parameters(),
    WEB,
    ["GET", "HEAD"],
    [RuleParameters(methods=["POST"], namespaces=["imaging"])],
)
DRY = authorization_policy(lab_parameters(), WEB, ["GET", "HEAD"], dry_run=True)
EVERYTHING = {"everything"}


@pytest.mark.parametrize(
    ("chains", "port", "policy", "allowed"),
    [
        ([_http(8080, _rbac(READ))], 8080, POLICY, {"GET", "HEAD"}),
        ([_http(8080, DENYING, _rbac(READ))], 8080, POLICY, {"GET", "HEAD"}),
        ([_http(8080, _rbac(READ, WRITE))], 8080, SOME, {"GET", "HEAD", "POST to some"}),
        ([_http(8080)], 8080, POLICY, None),
        ([_http(8080, DENYING)], 8080, POLICY, None),
        ([_http(8080, _rbac(READ, name="other"))], 8080, POLICY, set()),
        # One of two chains, such as those for plaintext and for TLS, is not enough.
        ([_http(8080, _rbac(READ)), _http(8080)], 8080, POLICY, None),
        ([_http(9090, _rbac(READ))], 8080, POLICY, None),
        # What is tried out is not enforced, and the other way round.
        ([_http(8080, _rbac(READ, kind="shadowRules"))], 8080, POLICY, None),
        ([_http(8080, _rbac(READ, kind="shadowRules"))], 8080, DRY, {"GET", "HEAD"}),
        ([_http(8080, _rbac(READ))], 8080, DRY, None),
        # Istiod leaves rules about methods out where it is no HTTP.
        ([_tcp(8104, _rbac(DICOM))], 8104, POLICY, EVERYTHING),
        ([_tcp(8104, _rbac())], 8104, POLICY, set()),
        ([_tcp(8104)], 8104, POLICY, None),
        ([_http(8104, _rbac(READ, DICOM))], 8104, POLICY, EVERYTHING),
        ([_http(8080, _rbac(READ, DICOM))], 8080, POLICY, {"GET", "HEAD"}),
        # A port whose protocol is found out has chains for both.
        ([_http(8080, _rbac(READ)), _tcp(8080, _rbac())], 8080, POLICY, {"GET", "HEAD"}),
    ],
)
def test_what_an_envoy_has_of_a_policy(
    chains: list[dict[str, Any]], port: int, policy: dict[str, Any], allowed: set[str] | None
) -> None:
    assert allows(_inbound(*chains), port, policy) == allowed


def test_what_a_policy_allows_to_some_is_not_what_it_allows_to_everybody() -> None:
    assert allowed_methods(SOME) == {"GET", "HEAD"}
    assert allowed_on_port(SOME, 8080) == {"GET", "HEAD", "POST to some"}
    assert allowed_to_some(SOME) == ["POST from namespaces imaging"]


class Asked:
    """Istioctl that answers by the pod's name: with listeners, or with what it raises."""

    def __init__(self, **answers: Any) -> None:
        self.answers = {name.replace("_", "-"): answer for name, answer in answers.items()}

    def within(self, seconds: float) -> Asked:
        assert seconds <= 15
        return self

    def proxy_config_listeners_json(self, pod: str, *, namespace: str) -> Any:
        assert namespace == "xnat"
        answer = self.answers[pod]
        if isinstance(answer, list):
            return answer
        raise answer


UNANSWERED = CommandError(["istioctl"], 1, "", "Error: first\nError: container not found\n")
CURRENT = _inbound(_http(8080, _rbac(READ)), _http(8080, _rbac(READ), transport="tls"))
OLDER = _inbound(_http(8080, _rbac(_permission(methods=["GET"]))))


def _context(folder: Path, *objects: Any, asked: Asked, **given: Any) -> Context:
    found = context(folder, *objects, timeouts={"policy": 1}, **given)
    found.__dict__["istioctl"] = asked
    return found


def test_every_web_pod_must_have_the_policy(tmp_path: Path) -> None:
    """Also the replica that no probe happened to meet."""
    web = (POLICY, pod("web-0"), pod("web-1"))
    proved = prove_authorization(
        _context(tmp_path, *web, asked=Asked(web_0=CURRENT, web_1=CURRENT))
    )
    assert proved.rows == (
        Row(("web-0", "8080", "GET, HEAD"), ok=True),
        Row(("web-1", "8080", "GET, HEAD"), ok=True),
    )
    with pytest.raises(
        WaitTimeout, match=r"last seen: web-1 port 8080: GET in place of GET, HEAD$"
    ):
        prove_authorization(_context(tmp_path, *web, asked=Asked(web_0=CURRENT, web_1=OLDER)))


def test_another_port_must_have_its_rule(tmp_path: Path) -> None:
    given = {"application": {"plaintext_ports": [8104]}}
    policy = authorization_policy(lab_parameters(**given), WEB, ["GET", "HEAD"])
    with_rule = _inbound(_http(8080, _rbac(READ, DICOM)), _tcp(8104, _rbac(DICOM)))
    proved = prove_authorization(
        _context(tmp_path, policy, pod("web-0"), asked=Asked(web_0=with_rule), **given)
    )
    assert Row(("web-0", "8104", "everything"), ok=True) in proved.rows
    without = _inbound(_http(8080, _rbac(READ)), _tcp(8104, _rbac()))
    with pytest.raises(
        WaitTimeout, match="last seen: web-0 port 8104: nothing in place of everything"
    ):
        prove_authorization(
            _context(tmp_path, policy, pod("web-0"), asked=Asked(web_0=without), **given)
        )


def test_a_web_pod_without_a_sidecar_is_named(tmp_path: Path) -> None:
    web = (POLICY, pod("web-0"), pod("web-1", sidecar=False))
    with pytest.raises(WaitTimeout, match=r"last seen: web-1 1/1 ready: has no sidecar$"):
        prove_authorization(_context(tmp_path, *web, asked=Asked(web_0=CURRENT)))


def test_no_web_pod_at_all_proves_nothing(tmp_path: Path) -> None:
    with pytest.raises(WaitTimeout, match="there is no web pod"):
        prove_authorization(_context(tmp_path, POLICY, asked=Asked()))


PROVERS = pytest.mark.parametrize("prove", [prove_modes, prove_authorization])


@PROVERS
@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (UNANSWERED, "its sidecar cannot be asked: Error: container not found"),
        ([], "its sidecar has no listeners yet"),
    ],
)
def test_a_sidecar_that_cannot_be_asked_is_waited_for_and_named(
    tmp_path: Path, prove: Callable[[Context], Table], answer: Any, why: str
) -> None:
    asked = Asked(web_0=CURRENT, web_1=answer)
    found = _context(tmp_path, POLICY, pod("web-0"), pod("web-1"), asked=asked)
    with pytest.raises(WaitTimeout, match=f"last seen: web-1 2/2 ready: {why}"):
        prove(found)
    asked.answers["web-1"] = CURRENT
    assert len(prove(found).rows) == 2


@PROVERS
def test_a_pod_on_its_way_out_is_not_asked(
    tmp_path: Path, prove: Callable[[Context], Table]
) -> None:
    leaving = pod("web-1", deletionTimestamp="2026-01-01T00:00:00Z")
    found = _context(tmp_path, POLICY, pod("web-0"), leaving, asked=Asked(web_0=CURRENT))
    assert [row.cells[0] for row in prove(found).rows] == ["web-0"]


def test_the_mode_of_another_port_is_proved_though_no_container_declares_it(
    tmp_path: Path,
) -> None:
    given = {"application": {"plaintext_ports": [8104]}}
    exception = mutual_tls_exception(lab_parameters(**given), WEB)
    objects = (exception, pod("web-0"), pod("db-0", labels={"app": "db"}))
    open_ = _inbound(_chain("raw_buffer", 8080), _chain("raw_buffer", 8104))
    database = _inbound(_chain("raw_buffer"), _chain("tls"))
    proved = prove_modes(
        _context(tmp_path, *objects, asked=Asked(web_0=open_, db_0=database), **given)
    )
    assert proved.proved
    assert [row.cells for row in proved.rows] == [
        ("db-0", "8080", "PERMISSIVE", "accepted"),
        ("web-0", "8080", "DISABLE", "accepted"),
        ("web-0", "8104", "DISABLE", "accepted"),
    ]
    closed = _inbound(_chain("raw_buffer", 8080), _chain("tls"))
    with pytest.raises(WaitTimeout, match="web-0 port 8104: plaintext is refused"):
        prove_modes(_context(tmp_path, *objects, asked=Asked(web_0=closed, db_0=database), **given))


def test_a_port_that_takes_mutual_tls_as_well_is_told_from_one_that_does_not(
    tmp_path: Path,
) -> None:
    given = {"mutual_tls": {"exception_mode": "PERMISSIVE"}}
    objects = (mutual_tls_exception(lab_parameters(**given), WEB), pod("web-0"))
    both = _inbound(_chain("raw_buffer", 8080), _chain("tls", 8080))
    (row,) = prove_modes(_context(tmp_path, *objects, asked=Asked(web_0=both), **given)).rows
    assert row == Row(("web-0", "8080", "PERMISSIVE", "accepted"), ok=True)
    old = Asked(web_0=_inbound(_chain("raw_buffer", 8080)))
    with pytest.raises(WaitTimeout, match=r"web-0 port 8080: .* mutual TLS refused"):
        prove_modes(_context(tmp_path, *objects, asked=old, **given))


def _service(name: str) -> dict[str, Any]:
    ports = [{"port": 80, "targetPort": 8080, "name": name}]
    return {
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "xnat"},
        "spec": {"selector": {"app": "xnat-web"}, "ports": ports},
    }


EXCLUDED = {"traffic.sidecar.istio.io/excludeInboundPorts": "8080"}


@pytest.mark.parametrize(
    ("objects", "why"),
    [
        ([pod("web-0"), _service("tcp-web")], r"Service xnat/web .spec.ports\[0\].name: tcp-web"),
        ([pod("web-0", annotations=EXCLUDED)], "excludeInboundPorts: 8080"),
    ],
)
def test_a_policy_about_methods_that_never_can_have_an_effect_is_not_waited_for(
    tmp_path: Path, objects: list[dict[str, Any]], why: str
) -> None:
    found = _context(tmp_path, POLICY, *objects, asked=Asked(web_0=CURRENT))
    with pytest.raises(WaitFailed, match=f"cannot work on the web port: .*{why}"):
        prove_authorization(found)
    # Without the policy there is nothing to prove.
    assert prove_authorization(_context(tmp_path, *objects, asked=Asked(web_0=CURRENT))).rows == ()


def test_plaintext_on_a_port_that_is_not_captured_is_accepted_whatever_the_mode(
    tmp_path: Path,
) -> None:
    strict = strict_mutual_tls(lab_parameters())
    closed = _inbound(_chain("tls", 8080))
    objects = (strict, pod("web-0", annotations=EXCLUDED))
    (row,) = prove_modes(_context(tmp_path, *objects, asked=Asked(web_0=closed))).rows
    assert row.cells[:3] == ("web-0", "8080", "STRICT")
    assert row.cells[3].startswith("accepted, past the sidecar: Pod xnat/web-0 ")
    assert row.ok is None
