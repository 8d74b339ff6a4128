"""What the Kiali operator makes of a Kiali resource: configuration and objects. No I/O here.

The shapes come from Istio's sample add-on (samples/addons/kiali.yaml, a rendered chart of the
Kiali server), which is read when the stand-in starts. What differs between that chart and the
operator follows the operator's role, kiali-operator roles/default/kiali-deploy: its defaults, its
checks with their messages, and which field of the resource lands where.
"""

from __future__ import annotations

import copy
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from runbook_lib.lab.foundation.errors import LabError

Object = dict[str, Any]

SIGNING_KEY = "kiali-signing-key"
OVERRIDE_SECRETS = "/kiali-override-secrets"
STRATEGIES = ("token", "openid", "anonymous", "header")

# Fields of spec.deployment that have an effect here. Others are refused instead of ignored.
_DEPLOYMENT_FIELDS = frozenset(
    {
        "additional_service_yaml",
        "cluster_wide_access",
        "configmap_annotations",
        "custom_envs",
        "extra_labels",
        "image_name",
        "image_pull_policy",
        "image_version",
        "ingress",
        "instance_name",
        "logger",
        "namespace",
        "network_policy",
        "node_selector",
        "pod_annotations",
        "pod_labels",
        "probes",
        "replicas",
        "resources",
        "secret_name",
        "service_annotations",
        "service_type",
        "tolerations",
        "version_label",
        "view_only_mode",
    }
)
_READING = ("get", "list", "watch")


class SpecRejected(LabError):
    """The Kiali resource asks for something that the operator does not do."""


@dataclass(frozen=True)
class Operator:
    """What the operator was told by its own Deployment.

    Attributes:
        version: Also the version of the Kiali image that it deploys, such as `v1.89.0`.
        any_namespace: Whether Kiali may be deployed elsewhere than its resource is.
        any_image: Whether a Kiali resource may name an image.
    """

    version: str
    any_namespace: bool = True
    any_image: bool = False


@dataclass(frozen=True)
class Sample:
    """The objects of Istio's sample add-on, by kind."""

    objects: dict[str, Object]

    @classmethod
    def read(cls, path: Path) -> Sample:
        """Read samples/addons/kiali.yaml."""
        documents = [each for each in yaml.safe_load_all(path.read_text()) if each]
        return cls({each["kind"]: each for each in documents})

    def copy_of(self, kind: str) -> Object:
        """An object of the sample, to be changed."""
        return copy.deepcopy(self.objects[kind])

    @property
    def image(self) -> str:
        """The name of Kiali's image, without a tag."""
        return str(self._config()["deployment"]["image_name"])

    def _config(self) -> Object:
        config: Object = yaml.safe_load(self.objects["ConfigMap"]["data"]["config.yaml"])
        return config

    def defaults(self) -> Object:
        """The configuration of a Kiali resource with an empty spec, before it is settled."""
        config = self._config()
        deployment = config["deployment"]
        # What only the server's chart has, or what it sets and the operator leaves open.
        config.pop("skipResources", None)
        for field in ("ingress_enabled", "service_type", "additional_service_yaml"):
            deployment.pop(field, None)
        deployment["ingress"].pop("override_yaml", None)
        deployment["pod_labels"] = {}
        return merge(
            config,
            {
                "version": "default",
                "auth": {"strategy": ""},
                "deployment": {
                    "image_name": "",
                    "image_version": "",
                    "ingress": {"enabled": False},
                    "namespace": "",
                    "network_policy": {"enabled": True},
                    "version_label": "",
                },
                "external_services": {
                    "prometheus": {"url": ""},
                    "tracing": {"internal_url": "", "use_grpc": True},
                },
                "login_token": {"signing_key": ""},
                "server": {"web_fqdn": "", "web_port": "", "web_root": "", "web_schema": ""},
            },
        )


def merge(base: Object, over: Object) -> Object:
    """`base` with the values of `over`: mappings are merged, lists replaced, nulls left out."""
    result = dict(base)
    for key, value in over.items():
        if isinstance(value, dict):
            old = result.get(key)
            result[key] = merge(old if isinstance(old, dict) else {}, value)
        elif value is not None:
            result[key] = value
    return result


