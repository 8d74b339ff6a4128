"""The canary's tag and the namespace's label: which istiod injects, from one to the other."""

from __future__ import annotations

from dataclasses import replace

from runbook_lib.base import ClusterRefused, State, wait
from runbook_lib.chapters.shared import objects
from runbook_lib.chapters.shared.release.istio import tag_webhook
from runbook_lib.chapters.shared.sidecars import labelled_namespace
from runbook_lib.cluster import (
    ADMISSION,
    INJECTION_LABEL,
    REVISION_LABEL,
    Object,
    annotations_of,
    labels_of,
    name_of,
    reference,
)
from runbook_lib.lifecycle import (
    ByHand,
    Check,
    Context,
    Plan,
    Step,
    Verification,
    table,
)
from runbook_lib.mesh import injection, patience

IN_PLACE = "In place there is one istiod, and the namespace asks for it as before."

_CONTRADICTION = (
    f"The label {INJECTION_LABEL} would contradict {REVISION_LABEL} (IST0123), so the one takes "
    "the other's place."
)


OF_OTHERS = (
    "The namespace has a label that this runbook did not set, and that would contradict the one it "
    "sets (IST0123). Set the one for the other while the step waits: {command}"
)


class MoveNamespace(Step):
    """Let the tag name the new revision, and the namespace ask by the tag."""

    name = "upgrade-move"
    title = "Point the tag to the new istiod, and the namespace to the tag"
    why = "new pods get their sidecar from the istiod that the namespace asks for"
    takes = "seconds"
    risk = "none yet: running pods keep their sidecars, and a pod that is replaced gets a newer one"
    undo = "notebook 90 with rollback.keep: 06_kiali"

    def plan(self, context: Context) -> Plan:
        """Plan the tag and the label; nothing in place."""
        if context.parameters.upgrade.strategy == "in-place":
            return Plan(self.name, context.target.uid, note=IN_PLACE)
        tag, namespace = manifests(context)
        if command := by_hand(context, namespace):
            note = OF_OTHERS.format(command=command)
            return objects.plan_objects(context, self.name, [tag], note)
        plan = objects.plan_objects(context, self.name, [tag, namespace])
        moves = reference(namespace) in {change.ref for change in plan.changes}
        return replace(plan, note=_CONTRADICTION) if moves else plan

    def apply(self, context: Context, plan: Plan) -> None:
        """Apply the tag, and the label once the new istiod answers for the tag."""
        tag, namespace = manifests(context)
        objects.apply_objects(context, plan, [tag])
        wait_for_tag(context, name_of(tag))
        label(context, plan, namespace)
        wait_for_revision(context, context.parameters.istio.revision)

    def verify(self, context: Context) -> Verification:
        """Prove whose sidecar a new pod would get."""
        if context.parameters.upgrade.strategy == "in-place":
            return Verification(self.name, note=IN_PLACE)
        tag, _ = manifests(context)
        istio, application = context.parameters.istio, context.parameters.application
        live = context.cluster.get(ADMISSION, tag["kind"], name_of(tag)) or {}
        namespace = context.cluster.get("v1", "Namespace", application.namespace) or {}
        behind = labels_of(live).get(REVISION_LABEL, "missing")
        asked = labels_of(namespace).get(REVISION_LABEL, "missing")
        named = context.parameters.upgrade.tag
        checks = [
            Check(f"tag {named}", f"revision {behind}", behind == istio.revision),
            Check(f"label {REVISION_LABEL}", asked, asked == named),
            injection.check_new_pod(context, injected=True),
            revision_check(context, istio.revision),
        ]
        return Verification(self.name, (table.of_checks("Who injects", checks),))


def label(context: Context, plan: Plan, namespace: Object) -> None:
    """Label the namespace as planned, once a person has taken a label of others away.

    Raises:
        WaitTimeout: They have not in time; the error repeats the command.
    """
    if command := by_hand(context, namespace):
        _wait_for_label(context, namespace, command)
    objects.apply_objects(context, plan, [namespace])


