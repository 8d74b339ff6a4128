"""Whoever stands in front: what counts is that the pods are closed, or that their sidecar said no.

The headers are those that AWS, NGINX and Istio document for answers of their own and for those that
they pass on.
"""

from __future__ import annotations

import pytest

from runbook_lib.site import CLOSED, Expectation, Observed, Probe, ProbeRow
from runbook_lib.site.probe import BYPASS, UnexpectedAnswers, prove, send
from tests.unit.site.fronts import Page, answering, closing

DENIED = Expectation(403, "RBAC: access denied")
OWN = Expectation(200, by_sidecar=True)
ENVOY = {"server": "istio-envoy"}
PASSED_ON = {"server": "istio-envoy", "x-envoy-upstream-service-time": "12"}
ALB = {"Server": "awselb/2.0"}
CLOUDFRONT = {"Server": "CloudFront", "X-Cache": "Error from cloudfront", "Via": "1.1 cloudfront"}
THROUGH_CLOUDFRONT = {"X-Cache": "Miss from cloudfront", "Via": "1.1 cloudfront"}
LOGIN = "https://login.example.com/oauth2/authorize?state=secret"
DENIAL = "RBAC: access denied"


def row(page: Page, expected: Expectation, method: str = "GET") -> ProbeRow:
    probe = Probe(method, "/", expected)
    with answering(page) as url:
        return ProbeRow(probe, send(url, probe, timeout=5))


@pytest.mark.parametrize(
    "page",
    [
        *(Page(status, "<title>Bad Gateway</title>", ALB) for status in (502, 503, 504)),
        Page(503, "", {}),  # a classic load balancer
        Page(502, "<center>nginx</center>", {"Server": "nginx/1.27.1"}),
        Page(502, "<h1>502 ERROR</h1>", CLOUDFRONT),
        Page(503, "no available server", {"server": "envoy"}),  # of a gateway in front
    ],
    ids=["ALB 502", "ALB 503", "ALB 504", "classic", "nginx", "CloudFront", "gateway"],
)
def test_an_error_of_what_stands_in_front_shows_closed_pods(page: Page) -> None:
    assert row(page, CLOSED).ok


@pytest.mark.parametrize("how", ["reset", "end", "silence"])
def test_a_connection_without_an_answer_shows_closed_pods(how: str) -> None:
    with closing(how) as url:
        assert prove(url, [Probe("GET", "/", CLOSED)], timeout=5, probe_timeout=0.2).ok


def test_silent_connections_are_waited_for_at_once() -> None:
    probes = [Probe(method, "/", CLOSED) for method in ("GET", "HEAD", "POST")] * 4
    with closing("silence") as url:
        assert prove(url, probes, timeout=1.5, successes=3, probe_timeout=0.3).ok


@pytest.mark.parametrize(
    "observed",
    [
        Observed("GET", None, error="connection refused"),
        Observed("GET", None, error="unknown host name"),
        Observed("GET", 200),
        Observed("GET", 503, headers=ENVOY),
    ],
    ids=["no listener", "no host", "open", "let in by the sidecar"],
)
def test_what_says_nothing_of_the_pods_does_not_show_that_they_are_closed(
    observed: Observed,
) -> None:
    assert not ProbeRow(Probe("GET", "/", CLOSED), observed).ok


@pytest.mark.parametrize(
    ("method", "page"),
    [
        ("GET", Page(403, DENIAL, ENVOY)),
        ("HEAD", Page(403, DENIAL, ENVOY)),
        ("GET", Page(403, DENIAL, {"Server": "nginx"})),
        ("GET", Page(403, DENIAL, {**ENVOY, "X-Cache": "Error from cloudfront"})),
        ("HEAD", Page(403, DENIAL, {**ENVOY, "X-Cache": "Error from cloudfront"})),
    ],
)
def test_a_denial_of_the_sidecars_counts_through_whatever_passes_it_on(
    method: str, page: Page
) -> None:
    found = row(page, DENIED, method)
    assert (found.ok, found.hidden) == (True, "")


