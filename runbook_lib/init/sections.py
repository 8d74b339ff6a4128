"""The lines of the parameters, section by section, as they follow from what was looked up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from runbook_lib.base import delivered, yaml_source
from runbook_lib.chapters.shared import doors
from runbook_lib.chapters.shared.doors import Door
from runbook_lib.cluster import APPS, WORKLOADS, labels_of, name_of
from runbook_lib.init import account, surroundings
from runbook_lib.init.asking import Site
from runbook_lib.init.lines import Line
from runbook_lib.init.looking import Facts
from runbook_lib.init.order import Order
from runbook_lib.init.web import Web
from runbook_lib.lifecycle import Context
from runbook_lib.mesh import Selection, templates
from runbook_lib.mesh.policy import service_targets
from runbook_lib.parameters import layers

_EXAMPLE = delivered() / "parameters" / "cluster.example.yaml"
"""Explains every key, and pins the versions that this runbook is written for."""

_DICOM = (104, 8104, 11112)
"""Ports for DICOM: IANA's two, and that of XNAT's own receiver."""

_CALLED_DICOM = "dicom"


@dataclass(frozen=True)
class Found:
    """What was looked up, for the lines to be made of."""

    context: Context
    facts: Facts
    web: Web
    site: Site
    order: Order

    @property
    def is_lab(self) -> bool:
        """Whether the file is laid over the lab's."""
        return self.context.target.allows.defaults is not None


def every(found: Found) -> list[Line]:
    """Return all lines of the file.

    Args:
        found: What was looked up.
    """
    return [
        *_target(found),
        *_application(found),
        *_istio(found),
        *_authorization(found),
        *_autoscaling(found),
        *_kiali(found),
        _story(),
    ]


def _target(found: Found) -> Iterator[Line]:
    desired = found.context.parameters.target
    yield Line(("target", "kind"), desired.kind, "the target that `init` was given")
    if found.is_lab:
        yield Line(("target", "lab"), desired.lab, "the lab that it looked at")
        return
    if desired.kubeconfig is not None:
        path = str(desired.kubeconfig.absolute())
        yield Line(("target", "kubeconfig"), path, "the kubeconfig that `init` was given")
    yield Line(
        ("target", "context"),
        desired.context,
        f"the context that `init` was given; it leads to {found.context.target.server}",
    )
    target = found.context.target
    yield from account.lines(target.kubeconfig.context(target.context))
    yield Line(
        ("target", "production"),
        True,
        "taken for granted, as it cannot be seen: users see no outage, and each approval takes "
        "the cluster's name; write false only if no one depends on it",
    )


def _application(found: Found) -> Iterator[Line]:
    section, context, site = "application", found.context, found.site
    yield Line(
        (section, "namespace"),
        context.parameters.application.namespace,
        "the namespace that `init` was given",
    )
    if not found.is_lab or site.url != context.target.url:
        yield Line((section, "url"), site.url, site.reason, site.change)
    yield from _web(found)
    yield from _ports(found)
    yield _restart_order(found.order)
    if found.order.owned:
        yield Line(
            (section, "restarted_by_owner"),
            tuple(Line((), each.workload, each.reason) for each in found.order.owned),
            "they keep pods themselves, as operators do: chapter 02 says how these are restarted, "
            "and waits",
        )
    path, why = found.web.path
    yield Line(
        (section, "probes"),
        tuple(
            Line(
                (),
                {"method": each.method, "path": path, "status": each.status},
                each.reason,
                each.change,
            )
            for each in site.answers
        ),
        f"asked at {path}, as {why}",
    )


def _web(found: Found) -> Iterator[Line]:
    section, chosen = ("application", "web"), found.web
    kind, name = chosen.key
    led = chosen.way.text if chosen.way else "a person has named it; nothing outside leads to it"
    change = "" if chosen.way else "make sure that requests to application.url come to its pods"
    yield Line((*section, "kind"), kind, f"what keeps the web pods: {led}", change)
    yield Line((*section, "name"), name, "its name")
    headless = [
        name_of(each)
        for each in found.facts.services
        if each["spec"].get("clusterIP") == "None" and chosen.key in dict(found.facts.behind(each))
    ]
    lead = "lead" if len(headless) > 1 else "leads"
    also = f"; {', '.join(headless)} {lead} there as well, without an address" if headless else ""
    service = name_of(chosen.service)
    yield Line((*section, "service"), service, f"callers in the cluster reach it by this{also}")
    yield from _labels(found)
    targets = [f"{a} → {b}" for a, b in service_targets(chosen.service, chosen.made.pod)]
    yield Line(
        (*section, "port"),
        chosen.port,
        f"the container's port: Service {service} leads {', '.join(targets)}",
    )