def check_version(spec: Object) -> None:
    """Refuse a `spec.version` other than `default`.

    Raises:
        SpecRejected: in the operator's words.
    """
    version = spec.get("version") or "default"
    if version != "default":
        raise SpecRejected(
            f"Asked to install a version [{version}] that does not have a known supported image."
        )


def configure(resource: Object, sample: Sample, operator: Operator) -> Object:
    """The resource's spec over the defaults; name and namespace of the deployment are checked.

    Raises:
        SpecRejected: they differ from those of an earlier reconciliation, are not allowed, or the
            spec has a field that the stand-in does not have.
    """
    spec, home = resource.get("spec") or {}, resource["metadata"]["namespace"]
    defaults = sample.defaults()
    _refuse_unknown(spec, defaults)
    config = merge(defaults, spec)
    deployment = config["deployment"]
    deployment["namespace"] = deployment["namespace"] or home
    before = (resource.get("status") or {}).get("deployment") or {}
    for field, key in (("instance_name", "instanceName"), ("namespace", "namespace")):
        if before.get(key, deployment[field]) != deployment[field]:
            raise SpecRejected(
                f"The deployment.{field} cannot be changed to a different value. It was "
                f"[{before[key]}] but is now [{deployment[field]}]. In order to install Kiali with "
                f"a different deployment.{field}, please uninstall Kiali first."
            )
    if deployment["namespace"] != home and not operator.any_namespace:
        raise SpecRejected(
            "The operator is forbidden from installing Kiali in a namespace "
            f"[{deployment['namespace']}] that is different from the namespace where the CR was "
            f"created [{home}]"
        )
    name = deployment["instance_name"]
    if not re.fullmatch(r"(?!\d+$)[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?", name):
        raise SpecRejected(
            f"The value for deployment.instance_name [{name}] does not follow the DNS label "
            "standard as defined in RFC 1123. In short, it must only contain lowercase "
            "alphanumeric characters or '-'."
        )
    return config


def _refuse_unknown(spec: Object, defaults: Object) -> None:
    asked = {key: value for key, value in (spec.get("deployment") or {}).items() if value}
    unknown = sorted(
        key
        for key, value in asked.items()
        if key not in _DEPLOYMENT_FIELDS and value != defaults["deployment"].get(key)
    )
    if unknown:
        raise SpecRejected(f"The lab's stand-in does not have spec.deployment.{unknown[0]}")
    if merge(defaults, spec)["deployment"]["cluster_wide_access"] is not True:
        raise SpecRejected("The lab's stand-in has cluster-wide access only")


def settle(config: Object, sample: Sample, operator: Operator) -> Object:
    """Fill in what depends on other values.

    Raises:
        SpecRejected: a value is not one of those that the operator takes.
    """
    config = copy.deepcopy(config)
    deployment, server, auth = config["deployment"], config["server"], config["auth"]
    namespace = deployment["namespace"]
    if server["web_schema"] not in ("", "http", "https"):
        raise SpecRejected(
            f"Invalid server.web_schema [{server['web_schema']}]! Must be empty, or one of either "
            "'http' or 'https'"
        )
    if (deployment["image_name"] or deployment["image_version"]) and not operator.any_image:
        raise SpecRejected(
            "The operator is forbidden from accepting a Kiali CR that defines an ad hoc Kiali "
            f"image [{deployment['image_name']}:{deployment['image_version']}]. Remove "
            "spec.deployment.image_name, spec.deployment.image_version, and "
            "spec.deployment.image_digest from the Kiali CR."
        )
    services = config["external_services"]
    services["prometheus"]["url"] = (
        services["prometheus"]["url"] or f"http://prometheus.{namespace}:9090"
    )
    port = ":16685" if services["tracing"]["use_grpc"] else ""
    services["tracing"]["internal_url"] = (
        services["tracing"]["internal_url"] or f"http://tracing.{namespace}{port}/jaeger"
    )
    root = server["web_root"] or "/kiali"
    server["web_root"] = root if root == "/" else root.removesuffix("/")
    deployment["image_name"] = deployment["image_name"] or sample.image
    deployment["image_version"] = deployment["image_version"] or operator.version
    label = deployment["version_label"] or deployment["image_version"]
    deployment["version_label"] = label if len(label) <= 63 else f"{label[:60]}XXX"
    auth["strategy"] = auth["strategy"] or "token"
    if auth["strategy"] not in STRATEGIES:
        raise SpecRejected(
            f"Invalid auth.strategy [{auth['strategy']}]! Must be one of either 'token', 'openid', "
            "'anonymous', or 'header'"
        )
    key = config["login_token"]["signing_key"]
    named = re.fullmatch("secret:.+:.+", key)
    if auth["strategy"] != "anonymous" and key and not named and len(key) not in (16, 24, 32):
        raise SpecRejected("Signing key must be 16, 24 or 32 byte length")
    return config


