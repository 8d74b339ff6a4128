"""What well-formed parameters of Kiali can still get wrong: combinations that cannot work."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from runbook_lib.base import Location
from runbook_lib.parameters.model import KialiParameters, Parameters
from runbook_lib.parameters.problems import Contradiction

_LONGEST_KIALI_NAME = 40
"""The Kiali operator's limit, see spec.deployment.instance_name in its CRD."""

_NEEDS = {
    "nlb-tls": ("host", "certificate_arn"),
    "alb-ingress": ("host", "certificate_arn"),
    "ingress": ("host", "ingress_class"),
}
"""What an exposure cannot do without."""

_ONLY_FOR = {
    "source_ranges": ("load-balancer", "nlb-tls", "alb-ingress"),
    "load_balancer_class": ("load-balancer", "nlb-tls"),
    "ingress_class": ("alb-ingress", "ingress"),
    "tls_secret": ("ingress",),
}
"""Which exposures heed a parameter: set with another, it would only seem to work."""

_TLS_1_2 = re.compile(r"ELBSecurityPolicy-(TLS|TLS13|FS)-1-[23]-.+")
"""Policies that offer nothing older than TLS 1.2."""

_CREDENTIALS = ("client_secret", "password", "signing_key", "token")
"""Keys of a Kiali resource whose values are secret."""


def contradictions(parameters: Parameters) -> Iterator[Contradiction]:
    """Yield every impossible combination of what is said about Kiali."""
    kiali = parameters.kiali
    yield from _exposure(kiali)
    target = parameters.target
    if target.production and target.allows.may_be_production:
        yield from _in_production(kiali)
    yield from _credentials(kiali.spec, ("kiali", "spec"))
    for manifest, url in (
        ("prometheus_manifest", "prometheus_url"),
        ("jaeger_manifest", "tracing_url"),
    ):
        if getattr(kiali, manifest) is not None and getattr(kiali, url) is not None:
            yield (
                ("kiali", manifest),
                f"nothing is installed where {url} names one that is there already",
                "remove one of the two",
            )
    for index, reader in enumerate(kiali.readers):
        if reader in kiali.readers[:index]:
            yield ("kiali", "readers", index), f"{reader} is there twice", "remove one"
    if len(kiali.name) > _LONGEST_KIALI_NAME or kiali.name.isdigit():
        yield (
            ("kiali", "name"),
            f"the operator does not take {kiali.name!r}",
            f"use at most {_LONGEST_KIALI_NAME} characters, and not digits alone",
        )
    if kiali.operator_namespace == parameters.istio.namespace:
        yield (
            ("kiali", "operator_namespace"),
            "the operator shares istiod's namespace, so neither could be removed alone",
            "give it a namespace of its own, such as kiali-operator",
        )


def _exposure(kiali: KialiParameters) -> Iterator[Contradiction]:
    for key in _NEEDS.get(kiali.exposure, ()):
        if getattr(kiali, key) is None:
            yield ("kiali", key), f"exposure {kiali.exposure} needs it", "add it"
    for key, exposures in _ONLY_FOR.items():
        if getattr(kiali, key) and kiali.exposure not in exposures:
            yield (
                ("kiali", key),
                f"exposure {kiali.exposure} does not heed it",
                f"remove it, or choose an exposure that does: {', '.join(exposures)}",
            )
    for index, source in enumerate(kiali.source_ranges):
        if source in kiali.source_ranges[:index]:
            yield ("kiali", "source_ranges", index), f"{source} is there twice", "remove one"


def _in_production(kiali: KialiParameters) -> Iterator[Contradiction]:
    if kiali.exposure == "load-balancer":
        yield (
            ("kiali", "exposure"),
            "a plain load balancer sends the tokens of those who log in as clear text",
            "write nlb-tls, alb-ingress or ingress, which end TLS, or cluster for port-forward",
        )
    if not _TLS_1_2.fullmatch(kiali.tls_policy):
        yield (
            ("kiali", "tls_policy"),
            f"{kiali.tls_policy} offers TLS 1.0 or 1.1, which browsers and auditors refuse",
            "remove it, or take one with TLS13-1-2 in its name",
        )


def _credentials(spec: Mapping[str, Any], location: Location) -> Iterator[Contradiction]:
    """Find secrets that are written down: Kiali reads them from Secrets of its namespace.

    See https://kiali.io/docs/configuration/p8s-jaeger-grafana/prometheus/.
    """
    for key, value in spec.items():
        if isinstance(value, Mapping):
            yield from _credentials(value, (*location, key))
        elif key in _CREDENTIALS and value and not str(value).startswith("secret:"):
            yield (
                (*location, key),
                "a secret is written down",
                "put it into a Secret beside Kiali, and write secret:NAME:KEY",
            )
