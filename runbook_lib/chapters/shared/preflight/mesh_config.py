"""What istiod's own configuration leaves out: namespaces, pods, and policies for the whole mesh.

It lies in two ConfigMaps that the chart makes of its values. See
https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/ and `Config` in
`pkg/kube/inject/inject.go` of Istio.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import yaml

from runbook_lib.base.yaml_source import SAFE_LOADER
from runbook_lib.chapters.shared.preflight.helm import is_own
from runbook_lib.chapters.shared.preflight.wording import kubectl
from runbook_lib.cluster import (
    APPS,
    INJECT,
    Object,
    annotations_of,
    labels_of,
    matches,
    ref,
    reference,
)
from runbook_lib.lifecycle import Context, Finding, Severity
from runbook_lib.mesh import injection_label, of_revision, revisions, wants_sidecar

_VALUES = "istio.istiod.values"

_YES = ("y", "yes", "true", "on")
"""What the injector reads as yes in a pod's own mark, whatever the case."""


@dataclass(frozen=True)
class _Config:
    """A configuration of istiod: as the cluster has it, or as the values would make it.

    Attributes:
        where: The ConfigMap, or the parameter.
        content: What it says.
        fields: What its keys are called there.
    """

    where: str
    content: Object
    fields: Mapping[str, str]

    def shown(self, key: str) -> str:
        """A field with its value, as evidence."""
        found = self.content.get(key)
        text = found if isinstance(found, str) else json.dumps(found)
        return f"{self.where} {self.fields[key]}: {text}"


_Judge = Callable[[_Config], Finding | None]


def not_injected(context: Context) -> Iterator[Finding]:
    """Find that istiod leaves the application's namespace out, or injects nothing into its pods."""
    parameters = context.parameters
    namespace = context.cluster.get("v1", "Namespace", parameters.application.namespace)
    if namespace is None:
        return
    # Selectors often ask for the very label by which the namespace asks for sidecars.
    labels = {**labels_of(namespace), **dict([injection_label(parameters)])}
    yield from _judged(context, _mesh(context), lambda config: _unseen(context, config, labels))
    for workload in _to_be_injected(context):
        yield from _judged(context, _injector(context), partial(_left_out, workload))


def in_force(context: Context) -> Iterator[Finding]:
    """Find what istiod's configuration leaves out as it is now, whoever wrote it."""
    parameters = context.parameters
    namespace = context.cluster.get("v1", "Namespace", parameters.application.namespace)
    mesh, _ = _mesh(context)
    injector, _ = _injector(context)
    judged: list[Finding | None] = []
    if mesh is not None:
        judged += _unseen(context, mesh, labels_of(namespace or {})), _other_root(context, mesh)
    if injector is not None:
        judged += [_left_out(workload, injector) for workload in _to_be_injected(context)]
    yield from filter(None, judged)


def not_mesh_wide(context: Context) -> Iterator[Finding]:
    """Find that a policy in istiod's namespace does not hold for the whole mesh."""
    yield from _judged(context, _mesh(context), lambda config: _other_root(context, config))


def _to_be_injected(context: Context) -> Iterator[Object]:
    """Yield the listed workloads whose own pods do not say no to a sidecar."""
    application = context.parameters.application
    for kind, name in application.workloads:
        workload = context.cluster.get(APPS, kind, name, application.namespace)
        if workload is not None and wants_sidecar(workload["spec"]["template"]):
            yield workload


def _judged(
    context: Context, configs: tuple[_Config | None, _Config], judge: _Judge
) -> Iterator[Finding]:
    """Yield what is wrong with istiod's configuration, now or once its values are applied."""
    live, given = configs
    now, planned = (judge(each) if each else None for each in (live, given))
    if live is None:
        now = planned
    elif (now or planned) and _is_ours(context):
        if now and not planned:
            remedy = f"run 01_install_istio, which applies {_VALUES}: they do not say so"
            now = replace(now, remedy=remedy, parameter="", severity=Severity.NOTE)
        else:
            now = planned
    if now is not None:
        yield now


def _is_ours(context: Context) -> bool:
    istio = context.parameters.istio
    return is_own(context, istio.istiod.release, istio.namespace)


def _mesh(context: Context) -> tuple[_Config | None, _Config]:
    """Return the mesh config: as it is, and as the values have it."""
    keys = ("discoverySelectors", "rootNamespace")
    given = context.parameters.istio.istiod.values.get("meshConfig") or {}
    return (
        _live(context, "istio", "mesh", keys),
        _Config(_VALUES, given, {key: f"meshConfig.{key}" for key in keys}),
    )


