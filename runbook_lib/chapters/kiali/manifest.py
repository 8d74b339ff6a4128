"""Kiali, its operator's namespace, and the accounts of those who may look."""

from __future__ import annotations

from runbook_lib.cluster import Manifests, Object, merged
from runbook_lib.parameters import Parameters

_MANIFESTS = Manifests(__file__)

KIALI_PORT = 20001
"""Kiali's port, in the pod and of the Service."""

READER_LABEL = "istio-runbook/kiali-reader"
"""Marks the accounts of those who may look, so that one that is no longer named is found."""

ADDON = {"istio-runbook/addon": "true"}
"""The label of every object of an add-on, so that all of them are found without its manifest."""

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
    """The Kiali resource: all that the operator has to do, exposure included."""
    desired, istio = parameters.kiali, parameters.istio.namespace
    manifest = _MANIFESTS.named("kiali", desired.name, istio)
    spec = manifest["spec"]
    spec["deployment"]["instance_name"] = desired.name
    spec["deployment"]["view_only_mode"] = desired.view_only
    if desired.hub is not None:
        image = {"image_name": f"{desired.hub}/kiali", "image_version": "operator_version"}
        spec["deployment"].update(image)
    spec["server"]["web_root"] = desired.web_root
    services = spec["external_services"]
    services["prometheus"]["url"] = desired.prometheus_url or f"http://prometheus.{istio}:9090"
    services["tracing"]["internal_url"] = desired.tracing_url or f"http://tracing.{istio}:80/jaeger"
    if desired.exposure == "cluster":
        spec["deployment"]["service_type"] = "ClusterIP"
    elif desired.exposure in _EXPOSURES:
        manifest["spec"] = merged(spec, _EXPOSURES[desired.exposure](parameters)["spec"])
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
    manifest["spec"]["server"].update(web_fqdn=desired.host, web_port=str(KIALI_PORT))
    return manifest


def kiali_alb_ingress(parameters: Parameters) -> Object:
    """What an application load balancer with TLS adds to the Kiali resource."""
    desired = parameters.kiali
    manifest = _MANIFESTS.named("kiali-alb-ingress", desired.name, parameters.istio.namespace)
    override = manifest["spec"]["deployment"]["ingress"]["override_yaml"]
    override["metadata"]["annotations"].update(
        {
            f"{ALB}/certificate-arn": desired.certificate_arn,
            f"{ALB}/healthcheck-path": f"{desired.web_root}/healthz",
        }
    )
    (rule,) = override["spec"]["rules"]
    rule["host"] = desired.host
    (path,) = rule["http"]["paths"]
    path["path"] = desired.web_root
    path["backend"]["service"] = {"name": desired.name, "port": {"number": KIALI_PORT}}
    manifest["spec"]["server"]["web_fqdn"] = desired.host
    return manifest


def kiali_service_settings(parameters: Parameters) -> dict[str, str]:
    """The annotations by which Kiali's Service asks for a load balancer."""
    found: dict[str, str] = kiali(parameters)["spec"]["deployment"].get("service_annotations", {})
    return found


def kiali_ingress_settings(parameters: Parameters) -> dict[str, str]:
    """The annotations by which Kiali's Ingress asks for a load balancer."""
    ingress = kiali(parameters)["spec"]["deployment"].get("ingress", {})
    found: dict[str, str] = (
        ingress.get("override_yaml", {}).get("metadata", {}).get("annotations", {})
    )
    return found


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


_EXPOSURES = {"nlb-tls": kiali_nlb_tls, "alb-ingress": kiali_alb_ingress}
