"""Read-only looks at tools and cluster: what notebooks show before they plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from runbook_lib.cluster import APPS, Object, has_sidecar, labels_of, matches, name_of, ref
from runbook_lib.cluster.pods import workload_of
from runbook_lib.lifecycle import Check, Context, Row, Table, table
from runbook_lib.mesh import Selection, has_ended, injection_label, progress, web


def tool_versions(context: Context) -> Table:
    """The versions of the tools, and of the API server."""
    versions = {**context.tools.versions(), "API server": context.cluster.server_version()}
    return Table.shown("Versions", ("tool", "version"), versions.items())


def precheck(context: Context) -> Table:
    """What `istioctl x precheck` finds to be in the way of an installation."""
    rows = tuple(
        (message.code, message.level, message.origin, message.text)
        for message in context.istioctl.precheck()
    )
    nothing = (("-", "-", "-", "No issues found: Istio can be installed."),)
    return Table.shown(
        "istioctl x precheck", ("code", "level", "origin", "finding"), rows or nothing
    )


def namespace_labels(context: Context) -> Table:
    """What `kubectl get namespaces --show-labels` shows of the application's and istiod's."""
    rows = []
    for name in (context.parameters.application.namespace, context.parameters.istio.namespace):
        namespace = context.cluster.get("v1", "Namespace", name)
        labels = labels_of(namespace or {})
        # Kubernetes itself sets this one, and it says nothing but the name.
        shown = {k: v for k, v in labels.items() if k != "kubernetes.io/metadata.name"}
        text = ", ".join(f"{key}={value}" for key, value in sorted(shown.items())) or "none"
        rows.append((name, text if namespace else "there is no such namespace"))
    return Table.shown("Namespaces", ("namespace", "labels"), rows)


def starting_point(context: Context) -> Table:
    """Whether what the runbook takes for granted is there."""
    application = context.parameters.application
    key, _ = injection_label(context.parameters)
    namespace = context.cluster.get("v1", "Namespace", application.namespace)
    checks = [Check(ref("Namespace", application.namespace), *_there(namespace))]
    for kind, name in application.workloads:
        workload = context.cluster.get(APPS, kind, name, application.namespace)
        if workload is None:
            found, ok = "missing", False
        else:
            ok, found = progress(workload)
        checks.append(Check(ref(kind, name, application.namespace), found, ok))
    service = context.cluster.get("v1", "Service", application.web.service, application.namespace)
    where = ref("Service", application.web.service, application.namespace)
    checks.append(Check(where, *_there(service)))
    labels = labels_of(namespace or {})
    in_mesh = [
        pod
        for pod in context.cluster.list("v1", "Pod", application.namespace)
        if has_sidecar(pod) and not has_ended(pod)
    ]
    checks.append(Check(f"label {key}", labels.get(key, "not set"), ok=None))
    checks.append(Check("pods with a sidecar", str(len(in_mesh)), ok=None))
    return table.of_checks("Starting point", checks)


def selections(context: Context) -> Table:
    """Which pods each set of labels selects by which the chapters go."""
    parameters = context.parameters
    application = parameters.application
    listed = context.cluster.list("v1", "Pod", application.namespace)
    pods = [pod for pod in listed if not has_ended(pod)]
    chosen = Selection.of(parameters, web.workload(context.cluster, parameters))
    service = context.cluster.get("v1", "Service", application.web.service, application.namespace)
    follows = (service or {"spec": {}})["spec"].get("selector") or {}
    where = ref("Service", application.web.service, application.namespace)
    place = (application.web.kind, application.web.name)
    rows = [
        _selected("policies for the web pods", {"matchLabels": chosen.labels}, pods, place),
        _selected(where, {"matchLabels": follows}, pods, place),
    ]
    for kind, name in application.workloads:
        workload = context.cluster.get(APPS, kind, name, application.namespace)
        selector = workload["spec"]["selector"] if workload else {}
        where = ref(kind, name, application.namespace)
        rows.append(_selected(where, selector, pods, (kind, name)))
    return Table("Labels", ("who selects", "by which labels", "pods"), tuple(rows))


def _selected(
    who: str, selector: Mapping[str, Any], pods: Sequence[Object], workload: tuple[str, str]
) -> Row:
    """Return which pods a selector selects: right if they are those of a workload, one at least."""
    labels, expressions = selector.get("matchLabels") or {}, selector.get("matchExpressions") or []
    selects = bool(labels or expressions)
    found = [pod for pod in pods if selects and matches(selector, labels_of(pod))]
    meant = [pod for pod in pods if workload_of(pod) == workload]
    names = ", ".join(sorted(map(name_of, found))) or "none"
    rules = [web.text(labels), *map(_words, expressions)]
    shown = ", ".join(filter(None, rules)) or "none"
    return Row((who, shown, names), bool(found) and found == meant)


def _words(expression: Mapping[str, Any]) -> str:
    """Return a rule of a selector's `matchExpressions` as kubectl's --selector words it."""
    key, operator = str(expression["key"]), expression["operator"]
    if operator in ("Exists", "DoesNotExist"):
        return key if operator == "Exists" else f"!{key}"
    return f"{key} {operator.lower()} ({','.join(expression['values'])})"


def _there(found: object) -> tuple[str, bool]:
    return ("there", True) if found else ("missing", False)
