"""What others, or an interruption, left in the way: found, explained, with a safe offer.

Everything here only reads. The start page shows all of it; steps refuse with the same words what
would otherwise fail half-way (`require`). What a step mends by itself, through its plan, is shown
and not refused.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from runbook_lib.base import CommandError, KindNotInstalled, RunbookError
from runbook_lib.cluster import (
    ADMISSION,
    APPS,
    CRD,
    CUSTOM_KINDS,
    FIELD_MANAGER,
    REVISION_LABEL,
    Object,
    annotations_of,
    labels_of,
    name_of,
    namespace_of,
    ownership,
    pods,
    ref,
    reference,
)
from runbook_lib.lifecycle import Context, Table
from runbook_lib.mesh import own_policies, rollout

RELEASE_NAME = "meta.helm.sh/release-name"
RELEASE_NAMESPACE = "meta.helm.sh/release-namespace"
"""Annotations by which Helm knows what belongs to which release; it refuses to take others' over.

See `checkOwnership` in `pkg/action/validate.go` of Helm 4.
"""

INSTALLED_BY = {"installed-by": "istio-runbook"}
"""Labels a release that the runbook installed, or that somebody handed over to it.

Only such a release is changed, and uninstalled by a rollback.
"""

_MANAGED_BY = "app.kubernetes.io/managed-by"
_ISTIO_GROUPS = tuple(
    f"{group}.istio.io" for group in ("extensions", "networking", "security", "telemetry")
)
"""The API groups of the chart `base`."""

_WEBHOOKS = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
_KIALI_API = "kiali.io/v1alpha1"
_KIALI_CRD = "kialis.kiali.io"
_MANY = 3
"""Names shown of a longer list."""

_UNSEEN = "what is in the way here shows only when a step meets it"
_ASK = "ask for the permission to look at it, and look again"


@dataclass(frozen=True)
class Finding:
    """One thing that is in the way, or may be.

    Attributes:
        where: The object.
        found: What was found about it.
        why: Why that matters here.
        offer: What to do: a command, a parameter or a notebook. It never removes anything unasked.
        blocks: Whether steps that it concerns refuse to go on.
    """

    where: str
    found: str
    why: str
    offer: str
    blocks: bool = True

    @property
    def error(self) -> RunbookError:
        """The finding as a refusal, in the same words."""
        return RunbookError(f"{self.where}: {self.found}; {self.why}", self.offer)


Check = Callable[[Context], Iterable[Finding]]


def table(context: Context) -> Table:
    """Look for everything, and say so also where nothing is in the way."""
    rows: list[tuple[str, ...]] = []
    for title, check in CHECKS.items():
        try:
            found = list(check(context))
        except RunbookError as error:
            rows.append((title, f"cannot tell: {_gist(error)}", _UNSEEN, error.remedy or _ASK))
            continue
        rows += [(title, f"{f.where}: {f.found}", f.why, f.offer) for f in found]
        if not found:
            rows.append((title, "nothing in the way", "", ""))
    return Table.shown("Preflight", ("condition", "found", "why it matters", "what to do"), rows)


def require(*findings: Iterable[Finding]) -> None:
    """Refuse to go on if there is a finding that would make a step fail half-way.

    Raises:
        RunbookError: The first such finding.
    """
    for finding in chain(*findings):
        if finding.blocks:
            raise finding.error


def releases(context: Context) -> Iterator[Finding]:
    """Find releases of others, and those that a Helm was interrupted at, or that failed.

    What became of their own, steps mend; they leave others' as they are.
    """
    istio, kiali = context.parameters.istio, context.parameters.kiali
    for release, namespace, notebook in (
        (istio.base.release, istio.namespace, "01_install_istio"),
        (istio.istiod.release, istio.namespace, "01_install_istio"),
        (kiali.operator.release, kiali.operator_namespace, "06_kiali"),
    ):
        found = context.helm.status(release, namespace=namespace)
        if found is None:
            continue
        where = f"Helm release {namespace}/{release}"
        if not is_own(context, release, namespace):
            yield Finding(
                where,
                f"{found.status} (revision {found.revision}), and not installed by this runbook",
                f"its owner counts on it: {notebook} takes it as it is, and refuses to change it",
                f"use it as it is: leave {notebook} out; or {take_over(release, namespace)}",
                blocks=False,
            )
        elif found.stuck:
            since = f" since {found.since:%Y-%m-%d %H:%M} UTC" if found.since else ""
            yield Finding(
                where,
                f"{found.status}{since} (revision {found.revision})",
                "a Helm is at work on it or was interrupted, and every other one refuses it",
                f"{notebook} waits for that Helm, then plans the recovery; nothing that runs is "
                "taken down",
                blocks=False,
            )
        elif not found.deployed:
            yield Finding(
                where,
                f"{found.status} (revision {found.revision})",
                "its last operation did not end well",
                f"{notebook} plans it again; why it failed: "
                f"helm history {release} --namespace {namespace}",
                blocks=False,
            )


def is_own(context: Context, release: str, namespace: str) -> bool:
    """Whether the runbook installed a release, or it was handed over to it."""
    labels = context.helm.get_labels(release, namespace=namespace)
    return labels.items() >= INSTALLED_BY.items()


def take_over(release: str, namespace: str) -> str:
    """Say how a release becomes the runbook's; Helm keeps its labels where it keeps the release."""
    labels = [f"{key}={value}" for key, value in INSTALLED_BY.items()]
    command = _kubectl(
        *("label", "secret", "--namespace", namespace),
        *("--selector", f"owner=helm,name={release}", *labels),
    )
    return (
        "take it over, once its owner (Terraform, Flux, another team) has let go of it; a rollback "
        f"uninstalls it then: {command}"
    )


