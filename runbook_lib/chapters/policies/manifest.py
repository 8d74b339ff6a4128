"""The policies of mutual TLS and of authorization."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from runbook_lib.cluster import DRY_RUN_ANNOTATION, Manifests, Object
from runbook_lib.parameters import Parameters, RuleParameters

_MANIFESTS = Manifests(__file__)


def strict_mutual_tls(parameters: Parameters) -> Object:
    """STRICT mutual TLS for the whole mesh."""
    return _MANIFESTS.named(
        "peer-authentication-strict", parameters.mutual_tls.policy, parameters.istio.namespace
    )


def permissive_mutual_tls(parameters: Parameters) -> Object:
    """The mesh-wide policy on its way out: mutual TLS where it can be had, plaintext elsewhere."""
    manifest = strict_mutual_tls(parameters)
    manifest["spec"]["mtls"]["mode"] = "PERMISSIVE"
    return manifest


def mutual_tls_exception(parameters: Parameters, labels: Mapping[str, str]) -> Object:
    """The web pods' ports for callers outside of the mesh take plaintext; the rest is STRICT.

    Args:
        parameters: The run's parameters.
        labels: What selects the web pods, and no others.
    """
    application = parameters.application
    manifest = _MANIFESTS.named(
        "peer-authentication-exception", parameters.mutual_tls.exception, application.namespace
    )
    manifest["spec"]["selector"]["matchLabels"] = dict(labels)
    # JSON, and so the API, knows only text as keys.
    mode = {"mode": parameters.mutual_tls.exception_mode}
    ports = (application.web.port, *application.plaintext_ports)
    manifest["spec"]["portLevelMtls"] = {str(port): mode for port in ports}
    return manifest


def mutual_tls(parameters: Parameters, labels: Mapping[str, str]) -> tuple[Object, Object]:
    """Both policies of mutual TLS, as they are in the end; arguments as for the exception."""
    return strict_mutual_tls(parameters), mutual_tls_exception(parameters, labels)


def destination_rule(parameters: Parameters, service_ports: Sequence[int]) -> Object:
    """How sidecars call the web Service: by mutual TLS, unless the server does without.

    Args:
        parameters: The run's parameters.
        service_ports: The Service's ports that lead to container ports of the exception.
    """
    application = parameters.application
    manifest = _MANIFESTS.named(
        "destination-rule", parameters.authorization.destination_rule, application.namespace
    )
    spec = manifest["spec"]
    spec["host"] = f"{application.web.service}.{application.namespace}.svc.cluster.local"
    (setting,) = spec["trafficPolicy"].pop("portLevelSettings")
    if parameters.mutual_tls.exception_mode == "DISABLE":
        spec["trafficPolicy"]["portLevelSettings"] = [
            {**setting, "port": {"number": port}} for port in service_ports
        ]
    return manifest


def authorization_policy(
    parameters: Parameters,
    labels: Mapping[str, str],
    methods: Sequence[str],
    rules: Sequence[RuleParameters] = (),
    *,
    dry_run: bool = False,
) -> Object:
    """The policy that lets only some methods reach the web container.

    Ports that other callers use have a rule of their own: one about methods matches nothing there.

    Args:
        parameters: The run's parameters.
        labels: What selects the web pods, and no others.
        methods: The HTTP methods that everybody may use.
        rules: What some sources may use as well.
        dry_run: Whether decisions are only logged.
    """
    application = parameters.application
    manifest = _MANIFESTS.named(
        "authorization-policy", parameters.authorization.policy, application.namespace
    )
    if dry_run:
        manifest["metadata"]["annotations"] = {DRY_RUN_ANNOTATION: "true"}
    manifest["spec"]["selector"]["matchLabels"] = dict(labels)
    (rule,) = manifest["spec"]["rules"]
    (to,) = rule["to"]
    to["operation"]["methods"] = list(methods)
    manifest["spec"]["rules"] += map(_rule, rules)
    if application.plaintext_ports:
        ports = [str(port) for port in application.plaintext_ports]
        manifest["spec"]["rules"].append({"to": [{"operation": {"ports": ports}}]})
    return manifest


def _rule(rule: RuleParameters) -> Object:
    """A rule for any of its sources: fields of one source would all have to match."""
    sources = {"namespaces": list(rule.namespaces), "principals": list(rule.principals)}
    return {
        "from": [{"source": {key: values}} for key, values in sources.items() if values],
        "to": [{"operation": {"methods": list(rule.methods)}}],
    }
