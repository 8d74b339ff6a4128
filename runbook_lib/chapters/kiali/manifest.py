"""Kiali, its operator's namespace, and the accounts of those who may look."""

from __future__ import annotations

from collections.abc import Iterator

from runbook_lib.base import ParameterError
from runbook_lib.cluster import Manifests, Object, merged
from runbook_lib.parameters import Parameters

_MANIFESTS = Manifests(__file__)

API = "kiali.io/v1alpha1"

KIALI_PORT = 20001
"""Kiali's port, in the pod and of the Service."""

READER_LABEL = "istio-runbook/kiali-reader"
"""Marks the accounts of those who may look, so that one that is no longer named is found."""

ADDON = {"istio-runbook/addon": "true"}
"""The label of every object of an add-on, so that all of them are found without its manifest."""

WITH_BALANCER = ("load-balancer", "nlb-tls")
"""The exposures that make Kiali's Service a load balancer."""

_READER_PREFIX = "kiali-reader-"
NLB = "service.beta.kubernetes.io/aws-load-balancer"
ALB = "alb.ingress.kubernetes.io"
"""Both of the AWS Load Balancer Controller, see
https://kubernetes-sigs.github.io/aws-load-balancer-controller/latest/guide/service/annotations/.
"""


def operator_namespace(parameters: Parameters) -> Object:
    """The namespace of Kiali's operator."""
    return _MANIFESTS.named("namespace-kiali-operator", parameters.kiali.operator_namespace)


def kiali(parameters: Parameters) -> Object:
    """The Kiali resource: all that the operator has to do, exposure and `kiali.spec` included."""
    manifest = _own(parameters)
    return {**manifest, "spec": merged(manifest["spec"], parameters.kiali.spec)}


def check_spec(parameters: Parameters) -> None:
    """Refuse a key of `kiali.spec` that the runbook sets itself, to something else.

    Raises:
        ParameterError: There is one; the error names all.
    """
    set_twice = list(_contradicted(_own(parameters)["spec"], parameters.kiali.spec))
    if set_twice:
        raise ParameterError(
            f"kiali.spec: the runbook sets {', '.join(set_twice)} itself, and to something else",
            "remove it there; the other parameters under kiali decide about it",
        )


def _contradicted(own: Object, given: Object, above: str = "") -> Iterator[str]:
    for key in sorted(own.keys() & given.keys()):
        path = f"{above}.{key}" if above else key
        if isinstance(own[key], dict) and isinstance(given[key], dict):
            yield from _contradicted(own[key], given[key], path)
        elif own[key] != given[key]:
            yield path


def _own(parameters: Parameters) -> Object:
    """What the runbook says of Kiali by itself."""
    desired, istio = parameters.kiali, parameters.istio.namespace
    manifest = _MANIFESTS.named("kiali", desired.name, istio)
    spec = manifest["spec"]
    deployment = spec["deployment"]
    deployment["instance_name"] = desired.name
    deployment["namespace"] = istio
    deployment["view_only_mode"] = desired.view_only
    if desired.hub is not None:
        image = {"image_name": f"{desired.hub}/kiali", "image_version": "operator_version"}
        deployment.update(image)
    spec["server"]["web_root"] = desired.web_root
    services = spec["external_services"]
    services["prometheus"]["url"] = desired.prometheus_url or f"http://prometheus.{istio}:9090"
    services["tracing"]["internal_url"] = desired.tracing_url or f"http://tracing.{istio}:80/jaeger"
    if desired.exposure in WITH_BALANCER:
        asked = deployment["additional_service_yaml"]
        asked["loadBalancerSourceRanges"] = list(desired.source_ranges)
        if desired.load_balancer_class is not None:
            asked["loadBalancerClass"] = desired.load_balancer_class
    else:
        deployment["service_type"] = "ClusterIP"
        del deployment["additional_service_yaml"]  # only a load balancer may have source ranges
    if desired.exposure in _ADDED:
        manifest["spec"] = merged(spec, _ADDED[desired.exposure](parameters)["spec"])
    return manifest


def telemetry(parameters: Parameters) -> Object:
    """What share of the application's requests its sidecars report, and to which provider."""
    manifest = _MANIFESTS.named("telemetry", "tracing", parameters.application.namespace)
    (tracing,) = manifest["spec"]["tracing"]
    tracing["randomSamplingPercentage"] = parameters.kiali.tracing_sampling
    return manifest


