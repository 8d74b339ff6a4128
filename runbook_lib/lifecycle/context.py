"""What a step works with: one pinned cluster and the tools for it."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from runbook_lib.base import Journal
from runbook_lib.cluster import Cluster, snapshot
from runbook_lib.lifecycle.events import Waiting
from runbook_lib.lifecycle.lease import Lease
from runbook_lib.lifecycle.plan import Plan
from runbook_lib.lifecycle.target import Target
from runbook_lib.parameters import Parameters
from runbook_lib.tools import Helm, Istioctl, Tools, port_forward
from runbook_lib.tools import programs as command_line_tools

if TYPE_CHECKING:
    from runbook_lib.tools.aws import Account


@dataclass(frozen=True)
class Context:
    """Everything that steps share in one kernel.

    Attributes:
        parameters: The run's parameters.
        target: The cluster, pinned.
        cluster: Access to it.
        journal: The run's, for events of the notebook (in a step's own context, of the step).
        refuse_if_changed: Raises `ParameterError` where a person changed the parameters meanwhile.
        keep: Told of each plan that is shown, so that it can be reviewed.
        lease: What every change needs, so that runs take turns; None where nothing is changed.
        comparing: Whether objects are only compared with what they should be: then plans show how
            they differ where otherwise they refuse, because others manage what would change.
    """

    parameters: Parameters
    target: Target
    cluster: Cluster
    journal: Journal
    refuse_if_changed: Callable[[], None] = field(default=lambda: None, compare=False)
    keep: Callable[[Plan], None] = field(default=lambda _plan: None, compare=False)
    lease: Lease | None = field(default=None, compare=False)
    comparing: bool = False

    @classmethod
    def unrecorded(cls, parameters: Parameters, target: Target, run: str) -> Context:
        """What it takes to look at a cluster where nothing is recorded.

        Args:
            parameters: Where to look, and for what.
            target: The cluster.
            run: What looks, such as `diagnose`.
        """
        nowhere = Journal(Path(os.devnull), run=run)
        return cls(parameters, target, Cluster.of(target), nowhere)

    def at_one_moment(self) -> Context:
        """The same for one look at the cluster: see `cluster.snapshot`."""
        return replace(self, cluster=snapshot(self.cluster))

    @cached_property
    def tools(self) -> Tools:
        """kubectl, helm and istioctl."""
        return command_line_tools.find(self.target.tools)

    @cached_property
    def helm(self) -> Helm:
        """Helm on the pinned cluster."""
        target = self.target
        return Helm(self.tools.helm, kubeconfig=target.kubeconfig, context=target.context)

    @cached_property
    def istioctl(self) -> Istioctl:
        """Istioctl on the pinned cluster."""
        return Istioctl(
            self.tools.istioctl,
            kubeconfig=self.target.kubeconfig,
            context=self.target.context,
            istio_namespace=self.parameters.istio.namespace,
        )

    @cached_property
    def aws(self) -> Account | None:
        """The cluster's AWS account, read-only; None where the parameters do not ask for it."""
        given = self.parameters.target.aws
        if given is None:
            return None
        from runbook_lib.tools.aws import Account

        return Account(self.target.server, given.region, given.profile, given.cluster)

    def forwarded(
        self, to: str, namespace: str, *ports: int
    ) -> AbstractContextManager[tuple[str, ...]]:
        """URLs on this machine that lead to ports of one pod, for as long as it is entered.

        Args:
            to: The pod, or a Service that has it behind it, such as `service/kiali`.
            namespace: Where it is.
            ports: Ports of that pod or Service.
        """
        return port_forward.forwarded(
            self.tools.kubectl,
            self.target.kubeconfig,
            self.target.context,
            namespace=namespace,
            to=to,
            ports=ports,
            timeout=self.parameters.timeouts.probe,
        )

    @property
    def verify_tls(self) -> bool | Path:
        """How probes verify the application's certificate."""
        application = self.parameters.application
        return application.ca_file or application.verify_tls

    def alone(self) -> AbstractContextManager[None]:
        """Keep other runs from changing this cluster within the block.

        Raises:
            LeaseHeld: Another run changes it.
        """
        return self.lease.held() if self.lease is not None else nullcontext()

    def waiting(self, text: str) -> None:
        """Record the current state of what is being waited for."""
        self.journal.record(Waiting(text))