def wait_for_tag(context: Context, name: str) -> None:
    """Wait until istiod has given a tag's webhooks its certificate: without it they refuse pods.

    Raises:
        WaitTimeout: It has not in time.
    """

    def observe(found: list[Object]) -> State:
        hooks = [hook for item in found for hook in item.get("webhooks") or []]
        known = [hook for hook in hooks if hook["clientConfig"].get("caBundle")]
        text = f"{len(known)} of {len(hooks)} webhooks know istiod's certificate"
        return State(bool(hooks) and known == hooks, text)

    context.cluster.watch_until(
        "istiod to answer for the tag",
        ADMISSION,
        "MutatingWebhookConfiguration",
        None,
        observe,
        name=name,
        timeout=context.parameters.timeouts.istiod,
        on_change=context.waiting,
    )


def wait_for_revision(context: Context, revision: str) -> None:
    """Wait until API servers ask a revision about new pods: each keeps a copy of namespaces.

    Raises:
        WaitTimeout: They do not in time.
    """

    def observe() -> State:
        check = revision_check(context, revision)
        return State(check.ok is not False, f"{check.subject}: {check.found}")

    wait.until(
        f"new pods to get sidecars of revision {revision}",
        observe,
        timeout=context.parameters.timeouts.policy,
        successes=3,
        on_change=context.waiting,
    )


def revision_check(context: Context, revision: str) -> Check:
    """Look whether a new pod would get a revision's sidecar, by a dry run.

    A quota may refuse that alone: then it cannot be told.
    """
    subject = "revision of a new pod's sidecar"
    try:
        pod = injection.try_injection(context)
    except ClusterRefused as error:
        return Check(subject, f"cannot tell: {error.cause}", ok=None)
    found = annotations_of(pod).get(REVISION_LABEL, "none")
    return Check(subject, found, found == revision)


def manifests(context: Context) -> tuple[Object, Object]:
    """Return the tag's webhook, and the namespace with the label that asks by the tag.

    Args:
        context: Its parameters name the revision behind the tag.
    """
    tag = context.parameters.upgrade.tag
    webhook = tag_webhook(context, context.parameters, tag)
    return webhook, labelled_namespace(asking_by(context, tag).parameters)


def asking_by(context: Context, name: str) -> Context:
    """Return the same cluster with parameters that ask for sidecars by a revision or a tag."""
    istio = context.parameters.istio.model_copy(update={"revision": name})
    return replace(context, parameters=context.parameters.model_copy(update={"istio": istio}))


def by_hand(context: Context, namespace: Object) -> str:
    """Say how a person takes the other label away; empty where the runbook does, or there is none.

    Args:
        context: Where to look.
        namespace: As it is to be, with the one label that asks for sidecars.
    """
    ((key, value),) = labels_of(namespace).items()
    (other,) = {INJECTION_LABEL, REVISION_LABEL} - {key}
    if other not in labels_of(context.cluster.apply(namespace, dry_run=True)):
        return ""
    return f"kubectl label namespace {name_of(namespace)} {other}- {key}={value}"


def _wait_for_label(context: Context, namespace: Object, command: str) -> None:
    context.journal.record(ByHand(f"label the namespace: {command}"))

    def observe(found: list[Object]) -> State:
        labels = labels_of(found[0]) if found else {}
        asking = {key: labels[key] for key in (INJECTION_LABEL, REVISION_LABEL) if key in labels}
        done = asking == labels_of(namespace)
        return State(done, "labelled" if done else f"label it: {command}")

    context.cluster.watch_until(
        f"the label of namespace {name_of(namespace)}",
        "v1",
        "Namespace",
        None,
        observe,
        name=name_of(namespace),
        timeout=patience.rollout_limit(context),
        on_change=context.waiting,
    )