def kiali_nlb_tls(parameters: Parameters) -> Object:
    """What a network load balancer with TLS adds to the Kiali resource."""
    desired = parameters.kiali
    manifest = _MANIFESTS.named("kiali-nlb-tls", desired.name, parameters.istio.namespace)
    annotations = manifest["spec"]["deployment"]["service_annotations"]
    annotations[f"{NLB}-ssl-cert"] = desired.certificate_arn
    annotations[f"{NLB}-ssl-ports"] = str(KIALI_PORT)
    annotations[f"{NLB}-ssl-negotiation-policy"] = desired.tls_policy
    manifest["spec"]["server"].update(web_fqdn=desired.host, web_port=str(KIALI_PORT))
    return manifest


def kiali_alb_ingress(parameters: Parameters) -> Object:
    """What an application load balancer with TLS adds to the Kiali resource."""
    desired = parameters.kiali
    manifest = _with_ingress("kiali-alb-ingress", parameters)
    ingress = manifest["spec"]["deployment"]["ingress"]
    annotations = ingress["override_yaml"]["metadata"]["annotations"]
    annotations[f"{ALB}/certificate-arn"] = desired.certificate_arn
    annotations[f"{ALB}/ssl-policy"] = desired.tls_policy
    annotations[f"{ALB}/healthcheck-path"] = f"{desired.web_root}/healthz"
    if desired.source_ranges:
        annotations[f"{ALB}/inbound-cidrs"] = ", ".join(desired.source_ranges)
    return manifest


def kiali_ingress(parameters: Parameters) -> Object:
    """What an Ingress of any class adds to the Kiali resource."""
    desired = parameters.kiali
    manifest = _with_ingress("kiali-ingress", parameters)
    (tls,) = manifest["spec"]["deployment"]["ingress"]["override_yaml"]["spec"]["tls"]
    tls["hosts"] = [desired.host]
    del tls["secretName"]
    if desired.tls_secret is not None:
        tls["secretName"] = desired.tls_secret
    return manifest


def ingress_class(parameters: Parameters) -> str | None:
    """The class of Kiali's Ingress; None for an exposure without one."""
    desired = parameters.kiali
    return desired.ingress_class or ("alb" if desired.exposure == "alb-ingress" else None)


def _with_ingress(name: str, parameters: Parameters) -> Object:
    desired = parameters.kiali
    manifest = _MANIFESTS.named(name, desired.name, parameters.istio.namespace)
    ingress = manifest["spec"]["deployment"]["ingress"]
    spec = ingress["override_yaml"]["spec"]
    ingress["class_name"] = spec["ingressClassName"] = ingress_class(parameters)
    (rule,) = spec["rules"]
    rule["host"] = desired.host
    (path,) = rule["http"]["paths"]
    path["path"] = desired.web_root
    path["backend"]["service"] = {"name": desired.name, "port": {"number": KIALI_PORT}}
    manifest["spec"]["server"]["web_fqdn"] = desired.host
    return manifest


def kiali_reader_role() -> Object:
    """What people who may look at the mesh through Kiali may read."""
    return _MANIFESTS.load("kiali-reader-role")


def kiali_reader_account(parameters: Parameters, reader: str) -> Object:
    """The account of one person."""
    name = f"{_READER_PREFIX}{reader}"
    manifest = _MANIFESTS.named("kiali-reader-account", name, parameters.istio.namespace)
    manifest["metadata"]["labels"] = {READER_LABEL: reader}
    return manifest


def kiali_reader_binding(parameters: Parameters, reader: str) -> Object:
    """What lets that account read."""
    name, namespace = f"{_READER_PREFIX}{reader}", parameters.istio.namespace
    # Bindings of all meshes of a cluster share their names.
    own = name if namespace == "istio-system" else f"{name}-{namespace}"
    manifest = _MANIFESTS.named("kiali-reader-binding", own)
    manifest["metadata"]["labels"] = {READER_LABEL: reader}
    (subject,) = manifest["subjects"]
    subject.update(name=name, namespace=namespace)
    return manifest


_ADDED = {"nlb-tls": kiali_nlb_tls, "alb-ingress": kiali_alb_ingress, "ingress": kiali_ingress}
