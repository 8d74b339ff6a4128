"""The edge: a second Envoy that stands in for the AWS load balancer (fake, and named as such).

Like an Application Load Balancer with target type IP it sends requests straight to pod
addresses, checks the targets' health with plaintext HTTP, fails open when none is healthy, and
turns a connection that a target refuses or resets into its own 502 page.

Unlike one it opens a new connection for each request: Envoy drains the filter chains of a
sidecar for 45 s, so a kept-alive connection would go on answering by the policy before.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from runbook_lib.lab.build.binaries import envoy
from runbook_lib.lab.foundation.certificates import write_private
from runbook_lib.lab.foundation.ports import LOOPBACK
from runbook_lib.lab.network.tunnel import Endpoint

Object = dict[str, Any]

CLUSTER = "targets"
_TYPE = "type.googleapis.com/envoy"


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


def _listener(port: int) -> Object:
    manager = {
        "@type": f"{_TYPE}.extensions.filters.network.http_connection_manager.v3"
        ".HttpConnectionManager",
        "stat_prefix": "edge",
        "server_name": "lab-edge",
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "site",
                    "domains": ["*"],
                    "routes": [
                        {"match": {"prefix": "/"}, "route": {"cluster": CLUSTER, "timeout": "15s"}}
                    ],
                }
            ]
        },
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{_TYPE}.extensions.filters.http.router.v3.Router"},
            }
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
    return {
        "name": "edge",
        "address": _address(LOOPBACK, port),
        "filter_chains": [
            {
                "filters": [
                    {
                        "name": "envoy.filters.network.http_connection_manager",
                        "typed_config": manager,
                    }
                ]
            }
        ],
    }


def _cluster(targets: Path) -> Object:
    return {
        "name": CLUSTER,
        "type": "EDS",
        "connect_timeout": "2s",
        "eds_cluster_config": {
            "eds_config": {
                "resource_api_version": "V3",
                "path_config_source": {
                    "path": str(targets),
                    "watched_directory": {"path": str(targets.parent)},
                },
            }
        },
        # A deregistered target is gone at once, whatever its health was.
        "ignore_health_on_host_removal": True,
        "health_checks": [
            {
                "timeout": "1s",
                "interval": "2s",
                "no_traffic_interval": "2s",
                "unhealthy_threshold": 2,
                "healthy_threshold": 1,
                "reuse_connection": False,
                "http_health_check": {"path": "/"},
            }
        ],
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": f"{_TYPE}.extensions.upstreams.http.v3.HttpProtocolOptions",
                "common_http_protocol_options": {"max_requests_per_connection": 1},
                "explicit_http_config": {"http_protocol_options": {}},
            }
        },
    }


def _address(address: str, port: int) -> Object:
    return {"socket_address": {"address": address, "port_value": port}}


class Edge:
    """Configuration of the edge's Envoy, and its list of targets.

    Args:
        folder: Holds its configuration; must exist.
        port: Where the site is served on loopback.
    """

    def __init__(self, folder: Path, port: int) -> None:
        self.port = port
        self._targets = folder / "targets" / "targets.json"
        self._targets.parent.mkdir(exist_ok=True)
        self._written: list[Endpoint] | None = None
        self._config = folder / "edge.json"
        self.set_targets([])
        bootstrap = {
            "node": {"id": "edge", "cluster": "edge"},
            "static_resources": {
                "listeners": [_listener(port)],
                "clusters": [_cluster(self._targets)],
            },
        }
        write_private(self._config, json.dumps(bootstrap))

    @property
    def url(self) -> str:
        """The site as seen from outside."""
        return f"http://{LOOPBACK}:{self.port}"

    def command(self) -> list[str | Path]:
        """The command line; hot restart would share memory between the machine's Envoys."""
        return [
            envoy(),
            *("-c", self._config),
            "--disable-hot-restart",
            *("--concurrency", "1"),
            *("--log-level", "warning"),
        ]

    def set_targets(self, targets: list[Endpoint]) -> None:
        """Register exactly these targets; Envoy follows the renaming of the file."""
        if targets == self._written:
            return
        endpoints = [
            {"endpoint": {"address": _address(address, port)}} for address, port in targets
        ]
        assignment = {
            "@type": f"{_TYPE}.config.endpoint.v3.ClusterLoadAssignment",
            "cluster_name": CLUSTER,
            "endpoints": [{"lb_endpoints": endpoints}],
        }
        new = write_private(
            self._targets.with_suffix(".new"), json.dumps({"resources": [assignment]})
        )
        new.rename(self._targets)
        self._written = targets
