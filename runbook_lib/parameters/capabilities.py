"""What a kind of target brings, asks for and allows: the one place that tells a lab from others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from runbook_lib.base import Location, delivered

LAB_FILE = delivered() / "parameters" / "lab.yaml"
"""What a lab needs otherwise than a cluster; also what holds where no file is given."""


class Lack(NamedTuple):
    """A key that has no default and is not given.

    Attributes:
        what: What is missing.
        remedy: How to find it.
    """

    what: str
    remedy: str


@dataclass(frozen=True)
class Capabilities:
    """What follows from the kind of a target.

    Attributes:
        defaults: A file that parameters are laid over; None: the model's own defaults.
        refuses: Keys that cannot be set for it, each with the reason.
        asks_for: Keys that have no default, and what is said where they are missing.
        may_be_production: Whether users can depend on it.
        starts_by_command: Whether a command starts the target itself, as `lab up` does.
        approves_by_itself: Whether its changes need no approval.
        has_istios_proxy: Whether sidecars are Istio's own build of Envoy, and not upstream's.
        serves_pages: Whether Kiali has its web pages there, and not its API alone.
        lease: Seconds for which a run that is gone holds the cluster, unless parameters say.
    """

    defaults: Path | None = None
    refuses: Mapping[Location, str] = field(default_factory=dict)
    asks_for: Mapping[Location, Lack] = field(default_factory=dict)
    may_be_production: bool = True
    starts_by_command: bool = False
    approves_by_itself: bool = False
    has_istios_proxy: bool = True
    serves_pages: bool = True
    lease: int = 60


CAPABILITIES = {
    "lab": Capabilities(
        defaults=LAB_FILE,
        refuses={
            ("target", "kubeconfig"): "a lab has its own",
            ("target", "context"): "a lab has its own",
            ("target", "aws"): "a lab is not on AWS",
            ("istio", "version"): "the lab brings its own Istio",
            ("istio", "chart_repository"): "the lab brings its own Istio",
            ("kiali", "version"): "the lab brings its own Kiali",
            ("kiali", "chart_repository"): "the lab brings its own Kiali",
        },
        may_be_production=False,
        starts_by_command=True,
        approves_by_itself=True,
        has_istios_proxy=False,
        serves_pages=False,
        lease=5,
    ),
    "cluster": Capabilities(
        refuses={("target", "lab"): "a cluster has no lab"},
        asks_for={
            ("target", "context"): Lack(
                "a cluster needs a context",
                "name one of: kubectl config get-contexts --output name; for EKS, this adds one: "
                "aws eks update-kubeconfig --name CLUSTER --alias NAME",
            ),
            ("application", "url"): Lack(
                "a cluster needs the application's URL",
                "write the address that users open, such as https://xnat.example.com; if they "
                "open the load balancer's: kubectl get ingress,service --namespace NAMESPACE",
            ),
            ("application", "probes"): Lack(
                "a cluster needs the application's own answers",
                "for a path and each method of authorization, ask for the status: "
                "curl -s -o /dev/null -w '%{http_code}\\n' -X METHOD URL/PATH; then write "
                "[{method: GET, path: /app/template/Login.vm, status: 200}, …]",
            ),
        },
    ),
}
"""By `target.kind`."""
