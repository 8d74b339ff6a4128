"""Whether what the operator made is what the resource asks for: judged by what was asked alone."""

from __future__ import annotations

from runbook_lib.chapters.kiali import access as kiali_access
from runbook_lib.chapters.kiali import manifest
from runbook_lib.chapters.kiali.instance import parts
from runbook_lib.cluster import annotations_of, live_object, ref, reference
from runbook_lib.lifecycle import Check, Context

_CLASSES = ("ingressClassName", "loadBalancerClass", "loadBalancerSourceRanges")
"""What decides, besides annotations, who serves a Service or an Ingress, and for whom."""


def checks(context: Context) -> list[Check]:
    """Whether Service and Ingress are as the exposure has them, and publish Kiali's port alone."""
    parameters = context.parameters
    where = ref("Service", parameters.kiali.name, parameters.istio.namespace)
    found = kiali_access.service(context)
    if found is None:
        return [Check(where, "missing", ok=False)]
    balanced = parameters.kiali.exposure in manifest.WITH_BALANCER
    desired = "LoadBalancer" if balanced else "ClusterIP"
    ports = [port["port"] for port in found["spec"]["ports"]]
    return [
        Check(f"type of {where}", found["spec"]["type"], found["spec"]["type"] == desired),
        Check(f"ports of {where}", ", ".join(map(str, ports)), ports == [manifest.KIALI_PORT]),
        *_settings(context),
    ]


def _settings(context: Context) -> list[Check]:
    """Whether Service and Ingress are as the resource says; what others add is not judged."""
    checks = []
    for desired in parts.of(manifest.kiali(context.parameters)):
        found = live_object(context.cluster, desired)
        settings = annotations_of(desired)
        classes = {key: desired["spec"][key] for key in _CLASSES if key in desired["spec"]}
        where = f"settings of {reference(desired)}"
        if found is None:
            checks.append(Check(where, "missing", ok=False))
            continue
        there = annotations_of(found)
        other = sorted(key for key in settings if there.get(key) != settings[key])
        other += [key for key in classes if (found["spec"].get(key) or []) != (classes[key] or [])]
        if not other and not settings and not any(classes.values()):
            continue  # nothing was asked for
        said = f"not as the resource says: {', '.join(other)}" if other else "as the resource says"
        checks.append(Check(where, said, not other))
    return checks