def needs_signing_key(config: Object) -> bool:
    """Whether the operator has to keep a Secret with a random signing key."""
    return config["login_token"]["signing_key"] in ("", f"secret:{SIGNING_KEY}:key")


def role_names(config: Object) -> tuple[str, str]:
    """The name of Kiali's ClusterRole, and of the one that it must not have.

    Kiali itself only reads, unless people use it without logging in: everybody else acts with the
    rights of their own account.
    """
    name = config["deployment"]["instance_name"]
    reads = config["deployment"]["view_only_mode"] or config["auth"]["strategy"] != "anonymous"
    return (f"{name}-viewer", name) if reads else (name, f"{name}-viewer")


def home_label(config: Object) -> dict[str, str]:
    """The label that says that this Kiali uses an object which others may share."""
    deployment = config["deployment"]
    return {f"kiali.io/{deployment['instance_name']}.home": deployment["namespace"]}


def labels(config: Object) -> dict[str, str]:
    """The labels of everything that the operator makes."""
    deployment = config["deployment"]
    extra: dict[str, str] = deployment["extra_labels"]
    return extra | {
        "app": "kiali",
        "version": deployment["version_label"],
        "app.kubernetes.io/name": "kiali",
        "app.kubernetes.io/version": deployment["version_label"],
        "app.kubernetes.io/instance": deployment["instance_name"],
        "app.kubernetes.io/part-of": "kiali",
    }


def objects(config: Object, sample: Sample) -> list[Object]:
    """All objects of a settled configuration but the signing key's Secret, in creation order."""
    config = copy.deepcopy(config)
    if needs_signing_key(config):
        config["login_token"]["signing_key"] = f"secret:{SIGNING_KEY}:key"
    made = [
        _service_account(config, sample),
        _config_map(config, sample),
        _role(config, sample),
        _binding(config, sample),
        _deployment(config, sample),
        _service(config, sample),
    ]
    if config["deployment"]["ingress"]["enabled"]:
        made.append(_ingress(config))
    if config["deployment"]["network_policy"]["enabled"]:
        made.append(_network_policy(config))
    return made


def _named(config: Object, base: Object, name: str = "") -> Object:
    """`base` with the metadata that the operator gives to everything."""
    deployment = config["deployment"]
    metadata: Object = {"name": name or deployment["instance_name"], "labels": labels(config)}
    if not base["kind"].startswith("Cluster"):
        metadata["namespace"] = deployment["namespace"]
    return base | {"metadata": metadata}


def _account(config: Object) -> str:
    return f"{config['deployment']['instance_name']}-service-account"


def _selector(config: Object) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": "kiali",
        "app.kubernetes.io/instance": config["deployment"]["instance_name"],
    }


def _metrics_port(config: Object) -> int | None:
    metrics = config["server"]["observability"]["metrics"]
    return int(metrics["port"]) if metrics["enabled"] else None


def _encrypted(config: Object) -> bool:
    return bool(config["identity"]["cert_file"])


def _service_account(config: Object, sample: Sample) -> Object:
    return _named(config, sample.copy_of("ServiceAccount"), _account(config))