def namespaces(context: Context) -> Iterator[Finding]:
    """Find namespaces of the runbook that are being deleted."""
    parameters = context.parameters
    for name in dict.fromkeys(
        (
            parameters.application.namespace,
            parameters.istio.namespace,
            parameters.kiali.operator_namespace,
        )
    ):
        yield from namespace(context, name)


def namespace(context: Context, name: str) -> Iterator[Finding]:
    """Find that one namespace is being deleted."""
    found = context.cluster.get("v1", "Namespace", name)
    finding = deletion(found) if found is not None else None
    if finding is not None:
        yield finding


def deletion(item: Object) -> Finding | None:
    """Find that an object is being deleted, and say what holds it; None if it is not."""
    metadata = item["metadata"]
    since = metadata.get("deletionTimestamp")
    if since is None:
        return None
    namespace, name = metadata.get("namespace"), metadata["name"]
    where = ref(item["kind"], name, namespace)
    if item["kind"] == "Namespace":
        conditions = (item.get("status") or {}).get("conditions") or []
        holding = [c["message"] for c in conditions if c["status"] == "True" and c.get("message")]
        return Finding(
            where,
            f"Terminating since {since}; {' '.join(holding) or 'nothing is reported to hold it'}",
            "nothing can be created in it, and what is in it will be gone",
            "wait until it is gone, then run again; what holds it: "
            f"kubectl get namespace {name} --output jsonpath='{{.status.conditions}}'. Remove a "
            "finalizer only when the controller that it waits for is gone for good",
        )
    finalizers = ", ".join(metadata.get("finalizers") or []) or "none"
    scope = ["--namespace", namespace] if namespace else []
    return Finding(
        where,
        f"being deleted since {since}; finalizers that hold it: {finalizers}",
        "what is applied to it now would be gone with it",
        "wait until it is gone, then run again; if the controller of a finalizer is not running, "
        f"start it: it ends the deletion. Look: {_kubectl('get', item['kind'], name, *scope)}",
    )


def policies(context: Context) -> Iterator[Finding]:
    """Find objects that have the runbook's names, and fields that somebody else set."""
    parameters = context.parameters
    for own in own_policies(parameters):
        try:
            found = context.cluster.get(own.api_version, own.kind, own.name, own.namespace)
        except KindNotInstalled:
            continue
        owners = ownership.changed_by(found) if found is not None else {}
        if found is None or not owners:
            continue
        yield Finding(
            reference(found),
            "; ".join(f"{name} manages {', '.join(at)}" for name, at in owners.items()),
            "the runbook takes no fields from others; what is the same, both may set",
            f"ask its owner; or give the runbook's own another name: {own.parameter}; or hand it "
            "over: "
            + _kubectl(
                *("apply", "--server-side", "--force-conflicts"),
                *("--field-manager", FIELD_MANAGER, "--filename", "FILE"),
            ),
            blocks=False,
        )


