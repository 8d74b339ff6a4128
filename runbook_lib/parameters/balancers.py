"""The formats of what a load balancer is told, as annotated types that refuse with a remedy."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator

from runbook_lib.parameters.formats import problem

RECOMMENDED_TLS_POLICY = "ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09"
"""What AWS recommends: TLS 1.3 and 1.2, and no CBC ciphers. Left alone, the AWS Load Balancer
Controller takes one of 2016 that offers TLS 1.0; see
https://docs.aws.amazon.com/elasticloadbalancing/latest/network/describe-ssl-policies.html."""

_CERTIFICATE = re.compile(r"arn:aws[a-z-]*:acm:[a-z0-9-]+:\d{12}:certificate/[0-9a-f-]+")
_TLS_POLICY = re.compile(r"ELBSecurityPolicy-[A-Za-z0-9-]+")
_CLASS = re.compile(
    r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
)


def _certificate(value: str) -> str:
    if not _CERTIFICATE.fullmatch(value):
        raise problem(
            f"{value!r} is not the ARN of an ACM certificate",
            "copy it from: aws acm list-certificates",
        )
    return value


def _tls_policy(value: str) -> str:
    if not _TLS_POLICY.fullmatch(value):
        raise problem(
            f"{value!r} is not a security policy of Elastic Load Balancing",
            "copy its name from: aws elbv2 describe-ssl-policies",
        )
    return value


def _source_range(value: str) -> str:
    try:
        network = ipaddress.ip_network(value, strict=False)
    except ValueError:
        network = None
    if network is None or str(network) != value:
        meant = str(network) if network else "10.0.0.0/8"
        raise problem(f"{value!r} is not a range of addresses", f"write it as {meant}")
    return value


def _load_balancer_class(value: str) -> str:
    if not _CLASS.fullmatch(value):
        raise problem(
            f"{value!r} is not a class of load balancers",
            "write it with its prefix, as service.k8s.aws/nlb",
        )
    return value


def _exposure(value: object) -> object:
    if isinstance(value, str) and re.fullmatch(r"(gateway|http-?route|gateway-api)", value.lower()):
        raise problem(
            f"{value!r} is not made here: Kiali's operator makes no HTTPRoute of the Gateway API",
            "write cluster, and an HTTPRoute of your own to Kiali's Service; kiali.spec.server "
            "takes web_fqdn and web_schema, by which Kiali knows its address",
        )
    return value


Exposure = Annotated[
    Literal["cluster", "load-balancer", "nlb-tls", "alb-ingress", "ingress"],
    BeforeValidator(_exposure),
]
TlsPolicy = Annotated[str, AfterValidator(_tls_policy)]
SourceRange = Annotated[str, AfterValidator(_source_range)]
LoadBalancerClass = Annotated[str, AfterValidator(_load_balancer_class)]
Certificate = Annotated[str, AfterValidator(_certificate)]