def _injector(context: Context) -> tuple[_Config | None, _Config]:
    """Return the injector's configuration: as it is, and as the values have it."""
    keys = ("policy", "neverInjectSelector", "alwaysInjectSelector")
    values = context.parameters.istio.istiod.values
    proxy = (values.get("global") or {}).get("proxy") or {}
    webhook = values.get("sidecarInjectorWebhook") or {}
    fields = {key: f"sidecarInjectorWebhook.{key}" for key in keys}
    content = {**webhook, "policy": proxy.get("autoInject", "enabled")}
    return (
        _live(context, "istio-sidecar-injector", "config", keys),
        _Config(_VALUES, content, {**fields, "policy": "global.proxy.autoInject"}),
    )


def _live(context: Context, name: str, key: str, fields: Sequence[str]) -> _Config | None:
    """Return what a ConfigMap of istiod's says; None if there is none that can be read."""
    istio = context.parameters.istio
    own = of_revision(revisions.of_cluster(context.cluster, context.parameters), name)
    found = context.cluster.get("v1", "ConfigMap", own, istio.namespace)
    try:
        text = ((found or {}).get("data") or {}).get(key, "")
        content = yaml.load(text, Loader=SAFE_LOADER)  # it is a safe one
    except yaml.YAMLError:
        return None
    if not isinstance(content, dict):
        return None
    where = ref("ConfigMap", own, istio.namespace)
    return _Config(where, content, {each: f".data.{key}: {each}" for each in fields})


def _unseen(context: Context, config: _Config, labels: Mapping[str, str]) -> Finding | None:
    """Find that the mesh config's discovery selectors leave the application's namespace out."""
    selectors = config.content.get("discoverySelectors") or []
    if not selectors or any(matches(each, labels) for each in selectors):
        return None
    name = context.parameters.application.namespace
    plain = next((s["matchLabels"] for s in selectors if set(s) == {"matchLabels"}), None)
    label = [f"{key}={value}" for key, value in (plain or {}).items()]
    remedy = (
        f"label it as they ask: {kubectl('label', 'namespace', name, *label)}"
        if label
        else "give it labels that one of them matches"
    )
    return Finding(
        config.where,
        f"{config.fields['discoverySelectors']} leave namespace {name} out",
        "istiod would not see its Services and policies, nor give its pods the certificate that "
        "their sidecars start with",
        f"{remedy}; or add a selector for it: {{matchLabels: {{kubernetes.io/metadata.name: "
        f"{name}}}}}",
        (config.shown("discoverySelectors"),),
        parameter=f"{_VALUES}.meshConfig.discoverySelectors" if config.where == _VALUES else "",
        name="discovery-selectors",
    )


def _other_root(context: Context, config: _Config) -> Finding | None:
    """Find that policies for the whole mesh are read from another namespace than istiod's."""
    istio = context.parameters.istio.namespace
    root = config.content.get("rootNamespace") or istio
    if root == istio:
        return None
    return Finding(
        config.where,
        f"{config.fields['rootNamespace']} is {root}, and not istio.namespace ({istio})",
        f"a PeerAuthentication in {istio} would hold for the pods of {istio} alone, and the mesh "
        "would go on taking plaintext",
        f"have it set to {istio}; or leave 04_mutual_tls out, and have the owner of {root} apply "
        "the policy there",
        (config.shown("rootNamespace"),),
        parameter=f"{_VALUES}.meshConfig.rootNamespace: {istio}" if config.where == _VALUES else "",
        name="root-namespace",
    )


def _left_out(workload: Object, config: _Config) -> Finding | None:
    """Find that the injector leaves a workload's pods out, although the namespace is labelled.

    A pod's own mark comes first, then `neverInjectSelector`, `alwaysInjectSelector`, and `policy`.
    """
    template = workload["spec"]["template"]
    labels = labels_of(template)
    mark = labels.get(INJECT, annotations_of(template).get(INJECT, ""))
    if mark.lower() in _YES:
        return None
    never, always = (
        any(each and matches(each, labels) for each in config.content.get(key) or [])
        for key in ("neverInjectSelector", "alwaysInjectSelector")
    )
    if never:
        key, remedy = "neverInjectSelector", "take the selector out"
    elif not always and config.content.get("policy", "enabled") != "enabled":
        key, remedy = "policy", "have it set to enabled"
    else:
        return None
    return Finding(
        config.where,
        f"{config.fields[key]} keeps sidecars from the pods of {reference(workload)}",
        "a restart would replace its pods, and they would still be outside of the mesh",
        f"{remedy}; or mark the pod template with the label {INJECT}: 'true'",
        (config.shown(key),),
        parameter=f"{_VALUES}.{config.fields[key]}" if config.where == _VALUES else "",
        name="injector-config",
    )
