"""Take the policies back: authorization at once, mutual TLS by way of PERMISSIVE."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from runbook_lib.base import RunbookError
from runbook_lib.chapters.policies import manifest
from runbook_lib.chapters.shared import RollbackStep, gone, objects, observe
from runbook_lib.cluster import Object, live_object, ownership, reference
from runbook_lib.lifecycle import Check, Context, Finding, Plan, Severity, Verification, table
from runbook_lib.mesh import dry_run, traffic
from runbook_lib.parameters import Parameters


class _RemoveAuthorization(RollbackStep):
    """Delete the AuthorizationPolicy and the DestinationRule."""

    name = "rollback-authorization"
    chapter = "05_authorization"
    title = "Allow every method again"
    why = "policies go before the sidecars that enforce them, so each effect can be seen"
    takes = "seconds"
    risk = "whoever reaches the site may use every method that the application offers"
    undo = "run 05_authorization again"

    def plan_removal(self, context: Context) -> Plan:
        return objects.plan_deletion(context, self.name, self._manifests(context))

    def dangers(self, context: Context, plan: Plan) -> Iterator[Finding]:
        policy = reference(self._manifests(context)[0])
        if policy in {change.ref for change in plan.changes}:
            yield from self._denied_by_others(context, policy)

    def remove(self, context: Context, plan: Plan) -> None:
        timeout = context.parameters.timeouts.policy
        objects.delete_objects(context, plan, self._manifests(context), timeout=timeout)
        self.traffic(context)

    def verify_removal(self, context: Context) -> Verification:
        checks = [gone(context, item) for item in self._manifests(context)]
        tables = table.of_checks("Objects", checks), self.traffic(context)
        return Verification(self.name, tables)

    @staticmethod
    def _manifests(context: Context) -> list[Object]:
        parameters = context.parameters
        methods = parameters.authorization.methods
        return [
            manifest.authorization_policy(parameters, {}, methods),
            manifest.destination_rule(parameters, ()),
            dry_run.access_log(parameters, {}),
        ]

    @staticmethod
    def _denied_by_others(context: Context, policy: str) -> Iterator[Finding]:
        """Find that the policy is what lets users in: one that allows something denies the rest."""
        parameters = context.parameters
        now = traffic.policies_in_force(context.cluster, parameters)
        left = tuple(p for p in now.authorization_policies if reference(p) != policy)
        without = replace(now, authorization_policies=left)
        others = ", ".join(reference(p) for p in traffic.enforced(without))
        if not now.in_mesh or not others:
            return
        try:
            before = traffic.expected_probes(parameters, now)
            after = traffic.expected_probes(parameters, without)
        except RunbookError as error:
            yield Finding(
                policy,
                f"what users can do without it is not known: {error.cause}",
                "these stay, and may deny what it allows: " + others,
                "look at these policies before you approve",
                severity=Severity.NOTE,
            )
            return
        cut = [
            f"{now.method} {now.path}"
            for own, now, then in zip(parameters.application.probes, before, after, strict=True)
            if now.expected.status == own.status != then.expected.status
        ]
        if cut:
            yield Finding(
                policy,
                f"without it users could no longer {', '.join(cut)}",
                "as soon as one policy allows something, all the rest is denied, and these stay: "
                + others,
                "ask their owners to allow what users need, and run this again",
            )


class _MakePermissive(RollbackStep):
    """Let every sidecar take plaintext again, by an explicit policy."""

    name = "rollback-permissive"
    chapter = "04_mutual_tls"
    title = "Accept plaintext in the whole mesh again"
    why = "PERMISSIVE is seen and proved like any policy, and taken back as fast; absence is not"
    takes = "seconds"
    risk = "none for users; callers in the cluster may use plaintext again"
    undo = "run 04_mutual_tls again"

    def plan_removal(self, context: Context) -> Plan:
        found = live_object(context.cluster, self._manifest(context))
        if found is None:
            return Plan(self.name, context.target.uid, note="There is no mesh-wide policy.")
        if not ownership.is_own(found):
            who = ownership.makers(found)
            note = f"{reference(found)} stays: {who} made it, not this runbook."
            return Plan(self.name, context.target.uid, note=note)
        return objects.plan_objects(context, self.name, [self._manifest(context)])

    def remove(self, context: Context, plan: Plan) -> None:
        objects.apply_objects(context, plan, [self._manifest(context)])
        self.modes(context)
        self.traffic(context)

    def verify_removal(self, context: Context) -> Verification:
        found = live_object(context.cluster, self._manifest(context))
        mode = ((found or {}).get("spec", {}).get("mtls") or {}).get("mode", "no policy")
        foreign = found is not None and not ownership.is_own(found)
        ok = None if foreign else mode != "STRICT"
        checks = [Check(f"mode of {reference(self._manifest(context))}", mode, ok)]
        tables = (
            table.of_checks("Policy", checks),
            observe.peer_authentication_table(context),
            self.modes(context),
            self.traffic(context),
        )
        return Verification(self.name, tables)

    @staticmethod
    def _manifest(context: Context) -> Object:
        return manifest.permissive_mutual_tls(context.parameters)


class _RemoveMutualTls(RollbackStep):
    """Delete the exception, then the mesh-wide policy."""

    name = "rollback-mutual-tls"
    chapter = "04_mutual_tls"
    title = "Delete the policies of mutual TLS"
    why = "the exception is needed for as long as the mesh is STRICT, so it goes only now"
    takes = "seconds"
    risk = "none while the mesh is PERMISSIVE: without policies that is the default"
    undo = "run 04_mutual_tls again"

    def plan_removal(self, context: Context) -> Plan:
        return objects.plan_deletion(context, self.name, self._manifests(context))

    def dangers(self, context: Context, plan: Plan) -> Iterator[Finding]:
        exception = reference(self._manifests(context)[0])
        if exception not in {change.ref for change in plan.changes}:
            return
        if strict := self._what_would_refuse(context):
            yield Finding(
                exception,
                f"without it {strict} would hold for the web port, which is STRICT",
                "the load balancer would be refused",
                "run the step before, which makes the mesh PERMISSIVE; policies of others are "
                "theirs to change",
            )

    def remove(self, context: Context, plan: Plan) -> None:
        timeout = context.parameters.timeouts.policy
        # One by one: each effect is proved before the next is caused.
        for item in self._manifests(context):
            objects.delete_objects(context, plan, [item], timeout=timeout)
            self.modes(context)
            self.traffic(context)

    def verify_removal(self, context: Context) -> Verification:
        checks = [gone(context, item) for item in self._manifests(context)]
        tables = (
            table.of_checks("Objects", checks),
            observe.peer_authentication_table(context),
            self.modes(context),
            self.traffic(context),
        )
        return Verification(self.name, tables)

    @staticmethod
    def _manifests(context: Context) -> list[Object]:
        parameters = context.parameters
        return [
            manifest.mutual_tls_exception(parameters, {}),
            manifest.strict_mutual_tls(parameters),
        ]

    def _what_would_refuse(self, context: Context) -> str:
        """Name the policies under which the port would be STRICT without the exception."""
        parameters = context.parameters
        policies = traffic.policies_in_force(context.cluster, parameters)
        exception = reference(self._manifests(context)[0])
        left = tuple(p for p in policies.peer_authentications if reference(p) != exception)
        without = replace(policies, peer_authentications=left)
        if not policies.in_mesh or traffic.port_mode(parameters, without) != "STRICT":
            return ""
        return ", ".join(
            reference(p)
            for p in left
            if ((p.get("spec") or {}).get("mtls") or {}).get("mode") == "STRICT"
        )


def authorization_steps(_parameters: Parameters) -> tuple[RollbackStep, ...]:
    """The step that takes the policy of methods back."""
    return (_RemoveAuthorization(),)


def mutual_tls_steps(_parameters: Parameters) -> tuple[RollbackStep, ...]:
    """The steps that take mutual TLS back, in order."""
    return _MakePermissive(), _RemoveMutualTls()
