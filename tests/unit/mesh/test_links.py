from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from runbook_lib.lifecycle import CallAnswered
from runbook_lib.mesh import links as mesh_links
from runbook_lib.mesh.links import End
from runbook_lib.mesh.map import EDGE, OUTSIDER, Basis, LinkState
from runbook_lib.mesh.traffic import Policies
from runbook_lib.site.probe import Observed

WEB = End("web", sidecars=True, port=8080, http=True)
DATABASE = End("database", sidecars=True, port=5432)

OK = Observed("GET", 200, body="hello")
NOT_ALLOWED = Observed("DELETE", 405, body="not allowed")
DENIED = Observed("POST", 403, body="RBAC: access denied")
BROKEN = Observed("GET", 502, body="Bad Gateway")
NO_CONNECTION = Observed("HEAD", None, error="connection refused")


def policy(name: str = "p", **spec: Any) -> dict[str, Any]:
    return {
        "kind": "AuthorizationPolicy",
        "metadata": {"name": name, "namespace": "x"},
        "spec": spec,
    }


def with_policies(end: End, *policies: dict[str, Any]) -> End:
    return replace(end, policies=Policies(authorization_policies=policies))


GET_ONLY = policy("read-only", rules=[{"to": [{"operation": {"methods": ["GET"]}}]}])


class TestFromEdge:
    @pytest.mark.parametrize(
        ("web", "answers", "state", "reason"),
        [
            (WEB, [OK, NOT_ALLOWED], LinkState.PLAINTEXT, "no identity in the mesh"),
            (WEB, [OK, DENIED], LinkState.PLAINTEXT, "AuthorizationPolicy denies POST"),
            (WEB, [DENIED], LinkState.REFUSED, "denies POST"),
            (replace(WEB, mode="STRICT"), [BROKEN, NO_CONNECTION], LinkState.REFUSED, "STRICT"),
            (replace(WEB, mode="STRICT"), [OK], LinkState.PLAINTEXT, "not in effect yet"),
            (WEB, [BROKEN, NO_CONNECTION], LinkState.NO_ANSWER, "look at the pods"),
            (End("web", sidecars=None, pods=0), [BROKEN], LinkState.NO_ANSWER, "has no pods"),
            (WEB, [BROKEN, OK], LinkState.UNKNOWN, "some requests were answered"),
            (WEB, [], LinkState.UNKNOWN, "nothing was asked"),
        ],
    )
    def test_the_state_follows_from_the_answers(
        self, web: End, answers: list[Observed], state: LinkState, reason: str
    ) -> None:
        link = mesh_links.from_edge(web, answers)

        assert (link.source, link.state, link.basis) == (EDGE, state, Basis.ASKED)
        assert reason in "; ".join(link.reasons)

    def test_a_strict_port_explains_no_failure_where_there_is_no_sidecar(self) -> None:
        web = replace(WEB, sidecars=False, mode="STRICT")

        assert mesh_links.from_edge(web, [BROKEN]).state is LinkState.NO_ANSWER

    def test_answers_are_told_in_words(self) -> None:
        head = Observed("HEAD", 403)
        own = Observed("GET", 403, body="log in first")

        link = mesh_links.from_edge(WEB, [OK, DENIED, head, own, NO_CONNECTION])

        assert link.answers == (
            "GET 200",
            "POST 403 denied",
            "HEAD 403 denied",
            "GET 403",
            "HEAD connection refused",
        )