def _config_map(config: Object, sample: Sample) -> Object:
    result = _named(config, sample.copy_of("ConfigMap"))
    result["data"] = {"config.yaml": yaml.safe_dump(config, sort_keys=True)}
    if config["deployment"]["configmap_annotations"]:
        result["metadata"]["annotations"] = config["deployment"]["configmap_annotations"]
    return result


def _role(config: Object, sample: Sample) -> Object:
    name, _ = role_names(config)
    result = _named(config, sample.copy_of("ClusterRole"), name)
    rules = [
        rule
        for rule in result["rules"]
        if not any(group.endswith(".openshift.io") for group in rule["apiGroups"])
    ]
    if name.endswith("-viewer"):
        for rule in rules:
            # Where nothing can be read, creating is how it asks: port forwarding, token reviews.
            rule["verbs"] = [each for each in rule["verbs"] if each in _READING] or rule["verbs"]
    return result | {"rules": rules}


def _binding(config: Object, sample: Sample) -> Object:
    result = _named(config, sample.copy_of("ClusterRoleBinding"))
    result["roleRef"]["name"] = role_names(config)[0]
    [subject] = result["subjects"]
    subject |= {"name": _account(config), "namespace": config["deployment"]["namespace"]}
    return result


def _deployment(config: Object, sample: Sample) -> Object:
    settings = config["deployment"]
    result = _named(config, sample.copy_of("Deployment"))
    spec = result["spec"]
    spec["replicas"] = settings["replicas"]
    spec["selector"] = {"matchLabels": _selector(config)}
    metrics = _metrics_port(config)
    annotations = {
        "prometheus.io/scrape": "true" if metrics else "false",
        "kiali.io/dashboards": "go,kiali",
        # A changed configuration changes the pod, which reads it at its start only.
        "checksum/config": hashlib.sha256(yaml.safe_dump(config).encode()).hexdigest(),
    }
    if metrics:
        scheme = "https" if _encrypted(config) else "http"
        annotations |= {"prometheus.io/port": str(metrics), "prometheus.io/scheme": scheme}
    spec["template"]["metadata"] = {
        "labels": labels(config) | settings["pod_labels"],
        "annotations": annotations | settings["pod_annotations"],
    }
    pod = spec["template"]["spec"]
    pod["serviceAccountName"] = _account(config)
    for field, value in (
        ("nodeSelector", settings["node_selector"]),
        ("tolerations", settings["tolerations"]),
    ):
        if value:
            pod[field] = value
    [container] = pod["containers"]
    _fill_container(container, config)
    pod["volumes"] = _volumes(pod["volumes"], config)
    if needs_signing_key(config):
        name = "login-token-signing-key"
        container["volumeMounts"].append(
            {"name": name, "mountPath": f"{OVERRIDE_SECRETS}/{name}", "readOnly": True}
        )
        secret = {"secretName": SIGNING_KEY, "items": [{"key": "key", "path": "value.txt"}]}
        pod["volumes"].append({"name": name, "secret": secret})
    return result


def _fill_container(container: Object, config: Object) -> None:
    settings, server = config["deployment"], config["server"]
    container["image"] = f"{settings['image_name']}:{settings['image_version']}"
    container["imagePullPolicy"] = settings["image_pull_policy"]
    container["resources"] = settings["resources"]
    metrics = _metrics_port(config)
    container["ports"] = [{"name": "api-port", "containerPort": server["port"]}]
    if metrics:
        container["ports"].append({"name": "http-metrics", "containerPort": metrics})
    for probe, values in settings["probes"].items():
        found = container[f"{probe}Probe"]
        found["httpGet"] = {
            "path": f"{server['web_root'].rstrip('/')}/healthz",
            "port": "api-port",
            "scheme": "HTTPS" if _encrypted(config) else "HTTP",
        }
        found["initialDelaySeconds"] = values["initial_delay_seconds"]
        found["periodSeconds"] = values["period_seconds"]
    logger = {
        "LOG_FORMAT": settings["logger"]["log_format"],
        "LOG_LEVEL": settings["logger"]["log_level"],
        "LOG_SAMPLER_RATE": settings["logger"]["sampler_rate"],
        "LOG_TIME_FIELD_FORMAT": settings["logger"]["time_field_format"],
    } | {each["name"]: each["value"] for each in settings["custom_envs"]}
    container["env"] = [
        each for each in container["env"] if "valueFrom" in each and each["name"] not in logger
    ] + [{"name": name, "value": str(value)} for name, value in logger.items()]
    # The certificate of the server's chart: the operator mounts none outside OpenShift.
    container["volumeMounts"] = [
        each for each in container["volumeMounts"] if each["name"] != "kiali-cert"
    ]


