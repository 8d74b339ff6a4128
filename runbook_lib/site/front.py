"""Who answered: what response headers tell of pages that stand in front of the application.

A load balancer, a login, a cache or a firewall may answer in place of the pods, with any status.
Then the answer proves nothing about policies.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from runbook_lib.base import shorten
from runbook_lib.base.redact import redact

GATEWAY_ERRORS = (502, 503, 504)
"""What proxies answer where nothing that they can use comes back from behind them."""

_TELLING = re.compile(
    r"server|via|age|x-cache|cf-ray|cf-cache-status|cf-mitigated|x-amzn-waf-action|x-envoy-.*"
)
_LONGEST = 80

_OWN_PAGES = re.compile(r"awselb/.*|CloudFront|AkamaiGHost", re.I)
"""Names under which these servers give answers of their own; on those that they pass on, the name
is the application's. See https://docs.aws.amazon.com/elasticloadbalancing/latest/application/
load-balancer-troubleshooting.html, and CloudFront's guide on custom error pages."""

_CACHED = re.compile(r"(refresh)?hit|stale", re.I)


def telling(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers that show who answered; of a redirect the host alone.

    The rest of a redirect to a login may hold what is as good as a password.
    """
    found = {
        name.lower(): shorten(redact(value), _LONGEST)
        for name, value in headers.items()
        if _TELLING.fullmatch(name.lower())
    }
    location = next((v for name, v in headers.items() if name.lower() == "location"), "")
    if host := urlsplit(location).hostname:
        found["location"] = host
    return found


def is_sidecars(headers: Mapping[str, str]) -> bool:
    """Whether a sidecar made the answer up, as Istio names its servers."""
    return headers.get("server") == "istio-envoy"


def came_through_envoy(headers: Mapping[str, str]) -> bool:
    """Whether an Envoy passed the answer on from what is behind it, as sidecars do, or made it up.

    See https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/router_filter.
    """
    return is_sidecars(headers) or any(name.startswith("x-envoy-") for name in headers)


def in_place(
    headers: Mapping[str, str], status: int | None, url: str, *, by_sidecar: bool = True
) -> str:
    """Return the header which shows that something in front gave this answer; empty if none does.

    Args:
        headers: As `telling` returns them.
        status: The answer's.
        url: What was asked.
        by_sidecar: Whether the application's own answers come through a sidecar.
    """
    if _OWN_PAGES.fullmatch(headers.get("server", "")):
        return _shown(headers, "server")
    for name in ("cf-mitigated", "x-amzn-waf-action"):
        if name in headers:
            return _shown(headers, name)
    elsewhere = headers.get("location", urlsplit(url).hostname) != urlsplit(url).hostname
    if elsewhere and by_sidecar and not came_through_envoy(headers):
        return _shown(headers, "location")
    if (status or 0) < 400 and headers.get("x-cache", "").lower().startswith("error"):
        return _shown(headers, "x-cache")
    return from_cache(headers)


def from_cache(headers: Mapping[str, str]) -> str:
    """Return the header which shows that a cache answered; empty if none does."""
    for name in ("x-cache", "cf-cache-status"):
        if _CACHED.match(headers.get(name, "")):
            return _shown(headers, name)
    age = headers.get("age", "")
    return _shown(headers, "age") if age.isdigit() and int(age) > 0 else ""


def between(headers: Mapping[str, str]) -> str:
    """Return the header which shows that something in front passes answers on.

    It may replace them as well. Empty if nothing does, or if an Envoy is known to have answered.
    """
    if came_through_envoy(headers):
        return ""
    found = (name for name in ("x-cache", "cf-ray", "via") if name in headers)
    return next((_shown(headers, name) for name in found), "")


def _shown(headers: Mapping[str, str], name: str) -> str:
    return f"{name}: {headers[name]}"