class TestBetween:
    @pytest.mark.parametrize(
        ("client", "server", "mode", "rule", "state"),
        [
            (True, True, "PERMISSIVE", "", LinkState.MUTUAL_TLS),
            (True, True, "STRICT", "", LinkState.MUTUAL_TLS),
            (True, True, "DISABLE", "", LinkState.PLAINTEXT),
            (True, True, "STRICT", "DISABLE", LinkState.REFUSED),
            (True, True, "PERMISSIVE", "DISABLE", LinkState.PLAINTEXT),
            (True, True, "PERMISSIVE", "SIMPLE", LinkState.UNKNOWN),
            (True, True, "DISABLE", "ISTIO_MUTUAL", LinkState.REFUSED),
            (True, True, "STRICT", "ISTIO_MUTUAL", LinkState.MUTUAL_TLS),
            (True, True, "STRICT", "SIMPLE", LinkState.REFUSED),
            (True, False, "STRICT", "", LinkState.PLAINTEXT),
            (True, False, "STRICT", "ISTIO_MUTUAL", LinkState.REFUSED),
            (False, True, "PERMISSIVE", "", LinkState.PLAINTEXT),
            (False, True, "STRICT", "", LinkState.REFUSED),
            (False, True, "STRICT", "ISTIO_MUTUAL", LinkState.REFUSED),
            (False, False, "STRICT", "", LinkState.PLAINTEXT),
            (None, True, "STRICT", "", LinkState.UNKNOWN),
            (True, None, "STRICT", "", LinkState.UNKNOWN),
        ],
    )
    def test_the_state_follows_from_sidecars_mode_and_rule(
        self, client: bool | None, server: bool | None, mode: str, rule: str, state: LinkState
    ) -> None:
        link = mesh_links.between(
            replace(WEB, sidecars=client), replace(DATABASE, sidecars=server, mode=mode), rule
        )

        assert link.state is state
        assert link.basis is Basis.DERIVED
        assert link.reasons

    def test_no_pods_are_told_from_pods_of_which_some_have_sidecars(self) -> None:
        mixed = mesh_links.between(WEB, replace(DATABASE, sidecars=None))
        none = mesh_links.between(WEB, replace(DATABASE, sidecars=None, pods=0))

        assert mixed.reasons == ("database has sidecars in some pods only",)
        assert none.reasons == ("database has no pods",)

    @pytest.mark.parametrize(
        ("found", "http", "state"),
        [
            (GET_ONLY, False, LinkState.REFUSED),
            (policy(), False, LinkState.REFUSED),
            (GET_ONLY, True, LinkState.UNKNOWN),
            (policy(rules=[{}]), False, LinkState.MUTUAL_TLS),
            (policy(action="DENY", rules=[{}]), False, LinkState.REFUSED),
            (policy(action="AUDIT", rules=[{}]), False, LinkState.MUTUAL_TLS),
            (policy(selector={"matchLabels": {"app": "x"}}), False, LinkState.MUTUAL_TLS),
        ],
    )
    def test_an_authorization_policy_that_selects_the_server_decides(
        self, found: dict[str, Any], http: bool, state: LinkState
    ) -> None:
        server = with_policies(replace(DATABASE, http=http), found)

        assert mesh_links.between(WEB, server).state is state

    def test_authorization_is_not_enforced_where_there_is_no_sidecar(self) -> None:
        server = with_policies(replace(DATABASE, sidecars=False), GET_ONLY)

        assert mesh_links.between(WEB, server).state is LinkState.PLAINTEXT


class TestFromOutsider:
    def test_strict_refuses_and_an_exempt_port_lets_in(self) -> None:
        strict = mesh_links.from_outsider(replace(DATABASE, mode="STRICT"), web=False)
        exempt = mesh_links.from_outsider(replace(WEB, mode="DISABLE"), web=True)

        assert (strict.source, strict.state) == (OUTSIDER, LinkState.REFUSED)
        assert exempt.state is LinkState.PLAINTEXT

    def test_methods_of_the_web_workload_are_limited_for_it_too(self) -> None:
        link = mesh_links.from_outsider(with_policies(WEB, GET_ONLY), web=True)

        assert link.state is LinkState.PLAINTEXT
        assert "methods limited as for the load balancer" in link.reasons


class TestAsAsked:
    @pytest.mark.parametrize(
        ("let_in", "mutual_tls", "state"),
        [
            (True, True, LinkState.MUTUAL_TLS),
            (True, False, LinkState.PLAINTEXT),
            # Nothing was counted, so how it went is still only derived.
            (True, None, LinkState.MUTUAL_TLS),
            (False, None, LinkState.REFUSED),
        ],
    )
    def test_what_was_answered_counts(
        self, let_in: bool, mutual_tls: bool | None, state: LinkState
    ) -> None:
        derived = mesh_links.between(WEB, DATABASE)
        call = CallAnswered(True, "database", 5432, let_in, mutual_tls, "answers")
        link = mesh_links.as_asked(derived, [call])
        assert (link.basis, link.state, link.answers) == (Basis.ASKED, state, ("answers",))
        assert link.reasons[0] == "asked by another pod with a sidecar in place of web"

    def test_what_somebody_else_was_answered_says_nothing(self) -> None:
        derived = mesh_links.from_outsider(DATABASE, web=False)
        others = (
            CallAnswered(True, "database", 5432, True, True, ""),
            CallAnswered(False, "database", 5433, True, False, ""),
            CallAnswered(False, "web", 5432, True, False, ""),
        )
        assert mesh_links.as_asked(derived, others) == derived

    def test_an_outsider_that_was_refused_is_asked(self) -> None:
        derived = mesh_links.from_outsider(replace(DATABASE, mode="STRICT"), web=False)
        refused = CallAnswered(False, "database", 5432, False, None, "connection closed")
        link = mesh_links.as_asked(derived, [refused])
        assert (link.basis, link.state) == (Basis.ASKED, LinkState.REFUSED)
        assert link.reasons == derived.reasons


@pytest.mark.parametrize(("ready", "state"), [(2, LinkState.CONFIGURES), (0, LinkState.UNKNOWN)])
def test_istiod_is_said_to_configure_only_sidecars_that_are_ready(
    ready: int, state: LinkState
) -> None:
    assert mesh_links.configuration("istiod", "x", ready, 2).state is state