def istios(context: Context) -> Iterator[Finding]:
    """Find every Istio that is not of the release that the runbook installs."""
    yield from control_plane(context)
    yield from meshes(context)


def control_plane(context: Context) -> Iterator[Finding]:
    """Find that others have installed istiod where the runbook would; the rest works with it."""
    istio = context.parameters.istio
    for item in _istiods_of_others(context):
        if not _takes_our_place(context, item):
            continue
        release, namespace = release_of(item)
        held = release and namespace == istio.namespace
        yield Finding(
            reference(item),
            f"an istiod of {_owner(item)}, where 01_install_istio would put its own",
            "there can be one only; the other notebooks work with this one",
            "use it as it is: leave 01_install_istio out"
            + (f"; or go on with its release: istio.istiod.release: {release}" if held else ""),
        )


def meshes(context: Context) -> Iterator[Finding]:
    """Find Istio elsewhere than the parameters say: revisions, namespaces, ambient."""
    parameters = context.parameters
    istio = parameters.istio
    for item in _istiods_of_others(context):
        if _takes_our_place(context, item):
            continue
        metadata = item["metadata"]
        revision = _revision(item)
        release, _ = release_of(item)
        where = reference(item)
        if revision != istio.revision:
            yield Finding(
                where,
                f"another Istio, revision {revision}, of {_owner(item)}",
                "namespaces labelled for that revision are its own, and so are their sidecars; "
                "policies apply to both meshes",
                f"leave it: namespace {parameters.application.namespace} is labelled for "
                f"{istio.revision}; or work with it instead: istio.revision: {revision} and its "
                "release and namespace in the parameters",
                blocks=False,
            )
        else:
            yield Finding(
                where,
                f"another Istio of the same revision {revision}, of {_owner(item)}",
                "two control planes of one revision take the webhooks and policies from each other",
                f"work with it: istio.namespace: {metadata['namespace']}"
                + (f" and istio.istiod.release: {release}" if release else "")
                + "; or give this one a revision of its own: istio.revision; or "
                + _removal(context, item),
            )
    for item in context.cluster.list(APPS, "DaemonSet", None, {"app": "ztunnel"}):
        metadata = item["metadata"]
        yield Finding(
            ref("DaemonSet", metadata["name"], metadata["namespace"]),
            "Istio's ambient mode is installed",
            "in namespaces in ambient mode, policies about methods refuse everything without a "
            "waypoint",
            f"nothing, as long as namespace {parameters.application.namespace} does not carry "
            "the label istio.io/dataplane-mode=ambient",
            blocks=False,
        )
    application = context.cluster.get("v1", "Namespace", parameters.application.namespace) or {}
    labels = labels_of(application)
    if labels.get("istio.io/dataplane-mode") == "ambient":
        yield Finding(
            ref("Namespace", parameters.application.namespace),
            "it is in ambient mode",
            "its pods are in another mesh than the one with sidecars",
            "take it out first: kubectl label namespace "
            f"{parameters.application.namespace} istio.io/dataplane-mode-",
        )


def webhooks(context: Context) -> Iterator[Finding]:
    """Find webhooks that refuse pods, or Istio's objects, because their Service is gone."""
    istio = context.parameters.istio
    own = {(r.release, istio.namespace) for r in (istio.base, istio.istiod)}
    for kind in _WEBHOOKS:
        for item in context.cluster.list(ADMISSION, kind):
            if release_of(item) in own:
                continue  # its Service comes with the release
            dead = list(dict.fromkeys(_dead_services(context, item)))
            if not dead:
                continue
            name = name_of(item)
            yield Finding(
                ref(kind, name),
                f"asks {', '.join(dead)}, which does not exist, and refuses when it gets no answer",
                "what it is asked about cannot be created: a restart would leave no pod",
                "bring the Service back; or, if what it belonged to is gone for good "
                f"(made by {ownership.makers(item)}): {_kubectl('delete', kind.lower(), name)}",
            )


