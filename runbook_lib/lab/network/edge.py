"""The edge: an Envoy that stands in for AWS load balancers (fake, and named as such).

Like an Application Load Balancer with target type IP it sends requests straight to pod
addresses, checks the targets' health with plaintext HTTP, fails open when none is healthy, and
turns a connection that a target refuses or resets into its own 502 page. It has an address of its
own in the lab's network, so that NetworkPolicies apply to it.

Unlike one it opens a new connection for each request, unless asked to keep them: Envoy drains the
filter chains of a sidecar for 45 s, so a kept connection goes on answering by the policy before.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runbook_lib.lab.build.binaries import envoy
from runbook_lib.lab.foundation.certificates import Pair, write_private
from runbook_lib.lab.network.relay import Endpoint

Object = dict[str, Any]

EDGE_IP = "10.244.255.2"

_TYPE = "type.googleapis.com/envoy"
_COOKIE = "AWSALB"
_SESSIONS = "envoy.filters.http.stateful_session"
_LONGEST_INTERVAL = 2.0
"""Seconds between health checks at most: a lab's user watches them happen."""


@dataclass(frozen=True)
class Health:
    """How a load balancer looks after its targets.

    Attributes:
        path: What it gets.
        statuses: Ranges of good answers, both ends included.
        interval: Seconds between checks.
    """

    path: str = "/"
    statuses: tuple[tuple[int, int], ...] = ((200, 200),)
    interval: float = 15


@dataclass(frozen=True)
class Group:
    """A target group: where requests of some routes go.

    Attributes:
        sticky: Seconds for which a client stays with a target; 0 if it does not.
    """

    name: str
    targets: tuple[Endpoint, ...]
    health: Health
    sticky: int = 0


@dataclass(frozen=True)
class Route:
    """Which requests go to which group.

    Attributes:
        host: `*` for any.
        path: What the request's path begins with, or is.
        exact: It is the whole path.
    """

    host: str
    path: str
    exact: bool
    group: Group


@dataclass(frozen=True)
class Listener:
    """One port of a load balancer.

    Attributes:
        port: Where it listens, on the edge's own address.
        tls: The certificate that it shows; None for plain HTTP.
    """

    name: str
    port: int
    routes: tuple[Route, ...]
    tls: Pair | None = None


class Edge:
    """Configuration of the edge's Envoy, which follows the files.

    Args:
        folder: Holds them; must exist.
        keep_connections: Whether connections to targets are used again.
    """

    def __init__(self, folder: Path, *, keep_connections: bool) -> None:
        self._folder, self._keep = folder, keep_connections
        self._written: dict[str, list[Object]] = {}
        self._bootstrap = folder / "bootstrap.json"
        bootstrap = {
            "node": {"id": "edge", "cluster": "edge"},
            "dynamic_resources": {
                "lds_config": self._source("listeners"),
                "cds_config": self._source("clusters"),
            },
        }
        self.show([])
        write_private(self._bootstrap, json.dumps(bootstrap))

    def command(self) -> list[str | Path]:
        """The command line; hot restart would share memory between the machine's Envoys."""
        return [
            envoy(),
            *("-c", self._bootstrap),
            "--disable-hot-restart",
            *("--concurrency", "1"),
            *("--log-level", "warning"),
        ]

    def show(self, listeners: Sequence[Listener]) -> None:
        """Have exactly these listeners, with their groups and targets."""
        groups = {route.group.name: route.group for each in listeners for route in each.routes}
        for name, group in groups.items():
            self._write(f"targets-{name}", [_assignment(group)])
        self._write("clusters", [self._cluster(each) for each in groups.values()])
        self._write("listeners", [_listener(each) for each in listeners])

    def _source(self, name: str) -> Object:
        return {
            "resource_api_version": "V3",
            "path_config_source": {
                "path": str(self._folder / f"{name}.json"),
                "watched_directory": {"path": str(self._folder)},
            },
        }

    def _write(self, name: str, resources: list[Object]) -> None:
        """Replace a file in one step; Envoy follows the renaming."""
        if self._written.get(name) == resources:
            return
        content = json.dumps({"resources": resources})
        new = write_private(self._folder / f"{name}.new", content)
        new.rename(self._folder / f"{name}.json")
        self._written[name] = resources

    def _cluster(self, group: Group) -> Object:
        common = {} if self._keep else {"max_requests_per_connection": 1}
        statuses = [{"start": first, "end": last + 1} for first, last in group.health.statuses]
        interval = f"{min(group.health.interval, _LONGEST_INTERVAL)}s"
        return {
            "@type": f"{_TYPE}.config.cluster.v3.Cluster",
            "name": group.name,
            "type": "EDS",
            "connect_timeout": "2s",
            "lb_policy": "ROUND_ROBIN",
            "eds_cluster_config": {"eds_config": self._source(f"targets-{group.name}")},
            # All targets get requests when none is healthy, and only then.
            "common_lb_config": {"healthy_panic_threshold": {"value": 1}},
            # A deregistered target is gone at once, whatever its health was.
            "ignore_health_on_host_removal": True,
            "health_checks": [
                {
                    "timeout": "1s",
                    "interval": interval,
                    "no_traffic_interval": interval,
                    "unhealthy_threshold": 2,
                    "healthy_threshold": 1,
                    "reuse_connection": self._keep,
                    "http_health_check": {
                        "path": group.health.path,
                        "expected_statuses": statuses,
                    },
                }
            ],
            "typed_extension_protocol_options": {
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                    "@type": f"{_TYPE}.extensions.upstreams.http.v3.HttpProtocolOptions",
                    "common_http_protocol_options": common,
                    "explicit_http_config": {"http_protocol_options": {}},
                }
            },
        }


