"""What notebooks import: one object with one call for each cell."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any

from runbook_lib import chapters as steps
from runbook_lib.base import RunbookError, wait
from runbook_lib.chapters.autoscaling import ScaleOut, autoscalers
from runbook_lib.chapters.autoscaling import steps as autoscaling
from runbook_lib.chapters.kiali import Login
from runbook_lib.chapters.kiali import access as kiali_access
from runbook_lib.chapters.kiali import login as kiali_login
from runbook_lib.chapters.shared import checks, interruptions, observe
from runbook_lib.cluster import Cluster
from runbook_lib.diagnosis import Diagnosis, Transcript, commands, health
from runbook_lib.diagnosis.diagnose import diagnose
from runbook_lib.lifecycle import (
    Context,
    Gate,
    LifeCycle,
    Plan,
    Record,
    Stage,
    Table,
    approvals,
    lease,
    person,
    record,
    runs,
    target,
)
from runbook_lib.lifecycle.permission import Permission, agreed_time
from runbook_lib.lifecycle.review import files
from runbook_lib.lifecycle.review.gate import REVIEW_VARIABLE, ReviewedGate
from runbook_lib.mesh import MeshMap
from runbook_lib.mesh import survey as mesh_survey
from runbook_lib.notebook import ahead, display, kernel, overview, timeline
from runbook_lib.notebook.asking import AskingGate
from runbook_lib.notebook.given import Given
from runbook_lib.notebook.overview import Overview
from runbook_lib.notebook.timeline import Timeline
from runbook_lib.notebook.waiting import WaitingView


class Runbook:
    """One notebook at work on one cluster.

    Attributes:
        notebook: The notebook's name.
        steps: The notebook's steps, in the order of the story.
        stages: The same in groups that are approved as one, in a notebook that has such.
    """

    def __init__(self, notebook: str, context: Context, seen: Sequence[ahead.Outlook] = ()) -> None:
        """Open the steps.

        Args:
            notebook: The notebook's name.
            context: Where they are taken.
            seen: What is in the way of steps, as was just looked at.
        """
        self.notebook = notebook
        self._context, self._seen = context, seen
        gate = _gate(context)
        if kernel.interactive():
            wait.shown_by(WaitingView(kernel.running_cell))
        opened: list[LifeCycle] = []
        stages: list[Stage] = []
        for about, taken in steps.CHAPTERS[notebook].stages(context.parameters).items():
            name, title = f"rollback-{about}", f"Take back {about.replace('-', ' ')}"
            stages.append(Stage(name, title, taken, context, gate, opened))
            opened += stages[-1].cycles
        if not stages:
            for step in steps.of(notebook, context.parameters):
                opened.append(LifeCycle(step, context, gate, opened))
        self.steps, self.stages = tuple(opened), tuple(stages)

    @staticmethod
    def parameters_form() -> None:
        """Show a form that writes a parameters file, where a person can fill it in.

        It asks nothing of any cluster before a context is chosen in it.
        """
        if kernel.interactive():
            from runbook_lib.notebook.views.parameters import ParametersForm

            ParametersForm().show()

    @classmethod
    def open(cls, notebook: str, variables: Mapping[str, Any]) -> Runbook:
        """Check the parameters, pin the cluster and show both. Nothing is changed.

        Args:
            notebook: The notebook's name, such as `04_mutual_tls`.
            variables: The notebook's `globals()`.

        Raises:
            ParameterError: The parameters are wrong.
            LabNotRunning: The lab named in them is not running.
            ClusterUnreachable: The cluster does not answer.
            TargetChanged: Earlier notebooks of the same run worked on another cluster.
            Refused: A run begins with this notebook, and something is in the way of its steps.
            LeaseHeld: A run begins with this notebook, and another one is at work.
        """
        display.register()
        given = Given(variables)
        parameters, origin = given.checked.parameters, given.checked.origin
        pinned = target.resolve(parameters)
        folder = runs.folder_of(notebook, pinned.uid)
        journal = runs.open_journal(folder, notebook)
        runs.pin_target(journal, pinned, parameters)
        kernel.meter(journal)
        print(display.headline(pinned, parameters, origin, folder))
        cluster = Cluster.of(pinned)
        context = Context(parameters, pinned, cluster, journal, given.refuse_if_changed)
        if parameters.mode == "plan":
            keep = partial(files.write, folder, notebook, parameters)
            context = replace(context, keep=keep)
        else:
            own = lease.of_run(cluster, parameters, journal.path, on_change=context.waiting)
            context = replace(context, lease=own)
        kernel.at_end(context, steps.of(notebook, parameters))
        begun = runs.begun_by(notebook)
        seen = ahead.refuse(context, begun)
        ahead.wait_for_others(context, begun)
        return cls(notebook, context, seen)

    def __repr__(self) -> str:
        return f"<runbook {self.notebook} on {self._context.target.name}>"

    @property
    def _record(self) -> Record:
        return record.of(self._context.journal.path)

    def overview(self) -> Overview:
        """The steps of all chapters: how far each is, what it costs and risks, how to undo it."""
        return overview.of(self._context, runs.default_root())

    def plan(self) -> Table:
        """What each stage of this notebook would do as things are; changes and records nothing."""
        rows = [
            (stage.subject.title, step, *_outlook_cells(found))
            for stage in self.stages
            for step, found in stage.outlook()
        ]
        columns = ("stage", "step", "what it would do now", "known only then")
        return Table.shown("The way back", columns, rows)

    def mesh(self) -> MeshMap:
        """The mesh now: who stands where, and what becomes of the traffic between."""
        return mesh_survey.survey(self._context, self._record.asked)

    def timeline(self) -> Timeline:
        """The answers from outside over this run, and the changes between."""
        return timeline.of(self._record)

    def interruptions(self) -> Table:
        """What was answered from outside while steps of a rollback were applied in this run."""
        return interruptions(self._record)

    def starting_point(self) -> Table:
        """Whether what the runbook takes for granted is there."""
        return checks.starting_point(self._context)

    def selections(self) -> Table:
        """Which pods the policies, the web Service and each workload select, and by what."""
        return checks.selections(self._context)

    def preflight(self) -> Table:
        """What is in the way of any step, and what to do about it."""
        seen, self._seen = self._seen, ()  # whoever asks again has mended something
        return ahead.table(self._context, seen)

    def tool_versions(self) -> Table:
        """The versions of kubectl, Helm, istioctl and the API server."""
        return checks.tool_versions(self._context)

    def precheck(self) -> Table:
        """What `istioctl x precheck` finds."""
        return checks.precheck(self._context)

    def namespace_labels(self) -> Table:
        """The labels of the application's namespace and of istiod's."""
        return checks.namespace_labels(self._context)

    def pods(self) -> Table:
        """The application's pods, their READY column, and where their sidecar is."""
        return observe.pod_table(self._context, self._context.parameters.application.namespace)

    def autoscalers(self) -> Table:
        """The application's autoscalers, what they look at, and what is in their way."""
        return autoscaling.autoscaler_table(self._context)

    def scale_out(self) -> ScaleOut:
        """The load at which each autoscaler scales out: without sidecars, with them, mended."""
        return autoscalers.survey(self._context)

    def remedies(self) -> Table:
        """What can be done about points that sidecars move, and its price."""
        return autoscaling.remedy_table(self._context)

    def traffic(self) -> Table:
        """The answers from outside, now, next to those that the policies imply."""
        return observe.look_at_traffic(self._context)

    def peer_authentications(self) -> Table:
        """The PeerAuthentications of all namespaces."""
        return observe.peer_authentication_table(self._context)

    def kiali(self) -> Table:
        """What there is of Kiali, and of what it reads."""
        return kiali_access.state_table(self._context)

    def kiali_login(self) -> Login | Table:
        """Where Kiali is and how to log in; with a person in front, buttons that show tokens."""
        if kernel.interactive():
            return kiali_login.of(self._context)
        return kiali_access.ways_in(self._context)

    def authorization_policies(self) -> Table:
        """The AuthorizationPolicies of all namespaces."""
        return observe.authorization_policy_table(self._context)

    def diagnose(self) -> Diagnosis:
        """What is wrong with the mesh, why, and what mends it; changes nothing."""
        return diagnose(self._context)

    def health(self) -> Table:
        """A diagnosis in short: whether a cause was found in each area."""
        return health(diagnose(self._context))

    def proxy_status(self) -> Transcript:
        """What `istioctl proxy-status` says."""
        return commands.proxy_status(self._context)

    def describe_pod(self) -> Transcript:
        """What `istioctl x describe pod` says about the web pod."""
        return commands.describe_pod(self._context)

    def listeners(self) -> Transcript:
        """What `istioctl proxy-config listeners` says about the web pod."""
        return commands.listeners(self._context)

    def authz_check(self) -> Transcript:
        """What `istioctl x authz check` says about the web pod."""
        return commands.authz_check(self._context)

    def proxy_log(self) -> Transcript:
        """The last lines of the web pod's proxy."""
        return commands.proxy_log(self._context)

    def get_peer_authentications(self) -> Transcript:
        """What `kubectl get peerauthentication --all-namespaces` says."""
        return commands.peer_authentications(self._context)

    def get_destination_rules(self) -> Transcript:
        """What `kubectl get destinationrule --all-namespaces` says."""
        return commands.destination_rules(self._context)


def _gate(context: Context) -> Gate:
    """Return who decides: what was reviewed, else the person in front, else the operator."""
    folder = context.journal.path.parent
    rules, who = context.parameters.approval, cache(partial(person, context.cluster))
    timed = Permission(rules, context.target.production).depends_on_time
    now = partial(agreed_time, context.cluster) if timed else partial(datetime.now, UTC)
    if reviewed := os.environ.get(REVIEW_VARIABLE, "").strip():
        review = files.read(Path(reviewed))
        return ReviewedGate(
            context.target, approvals.KERNEL, review, folder, rules=rules, person=who, now=now
        )
    kind = AskingGate if kernel.interactive() else Gate
    return kind(context.target, approvals.KERNEL, rules=rules, person=who, now=now)


def _outlook_cells(found: Plan | RunbookError) -> tuple[str, str]:
    if isinstance(found, RunbookError):
        return "cannot tell yet", found.cause
    return found.summary, "; ".join(found.unpredictable) or "-"
