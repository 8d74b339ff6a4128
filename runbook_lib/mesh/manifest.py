"""The objects that the runbook applies: plain YAML files, with fields set from the parameters.

Fields are set on the loaded data. No value is ever pasted into YAML text, so none can change what
the rest of a manifest means.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

from runbook_lib.cluster import DRY_RUN_ANNOTATION, INJECTION_LABEL, REVISION_LABEL, Object
from runbook_lib.parameters import Parameters

_FOLDER = Path(__file__).parent / "manifests"

KIALI_PORT = 20001
"""Kiali's port, in the pod and of the Service."""

READER_LABEL = "istio-runbook/kiali-reader"
"""Marks the accounts of those who may look, so that one that is no longer wanted is found."""

ADDON = {"istio-runbook/addon": "true"}
"""The label of every object of an add-on, so that all of them are found without its manifest."""

_READER_PREFIX = "kiali-reader-"
NLB = "service.beta.kubernetes.io/aws-load-balancer"
ALB = "alb.ingress.kubernetes.io"
"""Both of the AWS Load Balancer Controller, see
https://kubernetes-sigs.github.io/aws-load-balancer-controller/latest/guide/service/annotations/.
"""


def names() -> list[str]:
    """Return the manifests there are."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def load(name: str) -> Object:
    """Return a manifest as it stands in its file."""
    manifest: Object = yaml.safe_load((_FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    return manifest


def istio_namespace(parameters: Parameters) -> Object:
    """The namespace of istiod."""
    return _named("namespace-istio-system", parameters.istio.namespace)


def istiod_name(parameters: Parameters) -> str:
    """The name of istiod's Deployment and Service, as its chart gives it: with the revision."""
    revision = parameters.istio.revision
    return "istiod" if revision == "default" else f"istiod-{revision}"


def injection_label(parameters: Parameters) -> Object:
    """The application's namespace with the label that asks for sidecars, and nothing else."""
    manifest = _named("namespace-injection", parameters.application.namespace)
    key, value = injection_label_of(parameters)
    manifest["metadata"]["labels"] = {key: value}
    return manifest


def injection_label_of(parameters: Parameters) -> tuple[str, str]:
    """Return the label, key and value: a revision other than the default has its own."""
    revision = parameters.istio.revision
    return (INJECTION_LABEL, "enabled") if revision == "default" else (REVISION_LABEL, revision)


def strict_mutual_tls(parameters: Parameters) -> Object:
    """STRICT mutual TLS for the whole mesh."""
    return _named(
        "peer-authentication-strict", parameters.mutual_tls.policy, parameters.istio.namespace
    )


def permissive_mutual_tls(parameters: Parameters) -> Object:
    """The mesh-wide policy on its way out: mutual TLS where it can be had, plaintext elsewhere."""
    manifest = strict_mutual_tls(parameters)
    manifest["spec"]["mtls"]["mode"] = "PERMISSIVE"
    return manifest


def mutual_tls_exception(parameters: Parameters) -> Object:
    """The web pods' ports for callers outside of the mesh, without mutual TLS; the rest STRICT."""
    application = parameters.application
    manifest = _named(
        "peer-authentication-exception", parameters.mutual_tls.exception, application.namespace
    )
    manifest["spec"]["selector"]["matchLabels"] = dict(application.web.labels)
    # JSON, and so the API, knows only text as keys.
    (mode,) = manifest["spec"]["portLevelMtls"].values()
    ports = (application.web.port, *application.plaintext_ports)
    manifest["spec"]["portLevelMtls"] = {str(port): mode for port in ports}
    return manifest


def destination_rule(parameters: Parameters, service_ports: Sequence[int]) -> Object:
    """How sidecars call the web Service.

    Args:
        parameters: The run's parameters.
        service_ports: The Service's ports that lead to container ports without mutual TLS.
    """
    application = parameters.application
    manifest = _named(
        "destination-rule", parameters.authorization.destination_rule, application.namespace
    )
    spec = manifest["spec"]
    spec["host"] = f"{application.web.service}.{application.namespace}.svc.cluster.local"
    (setting,) = spec["trafficPolicy"]["portLevelSettings"]
    spec["trafficPolicy"]["portLevelSettings"] = [
        {**setting, "port": {"number": port}} for port in service_ports
    ]
    return manifest


def authorization_policy(
    parameters: Parameters, methods: Sequence[str], *, dry_run: bool = False
) -> Object:
    """The policy that lets only `methods` reach the web container.

    Ports that other callers use have a rule of their own: one about methods matches nothing there.
    """
    application = parameters.application
    manifest = _named(
        "authorization-policy", parameters.authorization.policy, application.namespace
    )
    if dry_run:
        manifest["metadata"]["annotations"] = {DRY_RUN_ANNOTATION: "true"}
    manifest["spec"]["selector"]["matchLabels"] = dict(application.web.labels)
    (rule,) = manifest["spec"]["rules"]
    (to,) = rule["to"]
    to["operation"]["methods"] = list(methods)
    if application.plaintext_ports:
        ports = [str(port) for port in application.plaintext_ports]
        manifest["spec"]["rules"].append({"to": [{"operation": {"ports": ports}}]})
    return manifest