def _assignment(group: Group) -> Object:
    endpoints = [{"endpoint": {"address": _address(*target)}} for target in group.targets]
    return {
        "@type": f"{_TYPE}.config.endpoint.v3.ClusterLoadAssignment",
        "cluster_name": group.name,
        "endpoints": [{"lb_endpoints": endpoints}],
    }


def _page(title: str) -> str:
    return (
        f"<html>\n<head><title>{title}</title></head>\n"
        f"<body>\n<center><h1>{title}</h1></center>\n</body>\n</html>\n"
    )


def _reply(flags: list[str], status: int, title: str) -> Object:
    return {
        "filter": {"response_flag_filter": {"flags": flags}},
        "status_code": status,
        "body": {"inline_string": _page(title)},
        "body_format_override": {
            "text_format_source": {"inline_string": "%LOCAL_REPLY_BODY%"},
            "content_type": "text/html; charset=utf-8",
        },
    }


def _listener(listener: Listener) -> Object:
    manager = {
        "@type": f"{_TYPE}.extensions.filters.network.http_connection_manager.v3"
        ".HttpConnectionManager",
        "stat_prefix": listener.name,
        "server_name": "lab-edge",
        "route_config": {
            # Envoy may read of a listener before it has read of its clusters.
            "validate_clusters": False,
            "virtual_hosts": _virtual_hosts(listener.routes),
        },
        "http_filters": [
            {
                "name": _SESSIONS,
                "typed_config": {
                    "@type": f"{_TYPE}.extensions.filters.http.stateful_session.v3.StatefulSession"
                },
            },
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{_TYPE}.extensions.filters.http.router.v3.Router"},
            },
        ],
        "access_log": [
            {
                "name": "envoy.access_loggers.stdout",
                "typed_config": {
                    "@type": f"{_TYPE}.extensions.access_loggers.stream.v3.StdoutAccessLog",
                    "log_format": {
                        "text_format_source": {
                            "inline_string": "%START_TIME% %REQ(:METHOD)% %REQ(:PATH)% "
                            "%RESPONSE_CODE% %RESPONSE_FLAGS% %UPSTREAM_HOST%\n"
                        }
                    },
                },
            }
        ],
        # UC reset, UF connection failure, UR remote reset; UH: no target is registered.
        "local_reply_config": {
            "mappers": [
                _reply(["UC", "UF", "UR", "UPE"], 502, "502 Bad Gateway"),
                _reply(["UH"], 503, "503 Service Temporarily Unavailable"),
                _reply(["UT"], 504, "504 Gateway Time-out"),
            ]
        },
    }
    chain: Object = {
        "filters": [
            {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
        ]
    }
    if listener.tls:
        files = {
            "certificate_chain": {"filename": str(listener.tls.certificate)},
            "private_key": {"filename": str(listener.tls.key)},
        }
        chain["transport_socket"] = {
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": f"{_TYPE}.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
                "common_tls_context": {"tls_certificates": [files]},
            },
        }
    return {
        "@type": f"{_TYPE}.config.listener.v3.Listener",
        "name": listener.name,
        "address": _address("0.0.0.0", listener.port),
        "filter_chains": [chain],
    }


def _virtual_hosts(routes: Iterable[Route]) -> list[Object]:
    by_host: dict[str, list[Route]] = {}
    for route in routes:
        by_host.setdefault(route.host, []).append(route)
    return [
        {
            "name": host,
            "domains": [host] if host == "*" else [host, f"{host}:*"],
            # The longest path first, as Ingress has it; Envoy takes the first that matches.
            "routes": [
                _route(each) for each in sorted(found, key=lambda one: (-len(one.path), one.exact))
            ],
        }
        for host, found in by_host.items()
    ]


def _route(route: Route) -> Object:
    found: Object = {
        "match": {"path" if route.exact else "prefix": route.path},
        "route": {"cluster": route.group.name, "timeout": "60s"},
    }
    if route.group.sticky:
        found["typed_per_filter_config"] = {_SESSIONS: _sticky(route.group.sticky)}
    return found


def _sticky(seconds: int) -> Object:
    """Name the target in a cookie, as an Application Load Balancer does: others may come and go."""
    cookie = {"name": _COOKIE, "path": "/", "ttl": f"{seconds}s"}
    state = {
        "@type": f"{_TYPE}.extensions.http.stateful_session.cookie.v3.CookieBasedSessionState",
        "cookie": cookie,
    }
    session = {"name": "envoy.http.stateful_session.cookie", "typed_config": state}
    return {
        "@type": f"{_TYPE}.extensions.filters.http.stateful_session.v3.StatefulSessionPerRoute",
        "stateful_session": {"session_state": session},
    }


def _address(address: str, port: int) -> Object:
    return {"socket_address": {"address": address, "port_value": port}}