def _labels(found: Found) -> Iterator[Line]:
    """Yield the labels for policies, where the workload's own matchLabels do not do."""
    context = found.context
    parameters, cluster = context.parameters, context.cluster
    namespace = parameters.application.namespace
    live = [item for kind in WORKLOADS for item in cluster.list(APPS, kind, namespace)]
    own = found.web.made.keeper
    pods = cluster.list("v1", "Pod", namespace)
    first = next(Selection.of(parameters, own).mistakes(parameters, pods, live), None)
    if first is None:
        return
    labels = labels_of(own["spec"]["template"])
    named = parameters.application.web.model_copy(update={"labels": labels})
    tried = parameters.model_copy(
        update={"application": parameters.application.model_copy(update={"web": named})}
    )
    wrong = next(Selection.of(tried, own).mistakes(tried, pods, live), None)
    yield Line(
        ("application", "web", "labels"),
        labels,
        f"all labels of its pods, as its selector alone does not do: {first.what}",
        f"name labels that its pods carry and no others do: {wrong.what}" if wrong else "",
    )


def _ports(found: Found) -> Iterator[Line]:
    context, port = found.context, found.web.port
    pods = [found.web.made.pod, *found.web.made.live]
    every = [
        *(door for door in doors.through_services(context, pods) if door.outside),
        *doors.host_ports(templates.of_workload(found.web.made.keeper)),
        *(
            replace(door, outside="the load balancer's health checks")
            for door in doors.health_checks(context, pods)
        ),
    ]
    others = [door for door in every if door.port != port]
    numbers = tuple(sorted({door.port for door in others}))
    ways = "; ".join(f"{door.port} by {door.by} ({door.outside})" for door in others)
    yield Line(
        ("application", "plaintext_ports"),
        list(numbers),
        f"reached from outside of the mesh as well: {ways}"
        if others
        else f"nothing outside leads to another port of the web pods than {port}",
    )
    yield _dicom(others)


def _dicom(others: list[Door]) -> Line:
    for door in others:
        named = _CALLED_DICOM in door.by.lower()
        if named or door.port in _DICOM:
            why = "its Service is called so" if named else "the port is one of DICOM's"
            return Line(
                ("application", "dicom"),
                {"port": door.port},
                f"imaging devices are received there, by the look of it ({why}). They are tried "
                "with the title XNAT, which XNAT has unless it was given others: then add ae_title",
            )
    return Line(("application", "dicom"), None, "no port that looks as if devices called there")


def _restart_order(found: Order) -> Line:
    notes = ["who is depended on comes first; Secrets were not read."]
    notes += [f"Not restarted, as it has no pods here: {each}." for each in found.outside]
    return Line(
        ("application", "restart_order"),
        tuple(Line((), each.workload, each.reason) for each in found.entries),
        "\n".join(notes),
        f"put what others depend on first: {found.uncertain}" if found.uncertain else "",
    )


def _istio(found: Found) -> Iterator[Line]:
    installed = surroundings.istiods(found.context)
    if found.is_lab:
        return
    if not installed:
        yield Line(
            ("istio", "version"),
            _pinned("istio"),
            "Istio is not installed; the version that this runbook is written for",
        )
        return
    first = installed[0]
    several = "; ".join(
        f"{each.version} in {each.namespace}, revision {each.revision}" for each in installed
    )
    change = "several control planes: name the one for this application" if installed[1:] else ""
    yield Line(("istio", "namespace"), first.namespace, f"Istio is installed: {several}", change)
    yield Line(("istio", "version"), first.version, "the version of that istiod's image")
    yield Line(("istio", "revision"), first.revision, "the revision that istiod is labelled with")


def _authorization(found: Found) -> Iterator[Line]:
    section, given = "authorization", found.context.parameters.authorization
    namespace = found.context.parameters.application.namespace
    yield Line((section, "policy"), f"{namespace}-all", "a name for it, after the namespace")
    service = name_of(found.web.service)
    yield Line((section, "destination_rule"), service, "the name of the Service that it is about")
    yield Line(
        (section, "methods"),
        list(given.methods),
        "the default. What users need cannot be seen from here; before anything is enforced, "
        "chapter 05 reads who would be refused",
    )
    yield Line(
        (section, "denied_method"),
        given.denied_method,
        "the default: its 403 proves that the policy is in force",
    )


def _autoscaling(found: Found) -> Iterator[Line]:
    scaled = surroundings.autoscalers(found.context)
    if scaled:
        yield Line(
            ("autoscaling", "remedy"),
            found.context.parameters.autoscaling.remedy,
            f"the default, for what chapter 03 mends: {'; '.join(scaled)}",
        )


def _kiali(found: Found) -> Iterator[Line]:
    if found.is_lab:
        return
    controller = surroundings.load_balancer_controller(found.context)
    more = (
        f"{controller} is there: alb-ingress or nlb-tls would work, with host and certificate_arn"
        if controller
        else "no AWS Load Balancer Controller was found, which the other exposures need"
    )
    yield Line(
        ("kiali", "version"), _pinned("kiali"), "the version that this runbook is written for"
    )
    yield Line(("kiali", "exposure"), "cluster", f"opened by kubectl port-forward; {more}")


def _story() -> Line:
    return Line(("story",), "safe", "users see no outage")


def _pinned(section: str) -> Any:
    return layers.at(yaml_source.read(_EXAMPLE).data, (section, "version"))
