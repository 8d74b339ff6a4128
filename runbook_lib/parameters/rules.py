"""What well-formed parameters can still get wrong: combinations that cannot work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from runbook_lib.base import Location, yaml_source
from runbook_lib.parameters import kiali_rules, layers
from runbook_lib.parameters.capabilities import LAB_FILE
from runbook_lib.parameters.model import AuthorizationParameters, Parameters
from runbook_lib.parameters.problems import Contradiction

Leaf = tuple[tuple[str, ...], Any]
"""The keys to a value inside mappings, and the value."""

_VALUES: Location = ("istio", "istiod", "values")

_SYSTEM_NAMESPACES = ("kube-system", "kube-public", "kube-node-lease")


def contradictions(parameters: Parameters) -> Iterator[Contradiction]:
    """Yield every impossible combination."""
    yield from _target(parameters)
    yield from _application(parameters)
    yield from _istio(parameters)
    yield from _upgrade(parameters)
    yield from _authorization(parameters)
    yield from _autoscaling(parameters)
    yield from kiali_rules.contradictions(parameters)


def _target(parameters: Parameters) -> Iterator[Contradiction]:
    target = parameters.target
    if target.production and not target.allows.may_be_production:
        yield (
            ("target", "production"),
            f"a {target.kind} is never production",
            "remove it, or set target.kind: cluster",
        )
    elif target.production and parameters.story == "documented":
        yield (
            ("story",),
            "the documented story shows users a 502, and the target is production",
            "write story: safe, or target.production: false if no one depends on it",
        )


def _application(parameters: Parameters) -> Iterator[Contradiction]:
    application = parameters.application
    if application.namespace in _SYSTEM_NAMESPACES:
        yield (
            ("application", "namespace"),
            f"{application.namespace} belongs to Kubernetes",
            "name the application's namespace",
        )
    for index, port in enumerate(application.plaintext_ports):
        if port == application.web.port:
            yield (
                ("application", "plaintext_ports", index),
                f"{port} is application.web.port, which is open to the load balancer anyway",
                "remove it",
            )
        elif port in application.plaintext_ports[:index]:
            yield ("application", "plaintext_ports", index), f"{port} is there twice", "remove one"
    dicom = application.dicom
    if dicom is not None and dicom.port not in application.plaintext_ports:
        yield (
            ("application", "dicom", "port"),
            f"{dicom.port} is not among application.plaintext_ports, so devices would be cut off",
            "add it there, or leave dicom out",
        )
    web = f"{application.web.kind}/{application.web.name}"
    order = application.restart_order
    if web not in order:
        yield (
            ("application", "restart_order"),
            f"the web workload {web} is not in it, so it would never get a sidecar",
            "add it",
        )
    for key in ("restart_order", "restarted_by_owner"):
        named = getattr(application, key)
        for index, each in enumerate(named):
            if each in named[:index]:
                yield ("application", key, index), f"{each} is there twice", "remove one"
    seen: set[tuple[str, str]] = set()
    for index, probe in enumerate(application.probes):
        if (probe.method, probe.path) in seen:
            yield (
                ("application", "probes", index),
                f"{probe.method} {probe.path} is there twice",
                "remove one",
            )
        seen.add((probe.method, probe.path))
    if application.ca_file is not None and not application.verify_tls:
        yield (
            ("application", "ca_file"),
            "there is nothing to verify with verify_tls: false",
            "remove one of the two",
        )


def _istio(parameters: Parameters) -> Iterator[Contradiction]:
    istio = parameters.istio
    if istio.namespace == parameters.application.namespace:
        yield (
            ("istio", "namespace"),
            "is the application's namespace too",
            "use istio-system: a policy there holds for the whole mesh",
        )
    if istio.namespace in _SYSTEM_NAMESPACES:
        yield ("istio", "namespace"), f"{istio.namespace} belongs to Kubernetes", "use istio-system"
    if istio.base.release == istio.istiod.release:
        yield (
            ("istio", "istiod", "release"),
            "both charts have the same release name",
            "use istio-base and istiod",
        )
    given = layers.at(istio.istiod.values, ("global", "hub"))
    if istio.hub is not None and given not in (None, istio.hub):
        yield (
            (*_VALUES, "global", "hub"),
            f"it is {given}, and istio.hub is {istio.hub}",
            "remove one of the two",
        )
    yield from _proxy_values(parameters)


def _upgrade(parameters: Parameters) -> Iterator[Contradiction]:
    istio, upgrade = parameters.istio, parameters.upgrade
    if upgrade.to is None or upgrade.strategy == "in-place":
        return
    if upgrade.new_revision in (istio.revision, upgrade.tag, "default"):
        yield (
            ("upgrade", "revision"),
            f"{upgrade.new_revision} is taken, and the two control planes need names of their own",
            "name the new one by its version, such as 1-32-0",
        )
    if upgrade.tag == "default":
        yield (
            ("upgrade", "tag"),
            "the tag default answers to istio-injection, and so does the istiod that is there",
            "choose another, such as stable",
        )


def _proxy_values(parameters: Parameters) -> Iterator[Contradiction]:
    """The values that upstream Envoy needs must be there with it, and nowhere else."""
    for keys, value in _upstream_values():
        given = layers.at(parameters.istio.istiod.values, keys)
        if parameters.target.allows.has_istios_proxy:
            if keys[0] == "pilot" and given is not None:
                yield (
                    (*_VALUES, *keys),
                    "is for the lab only: it switches off a part of Istio's own proxy",
                    "remove it",
                )
        elif given != value:
            yield (
                (*_VALUES, *keys),
                f"must be {value!r}: the lab's proxy lacks what it turns on",
                "remove it: parameters/lab.yaml sets it",
            )


@cache
def _upstream_values() -> tuple[Leaf, ...]:
    """What the lab tells istiod about a proxy that lacks Istio's own filters."""
    return tuple(_leaves(layers.at(yaml_source.read(LAB_FILE).data, _VALUES)))


