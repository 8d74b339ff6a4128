"""Steps that set an object, and put it back as it was where they fail."""

from __future__ import annotations

import hashlib
import json
import shlex
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace

from runbook_lib.base import RunbookError
from runbook_lib.chapters.shared import dicom, objects, observe
from runbook_lib.cluster import (
    FIELD_MANAGER,
    Object,
    live_object,
    merged,
    normalise,
    ownership,
    reference,
    without_fields,
)
from runbook_lib.lifecycle import (
    Before,
    Check,
    Context,
    Exports,
    Former,
    Plan,
    Revertible,
    Table,
    Verification,
    table,
)


class RevertibleStep(Revertible):
    """Sets objects; where it fails they go back, unless others have changed them since."""

    @abstractmethod
    def manifests(self, context: Context) -> Sequence[Object]:
        """What is to be there, in the order in which it is applied."""

    def exports(self, context: Context) -> Exports:
        """Return the step's objects as its own."""
        return Exports(objects=tuple(self.manifests(context)))

    def effects(self, context: Context) -> Iterator[Table]:
        """Prove what follows from the policies in force, whichever these are.

        Raises:
            RunbookError: It could not be proved in time.
        """
        yield observe.prove_traffic(context)
        yield from dicom.prove(context)

    def part(self, item: Object | None) -> Object | None:
        """Return what of an object is this step's to put back; None if there is no such thing."""
        return normalise(item) if item is not None else None

    def command(self, context: Context, item: Object, manifest: Object | None) -> str:
        """Return the line for a shell that puts an object back.

        Args:
            context: Where.
            item: A manifest that names the object.
            manifest: As it was; None if there was none.
        """
        if manifest is not None:
            apply = ("apply", "--server-side", f"--field-manager={FIELD_MANAGER}", "--filename=-")
            return f"printf %s {shlex.quote(json.dumps(manifest))} | {kubectl(context, *apply)}"
        group = item["apiVersion"].rpartition("/")[0]
        kind, metadata = f"{item['kind'].lower()}.{group}", item["metadata"]
        where = ("--namespace", metadata["namespace"], "--ignore-not-found")
        return kubectl(context, "delete", kind, metadata["name"], *where)

    def before(self, context: Context, plan: Plan) -> Before:
        """Return what the plan's objects are now, and whether the site is as the policies say."""
        changing = {change.ref for change in plan.lasting}
        found = [item for item in self.manifests(context) if reference(item) in changing]
        try:
            served = all(each.ok for each in self._look(context))
        except RunbookError:  # a policy of others that cannot be judged
            served = False
        return Before(tuple(self._former(context, item) for item in found), served)

    def refuse_changed(self, context: Context, before: Before) -> None:
        """Look whether each object is as this step made it, or as it was.

        Raises:
            RunbookError: One is not.
        """
        for former in before.objects:
            self._to_restore(context, former)

    def restore(self, context: Context, before: Before) -> None:
        """Put the objects back: delete those that were not there, apply the others as they were.

        Raises:
            RunbookError: One is not as this step made it.
        """
        for former in reversed(before.objects):
            live = self._to_restore(context, former)
            if live is None:
                continue
            # From here on the API server sees to it that no one else changes it in between.
            only = {key: live["metadata"][key] for key in ("uid", "resourceVersion")}
            if former.manifest is not None:
                context.cluster.apply(merged(former.manifest, {"metadata": only}))
                continue
            where = former.item["metadata"]
            place = (former.item["apiVersion"], former.item["kind"], where["name"])
            context.cluster.delete(*place, where["namespace"], only=only)
            limit = context.parameters.timeouts.policy
            objects.wait_until_gone(context, former.item, timeout=limit)

    def verify_restored(self, context: Context, before: Before) -> Verification:
        """Prove that the objects are as they were, and by that the site, if it was right before.

        Raises:
            RunbookError: It could not be proved in time.
        """
        if before.served:
            seen = tuple(self.effects(context))
        else:
            seen = tuple(replace(each, counts=False) for each in self._look(context))
        checks = []
        for former in before.objects:
            same = self.part(live_object(context.cluster, former.item)) == former.manifest
            checks.append(Check(former.ref, "as before" if same else "not as before", same))
        return Verification(self.name, (table.of_checks("Taken back", checks), *seen))

    def _to_restore(self, context: Context, former: Former) -> Object | None:
        """Return the object as this step made it; None if it is as it was."""
        live = live_object(context.cluster, former.item)
        if self.part(live) == former.manifest:
            return None
        if live is None or _digest(self.part(live)) != former.planned:
            raise RunbookError(f"others have changed {former.ref} since")
        if former.manifest is None and (others := ownership.changed_by(live)):
            raise RunbookError(f"{', '.join(others)} manages fields of {former.ref} as well")
        return live

    @staticmethod
    def _look(context: Context) -> tuple[Table, ...]:
        return observe.look_at_traffic(context), *dicom.look(context)

    def _former(self, context: Context, item: Object) -> Former:
        desired = self.part(context.cluster.apply(item, dry_run=True))
        was = self.part(live_object(context.cluster, item))
        command = self.command(context, item, was)
        return Former(reference(item), without_fields(item), was, _digest(desired), command)


def kubectl(context: Context, *arguments: str) -> str:
    """Return a command line of kubectl for a shell, bound to the cluster of this run."""
    return context.target.kubeconfig.kubectl(context.target.context, *arguments)


def _digest(item: Object | None) -> str:
    return hashlib.sha256(json.dumps(item, sort_keys=True).encode()).hexdigest()