IN_PLACE = {
    "login at the load balancer": (Page(302, "", {**ALB, "Location": LOGIN}), "server: awselb/2.0"),
    "Cognito": (
        Page(302, "", {**ALB, "Location": "https://x.auth.eu-west-1.amazoncognito.com/login"}),
        "server: awselb/2.0",
    ),
    "login by a proxy": (
        Page(302, "", {"Server": "nginx", "Location": LOGIN}),
        "location: login.example.com",
    ),
    "custom page": (
        Page(200, "Back soon", {"X-Cache": "Error from cloudfront"}),
        "x-cache: Error from cloudfront",
    ),
    "cache": (
        Page(200, "", {"X-Cache": "Hit from cloudfront", "Age": "9"}),
        "x-cache: Hit from cloudfront",
    ),
    "cache by age": (Page(200, "", {"Age": "9"}), "age: 9"),
    "firewall of CloudFront": (Page(403, "Request blocked", CLOUDFRONT), "server: CloudFront"),
    "firewall of the load balancer": (Page(403, "Forbidden", ALB), "server: awselb/2.0"),
    "captcha": (Page(405, "", {"x-amzn-waf-action": "captcha"}), "x-amzn-waf-action: captcha"),
    "challenge": (
        Page(403, "", {"Server": "cloudflare", "cf-mitigated": "challenge"}),
        "cf-mitigated: challenge",
    ),
}


@pytest.mark.parametrize("expected", [OWN, DENIED, CLOSED], ids=["own", "denied", "closed"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(("page", "header"), IN_PLACE.values(), ids=IN_PLACE)
def test_an_answer_in_place_of_the_pods_is_never_verified_and_its_header_is_named(
    page: Page, header: str, method: str, expected: Expectation
) -> None:
    own = Expectation(page.status, by_sidecar=True) if expected is OWN else expected
    found = row(page, own, method)
    assert (found.ok, found.hidden) == (False, header)


def test_a_custom_page_in_place_of_a_denial_is_not_taken_for_an_open_door() -> None:
    page = Page(403, "Ask the help desk", {"X-Cache": "Error from cloudfront"})
    found = row(page, DENIED)
    assert (found.ok, found.hidden) == (False, "x-cache: Error from cloudfront")


def test_what_the_pods_answered_wrongly_through_a_cdn_is_wrong_and_not_hidden() -> None:
    found = row(Page(200, "XNAT", {**PASSED_ON, **THROUGH_CLOUDFRONT}), DENIED)
    assert (found.ok, found.hidden) == (False, "")


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        (Page(200, "XNAT", THROUGH_CLOUDFRONT), OWN),
        (Page(302, "", {**PASSED_ON, "Location": LOGIN}), Expectation(302, by_sidecar=True)),
        (Page(302, "", {"Location": LOGIN}), Expectation(302)),  # before there is a sidecar
        (Page(302, "", {"Location": "/app"}), Expectation(302, by_sidecar=True)),
        (Page(200, "XNAT", {"Age": "0"}), OWN),
    ],
)
def test_the_applications_own_answers_count(page: Page, expected: Expectation) -> None:
    assert row(page, expected).ok


def test_of_a_redirect_only_the_host_is_kept() -> None:
    found = row(Page(302, "", {"Location": LOGIN}), OWN)
    assert found.observed.headers["location"] == "login.example.com"
    assert "secret" not in repr(found)


def test_the_error_says_that_it_cannot_tell_what_shows_it_and_what_to_bypass() -> None:
    probe = Probe("GET", "/", OWN)
    page = Page(302, "", {**ALB, "Location": LOGIN})
    with answering(page) as url, pytest.raises(UnexpectedAnswers) as caught:
        prove(url, [probe], timeout=0.2)
    assert "cannot be told from this URL" in caught.value.cause
    assert "server: awselb/2.0" in caught.value.cause
    assert caught.value.remedy == BYPASS
    assert "application.url" in BYPASS
