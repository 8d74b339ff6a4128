"""The objects that the runbook applies: plain YAML files, with fields set from the parameters.

Fields are set on the loaded data. No value is ever pasted into YAML text, so none can change what
the rest of a manifest means.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

from runbook_lib.cluster import Object
from runbook_lib.parameters import Parameters

_FOLDER = Path(__file__).parent / "manifests"

DRY_RUN_ANNOTATION = "istio.io/dry-run"
"""Makes an AuthorizationPolicy log its decisions without enforcing them; see
https://istio.io/latest/docs/tasks/security/authorization/authz-dry-run/.
"""

INJECTION_LABEL = "istio-injection"
REVISION_LABEL = "istio.io/rev"
"""Two ways to ask for sidecars; a namespace must carry only one (istioctl analyze: IST0123)."""


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


def mutual_tls_exception(parameters: Parameters) -> Object:
    """The web container's port without mutual TLS; everything else STRICT."""
    application = parameters.application
    manifest = _named(
        "peer-authentication-exception", parameters.mutual_tls.exception, application.namespace
    )
    manifest["spec"]["selector"]["matchLabels"] = dict(application.web.labels)
    # JSON, and so the API, knows only text as keys.
    (mode,) = manifest["spec"]["portLevelMtls"].values()
    manifest["spec"]["portLevelMtls"] = {str(application.web.port): mode}
    return manifest


def destination_rule(parameters: Parameters, service_ports: Sequence[int]) -> Object:
    """How sidecars call the web Service.

    Args:
        parameters: The run's parameters.
        service_ports: The Service's ports that lead to the web container's port.
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
    """The policy that lets only `methods` reach the web container."""
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
    return manifest


def _named(manifest: str, name: str, namespace: str | None = None) -> Object:
    loaded = load(manifest)
    loaded["metadata"]["name"] = name
    if namespace is not None:
        loaded["metadata"]["namespace"] = namespace
    return loaded