def kinds(context: Context) -> Iterator[Finding]:
    """Find Istio's kinds that belong to another release, or to none: Helm would refuse them."""
    found = [
        item
        for item in context.cluster.list(CUSTOM_KINDS, CRD)
        if item["spec"]["group"] in _ISTIO_GROUPS
    ]
    istio = context.parameters.istio
    yield from foreign(context, found, istio.base.release, istio.namespace, "istio.base.release")


def foreign(
    context: Context, live: Sequence[Object], release: str, namespace: str, key: str
) -> Iterator[Finding]:
    """Find objects that a release shall hold, and that Helm would refuse to take over.

    Args:
        context: Where to look.
        live: The objects, as they are in the cluster.
        release: The release's name.
        namespace: Its namespace.
        key: The parameter that names the release.
    """
    groups: dict[tuple[str, str], list[Object]] = {}
    for item in live:
        labels = labels_of(item)
        owner = release_of(item) if labels.get(_MANAGED_BY) == "Helm" else ("", "")
        if owner != (release, namespace):
            groups.setdefault(owner, []).append(item)
    for (other, where), items in groups.items():
        alive = bool(other) and context.helm.status(other, namespace=where) is not None
        owned = (
            f"of the Helm release {where}/{other}, which {'is there' if alive else 'is gone'}"
            if other
            else f"of no Helm release (made by {ownership.makers(items[0])})"
        )
        yield Finding(
            few([reference(item) for item in items]),
            f"there already, {owned}",
            f"Helm does not take over what the release {namespace}/{release} did not make",
            f"go on with that release: {key}: {other}, in namespace {where}"
            if alive
            else "hand it over: " + " && ".join(_hand_over(items, release, namespace)),
        )


def release_of(item: Object) -> tuple[str, str]:
    """Return name and namespace of the release that an object says it belongs to."""
    annotations = annotations_of(item)
    return annotations.get(RELEASE_NAME, ""), annotations.get(RELEASE_NAMESPACE, "")


def operator(context: Context) -> Iterator[Finding]:
    """Find a Kiali operator that is there in part."""
    kiali = context.parameters.kiali
    release, namespace = kiali.operator.release, kiali.operator_namespace
    found = context.helm.status(release, namespace=namespace)
    where = f"Helm release {namespace}/{release}"
    served = context.cluster.get(CUSTOM_KINDS, CRD, _KIALI_CRD) is not None
    labels = {"app.kubernetes.io/name": "kiali-operator"}
    operators = context.cluster.list(APPS, "Deployment", None, labels)
    others = [o for o in operators if namespace_of(o) != namespace]
    for item in others:
        yield Finding(
            reference(item),
            "another Kiali operator is there",
            "two operators would carry out the same Kiali",
            f"work with it: kiali.operator_namespace: {item['metadata']['namespace']} and "
            f"kiali.operator.release: {release_of(item)[0] or 'NAME'}; or leave 06_kiali out",
        )
    if found is not None and found.deployed and not served:
        yield Finding(
            where,
            f"deployed, and the kind {_KIALI_CRD} is missing",
            "the operator has nothing to watch; Helm installs the kinds of a chart only once",
            "06_kiali applies the kind: its plan shows it",
            blocks=False,
        )
    if found is None:
        own = [o for o in operators if namespace_of(o) == namespace]
        if own:
            yield Finding(
                reference(own[0]),
                "an operator that no Helm release holds",
                "Helm does not take over what it did not make",
                "hand it over: " + " && ".join(_hand_over(own, release, namespace)),
            )
    if operators or not served:
        return
    for item in _kialis(context):
        deleting = deletion(item)
        if deleting is not None:
            yield deleting
        elif found is None:
            yield Finding(
                reference(item),
                "no operator is there to carry it out",
                "changes to it have no effect, and deleting it hangs on its finalizer",
                "06_kiali installs the operator, which then takes it up",
                blocks=False,
            )


CHECKS: dict[str, Check] = {
    "Helm releases": releases,
    "Kiali operator": operator,
    "Namespaces": namespaces,
    "Policies of others": policies,
    "Other meshes": istios,
    "Webhooks without a Service": webhooks,
    "Istio's kinds": kinds,
}
"""What is looked for, in the order in which it is shown."""