def _volumes(sample: list[Object], config: Object) -> list[Object]:
    name = config["deployment"]["instance_name"]
    volumes = [each for each in sample if each["name"] != "kiali-cert"]
    for each in volumes:
        if each["name"] == "kiali-configuration":
            each["configMap"]["name"] = name
        elif each["name"] == "kiali-cabundle":
            each["configMap"]["name"] = f"{name}-cabundle"
        elif each["name"] == "kiali-secret":
            each["secret"]["secretName"] = config["deployment"]["secret_name"]
    return volumes


def _service(config: Object, sample: Sample) -> Object:
    settings, server = config["deployment"], config["server"]
    result = _named(config, sample.copy_of("Service"))
    name, protocol = ("tcp", "https") if _encrypted(config) else ("http", "http")
    ports = [{"name": name, "port": server["port"]}]
    if metrics := _metrics_port(config):
        ports.append({"name": f"{name}-metrics", "port": metrics})
    spec: Object = {
        "ports": [each | {"protocol": "TCP", "appProtocol": protocol} for each in ports],
        "selector": _selector(config),
    }
    if settings.get("service_type"):
        spec["type"] = settings["service_type"]
    # Each of its keys replaces that of the Service.
    result["spec"] = spec | settings.get("additional_service_yaml", {})
    annotations = dict(settings["service_annotations"])
    if server["web_fqdn"] and server["web_schema"]:
        port = f":{server['web_port']}" if server["web_port"] else ""
        url = f"{server['web_schema']}://{server['web_fqdn']}{port}{server['web_root']}"
        annotations = {"kiali.io/external-url": url} | annotations
    if annotations:
        result["metadata"]["annotations"] = annotations
    return result


def _ingress(config: Object) -> Object:
    settings, server = config["deployment"]["ingress"], config["server"]
    result = _named(config, {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress"})
    result["metadata"]["labels"] = settings["additional_labels"] | labels(config)
    override = settings.get("override_yaml", {})
    annotations = override.get("metadata", {}).get("annotations")
    if annotations is None:
        encrypted = _encrypted(config)
        annotations = {
            "nginx.ingress.kubernetes.io/secure-backends": "true" if encrypted else "false",
            "nginx.ingress.kubernetes.io/backend-protocol": "HTTPS" if encrypted else "HTTP",
        }
    result["metadata"]["annotations"] = annotations
    if "spec" in override:
        # In whole: class_name has no effect then.
        return result | {"spec": override["spec"]}
    service = {"name": config["deployment"]["instance_name"], "port": {"number": server["port"]}}
    path = {"path": server["web_root"], "pathType": "Prefix", "backend": {"service": service}}
    rule: Object = {"http": {"paths": [path]}}
    if server["web_fqdn"]:
        rule["host"] = server["web_fqdn"]
    spec: Object = {"rules": [rule]}
    if settings["class_name"]:
        spec["ingressClassName"] = settings["class_name"]
    return result | {"spec": spec}


def _network_policy(config: Object) -> Object:
    result = _named(config, {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"})
    ports = [config["server"]["port"], _metrics_port(config)]
    return result | {
        "spec": {
            "podSelector": {"matchLabels": _selector(config)},
            "policyTypes": ["Ingress"],
            "ingress": [{"ports": [{"protocol": "TCP", "port": each} for each in ports if each]}],
        }
    }