def _leaves(values: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[Leaf]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*above, key))
        else:
            yield (*above, key), value


def _authorization(parameters: Parameters) -> Iterator[Contradiction]:
    authorization = parameters.authorization
    for key in ("read_methods", "methods"):
        methods = getattr(authorization, key)
        for index, method in enumerate(methods):
            if method in methods[:index]:
                yield ("authorization", key, index), f"{method} is there twice", "remove one"
    missing = [m for m in authorization.read_methods if m not in authorization.methods]
    if missing:
        yield (
            ("authorization", "methods"),
            f"lacks {', '.join(missing)} of read_methods",
            "the final policy must allow at least what the first one allows: add it",
        )
    if authorization.denied_method in authorization.methods:
        yield (
            ("authorization", "denied_method"),
            f"{authorization.denied_method} is among the allowed methods",
            "choose a method that stays forbidden: its 403 is the proof that the policy works",
        )
    yield from _sources(parameters)
    yield from _refused(authorization)
    probed = {probe.method for probe in parameters.application.probes}
    if not probed:  # then it is their lack that is said
        return
    by_source = (method for rule in authorization.rules for method in rule.methods)
    for method in dict.fromkeys((*authorization.methods, authorization.denied_method, *by_source)):
        if method not in probed:
            yield (
                ("application", "probes"),
                f"no probe for {method}, so whether it is allowed cannot be proved",
                f"add one, such as {{method: {method}, path: /, status: 200}}",
            )


def _sources(parameters: Parameters) -> Iterator[Contradiction]:
    """Rules about sources that could match no one, or allow what is allowed anyway."""
    authorization, where = parameters.authorization, ("authorization", "rules")
    if authorization.rules and parameters.mutual_tls.exception_mode == "DISABLE":
        yield (
            where,
            "under mutual_tls.exception_mode: DISABLE calls to the web port carry no identity",
            "write mutual_tls.exception_mode: PERMISSIVE",
        )
    for index, rule in enumerate(authorization.rules):
        if not (rule.namespaces or rule.principals):
            yield (
                (*where, index),
                "names no sources",
                "name namespaces or principals; what everybody may do is in authorization.methods",
            )
        for position, method in enumerate(rule.methods):
            if method in authorization.methods:
                yield (
                    (*where, index, "methods", position),
                    f"everybody may use {method}, by authorization.methods",
                    "remove it here or there",
                )
            if method == authorization.denied_method:
                yield (
                    (*where, index, "methods", position),
                    f"{method} is authorization.denied_method, which no one may use",
                    "choose another denied_method",
                )


def _refused(authorization: AuthorizationParameters) -> Iterator[Contradiction]:
    """Requests named as refused that are allowed, or named already."""
    named = authorization.refuse
    for index, refused in enumerate(named):
        where: Location = ("authorization", "refuse", index)
        if refused.method in authorization.methods:
            yield (
                (*where, "method"),
                f"everybody may use {refused.method}, by authorization.methods",
                "remove it here or there",
            )
        elif any(each.covers(refused.method, refused.path) for each in named[:index]):
            yield where, f"{refused.text} is named already by a line above", "remove one"


def _autoscaling(parameters: Parameters) -> Iterator[Contradiction]:
    from kubernetes.utils.quantity import parse_quantity

    proxy = parameters.autoscaling.proxy
    for key in ("cpu", "memory"):
        request, limit = getattr(proxy, key), getattr(proxy, f"{key}_limit")
        if parse_quantity(request) > parse_quantity(limit):
            yield (
                ("autoscaling", "proxy", key),
                f"requests {request}, above {key}_limit {limit}: every new pod would be refused",
                f"write at most {limit}, or a larger {key}_limit",
            )