def few(names: Sequence[str]) -> str:
    """Name the first of many, and how many more there are."""
    more = f" and {len(names) - _MANY} more" if len(names) > _MANY else ""
    return ", ".join(names[:_MANY]) + more


def _gist(error: RunbookError) -> str:
    """Return what an error says, on one line; of a command, what it said itself."""
    said = error.stderr if isinstance(error, CommandError) else ""
    return said.splitlines()[-1] if said else error.cause.splitlines()[0]


def _istiods_of_others(context: Context) -> Iterator[Object]:
    istio = context.parameters.istio
    for item in context.cluster.list(APPS, "Deployment", None, {"app": "istiod"}):
        own = release_of(item) == (istio.istiod.release, istio.namespace)
        if not own or namespace_of(item) != istio.namespace:
            yield item


def _takes_our_place(context: Context, istiod: Object) -> bool:
    istio = context.parameters.istio
    there = (namespace_of(istiod), _revision(istiod))
    return there == (istio.namespace, istio.revision)


def _revision(item: Object) -> str:
    return str(labels_of(item).get(REVISION_LABEL, "default"))


def _owner(item: Object) -> str:
    release, namespace = release_of(item)
    if release:
        return f"Helm release {namespace}/{release}"
    return f"no Helm release (made by {ownership.makers(item)})"


def _removal(context: Context, istiod: Object) -> str:
    """Say how to remove an istiod, or that sidecars count on one of its revision."""
    revision = _revision(istiod)
    proxies = [
        reference(pod)
        for pod in context.cluster.list("v1", "Pod")
        if pods.has_sidecar(pod)
        and not rollout.has_ended(pod)
        and annotations_of(pod).get(REVISION_LABEL, revision) == revision
    ]
    if proxies:
        return (
            f"move what uses it before it is removed: {len(proxies)} pods have sidecars of this "
            f"revision ({few(proxies)}), and without a control plane their certificates end within "
            "24 hours"
        )
    release, namespace = release_of(istiod)
    command = (
        f"helm uninstall {release} --namespace {namespace}"
        if release
        else f"istioctl uninstall --revision {revision}"
    )
    return f"remove it first, because no pod has a sidecar of this revision: {command}"


def _kialis(context: Context) -> list[Object]:
    try:
        return context.cluster.list(_KIALI_API, "Kiali")
    except KindNotInstalled:
        return []


def _dead_services(context: Context, configuration: Object) -> Iterator[str]:
    for webhook in configuration.get("webhooks") or []:
        service = webhook["clientConfig"].get("service")
        if service is None or webhook.get("failurePolicy", "Fail") != "Fail":
            continue
        if not any(_concerns_us(rule) for rule in webhook.get("rules") or []):
            continue
        name, namespace = service["name"], service["namespace"]
        if context.cluster.get("v1", "Service", name, namespace) is None:
            yield ref("Service", name, namespace)


def _concerns_us(rule: Object) -> bool:
    groups, resources = rule.get("apiGroups") or [], rule.get("resources") or []
    ours = any(group == "*" or group.endswith(".istio.io") for group in groups)
    pods = any(group in ("", "*") for group in groups) and bool({"pods", "*", "*/*"} & {*resources})
    return ours or pods


def _hand_over(items: Sequence[Object], release: str, namespace: str) -> Iterator[str]:
    """Yield the commands that make objects part of a release, for Helm to take them over."""
    by_kind: dict[tuple[str, str], list[str]] = {}
    for item in items:
        where = (item["kind"].lower(), item["metadata"].get("namespace", ""))
        by_kind.setdefault(where, []).append(name_of(item))
    for (kind, scope), names in by_kind.items():
        options = ["--overwrite", *(["--namespace", scope] if scope else [])]
        yield _kubectl("label", kind, *names, f"{_MANAGED_BY}=Helm", *options)
        yield _kubectl(
            *("annotate", kind, *names),
            *(f"{RELEASE_NAME}={release}", f"{RELEASE_NAMESPACE}={namespace}", *options),
        )


def _kubectl(*words: str) -> str:
    return shlex.join(["kubectl", *words])