def operator_namespace(parameters: Parameters) -> Object:
    """The namespace of Kiali's operator."""
    return _named("namespace-kiali-operator", parameters.kiali.operator_namespace)


def kiali(parameters: Parameters) -> Object:
    """The Kiali resource: all that the operator shall do, exposure included."""
    wanted, istio = parameters.kiali, parameters.istio.namespace
    manifest = _named("kiali", wanted.name, istio)
    spec = manifest["spec"]
    spec["deployment"]["instance_name"] = wanted.name
    spec["deployment"]["view_only_mode"] = wanted.view_only
    spec["server"]["web_root"] = wanted.web_root
    services = spec["external_services"]
    services["prometheus"]["url"] = wanted.prometheus_url or f"http://prometheus.{istio}:9090"
    services["tracing"]["internal_url"] = wanted.tracing_url or f"http://tracing.{istio}:80/jaeger"
    if wanted.exposure == "cluster":
        spec["deployment"]["service_type"] = "ClusterIP"
    elif wanted.exposure in _EXPOSURES:
        manifest["spec"] = _merged(spec, _EXPOSURES[wanted.exposure](parameters)["spec"])
    return manifest


def kiali_nlb_tls(parameters: Parameters) -> Object:
    """What a network load balancer with TLS adds to the Kiali resource."""
    wanted = parameters.kiali
    manifest = _named("kiali-nlb-tls", wanted.name, parameters.istio.namespace)
    annotations = manifest["spec"]["deployment"]["service_annotations"]
    annotations[f"{NLB}-ssl-cert"] = wanted.certificate_arn
    annotations[f"{NLB}-ssl-ports"] = str(KIALI_PORT)
    manifest["spec"]["server"].update(web_fqdn=wanted.host, web_port=str(KIALI_PORT))
    return manifest


def kiali_alb_ingress(parameters: Parameters) -> Object:
    """What an application load balancer with TLS adds to the Kiali resource."""
    wanted = parameters.kiali
    manifest = _named("kiali-alb-ingress", wanted.name, parameters.istio.namespace)
    override = manifest["spec"]["deployment"]["ingress"]["override_yaml"]
    override["metadata"]["annotations"].update(
        {
            f"{ALB}/certificate-arn": wanted.certificate_arn,
            f"{ALB}/healthcheck-path": f"{wanted.web_root}/healthz",
        }
    )
    (rule,) = override["spec"]["rules"]
    rule["host"] = wanted.host
    (path,) = rule["http"]["paths"]
    path["path"] = wanted.web_root
    path["backend"]["service"] = {"name": wanted.name, "port": {"number": KIALI_PORT}}
    manifest["spec"]["server"]["web_fqdn"] = wanted.host
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
    return load("kiali-reader-role")


def kiali_reader_account(parameters: Parameters, reader: str) -> Object:
    """The account of one person."""
    name = f"{_READER_PREFIX}{reader}"
    manifest = _named("kiali-reader-account", name, parameters.istio.namespace)
    manifest["metadata"]["labels"] = {READER_LABEL: reader}
    return manifest


def kiali_reader_binding(parameters: Parameters, reader: str) -> Object:
    """What lets that account read."""
    name, namespace = f"{_READER_PREFIX}{reader}", parameters.istio.namespace
    # Bindings of all meshes of a cluster share their names.
    own = name if namespace == "istio-system" else f"{name}-{namespace}"
    manifest = _named("kiali-reader-binding", own)
    manifest["metadata"]["labels"] = {READER_LABEL: reader}
    (subject,) = manifest["subjects"]
    subject.update(name=name, namespace=namespace)
    return manifest


_EXPOSURES = {"nlb-tls": kiali_nlb_tls, "alb-ingress": kiali_alb_ingress}


def _merged(base: Object, more: Object) -> Object:
    """Return `base` with what `more` adds or replaces, mapping by mapping."""
    result = dict(base)
    for key, value in more.items():
        inside = isinstance(value, dict) and isinstance(base.get(key), dict)
        result[key] = _merged(base[key], value) if inside else value
    return result


def without_fields(item: Object) -> Object:
    """Name an object and nothing else: applying it gives up every field applied before.

    Server-side apply removes fields that nobody else manages, see
    https://kubernetes.io/docs/reference/using-api/server-side-apply/#clearing-managedfields.
    """
    metadata = item["metadata"]
    names = {key: metadata[key] for key in ("name", "namespace") if key in metadata}
    return {"apiVersion": item["apiVersion"], "kind": item["kind"], "metadata": names}


def _named(manifest: str, name: str, namespace: str | None = None) -> Object:
    loaded = load(manifest)
    loaded["metadata"]["name"] = name
    if namespace is not None:
        loaded["metadata"]["namespace"] = namespace
    return loaded
