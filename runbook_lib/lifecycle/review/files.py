"""The plans of a run as files in its folder, for people to review and a later run to hold to."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from runbook_lib.base import Event, Journal, NotApproved, ParameterError, redact_value
from runbook_lib.base import journal as journals
from runbook_lib.lifecycle.operators import Person
from runbook_lib.lifecycle.permission import Permission
from runbook_lib.lifecycle.plan import Change, Content, Plan, Unknown, of_json
from runbook_lib.lifecycle.review.comparing import ReviewedChange, ReviewedPlan
from runbook_lib.lifecycle.review.sealing import sealed
from runbook_lib.parameters import Parameters

FOLDER = "plans"
"""In a run's folder: a file a plan, `<notebook>.<step>.json`."""

APPROVALS = "approvals.jsonl"
"""In the same folder: who has approved these plans besides whoever carries them out."""

_SCHEMA = 1


@dataclass(frozen=True)
class ReviewApproved(Event, name="review-approved"):
    """The plans with this digest were approved, by this account of the cluster, called so here."""

    digest: str
    account: str
    name_given: str


@dataclass(frozen=True)
class Conditions:
    """What a plan depends on besides the cluster.

    Attributes:
        runbook: The runbook's version.
        parameters: Digest of all parameters.
    """

    runbook: str
    parameters: str

    @classmethod
    def of(cls, parameters: Parameters) -> Conditions:
        """The conditions now.

        Neither the mode nor the way to the cluster is among them: two people, or a person and a
        pipeline, come by kubeconfigs of their own. Which cluster it is, its UID says.
        """
        given = parameters.model_dump(mode="json", exclude={"mode": True})
        for way in ("kubeconfig", "context", "lab"):
            given["target"].pop(way)
        return cls(metadata.version("istio-runbook"), of_json(given))


@dataclass(frozen=True)
class Review:
    """All plans that a run has shown.

    Attributes:
        run: The run's name.
        plans: By notebook and step.
        conditions: What they depend on.
        made: When the last of them was made, in UTC.
        approvals: By whom they were approved, whatever the plans were then.
    """

    run: str
    plans: dict[tuple[str, str], ReviewedPlan]
    conditions: Conditions
    made: datetime
    approvals: tuple[ReviewApproved, ...] = ()

    @property
    def clusters(self) -> frozenset[str]:
        """The UIDs of the clusters that the plans are for: one, unless somebody mixed them."""
        return frozenset(plan.target_uid for plan in self.plans.values())

    @property
    def approved_by(self) -> frozenset[str]:
        """The accounts that have approved exactly these plans; each counts once."""
        return frozenset(each.account for each in self.approvals if each.digest == self.digest)

    @property
    def digest(self) -> str:
        """SHA-256 over all plans: what one person approves is what another one does."""
        return of_json(sorted([*key, plan.digest] for key, plan in self.plans.items()))

    def require(self, parameters: Parameters) -> None:
        """Check that what the plans depend on is the same, and that they are not too old.

        Raises:
            NotApproved: It is not.
        """
        now = Conditions.of(parameters)
        if now.runbook != self.conditions.runbook:
            raise NotApproved(
                f"run {self.run} was planned by version {self.conditions.runbook} of the runbook, "
                f"and this is {now.runbook}",
                "nothing was touched; plan again with this version, and have that reviewed",
            )
        if now.parameters != self.conditions.parameters:
            raise NotApproved(
                f"the parameters are not those with which run {self.run} was planned",
                "nothing was touched; give the same file and options, or plan and review again",
            )
        Permission(parameters.approval).require_fresh(self.made, datetime.now(UTC))


def write(folder: Path, notebook: str, parameters: Parameters, plan: Plan) -> None:
    """Write a plan that is shown.

    Args:
        folder: The run's.
        notebook: Whose plan it is.
        parameters: The run's.
        plan: The plan.
    """
    salt = secrets.token_hex(16)
    data = {
        "schema": _SCHEMA,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        **asdict(Conditions.of(parameters)),
        "notebook": notebook,
        "step": plan.step,
        "digest": plan.digest,
        "cluster": plan.target_uid,
        "summary": redact_value(plan.summary),
        "changes": [_written(change, salt) for change in plan.changes],
        "unpredictable": redact_value(plan.unpredictable),
        "interruptions": [each.key for each in plan.interruptions],
        "salt": salt,
    }
    path = folder / FOLDER / f"{notebook}.{plan.step}.json"
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.touch(0o600)
    path.write_text(json.dumps(data, indent=1, default=str) + "\n", encoding="utf-8")


def read(folder: Path) -> Review:
    """Read the plans of a run.

    Raises:
        ParameterError: There are none, or they cannot be read.
    """
    files = sorted((folder / FOLDER).glob("*.json"))
    if not files:
        raise ParameterError(
            f"{folder} holds no plans to approve",
            "name the folder of a run of plan, such as runs/20260102T030405Z",
        )
    try:
        found = [json.loads(file.read_text(encoding="utf-8")) for file in files]
        plans = {(each["notebook"], each["step"]): _read(each) for each in found}
        conditions = {Conditions(each["runbook"], each["parameters"]) for each in found}
        made = max(datetime.fromisoformat(each["made"]) for each in found)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ParameterError(f"the plans of {folder} cannot be read: {error}") from error
    if len(conditions) != 1:
        raise ParameterError(
            f"the plans of {folder} were made under several conditions", "plan again"
        )
    recorded = journals.read(folder / APPROVALS).entries
    approvals = tuple(e.event for e in recorded if isinstance(e.event, ReviewApproved))
    return Review(folder.name, plans, conditions.pop(), made, approvals)


def approve(folder: Path, person: Person) -> Review:
    """Record that somebody approves the plans of a run, and return the review with that.

    Args:
        folder: The run's.
        person: Whose credentials were shown to the cluster.

    Raises:
        NotApproved: The cluster does not say who that is.
        ParameterError: There are no plans.
    """
    review = read(folder)
    if not person.account:
        raise NotApproved(
            "the cluster does not say whose account this is, so it cannot count as a person",
            "it does since Kubernetes 1.28, see: kubectl auth whoami",
        )
    journal = Journal(folder / APPROVALS, run=folder.name)
    journal.record(ReviewApproved(review.digest, person.account, person.name))
    return read(folder)


def _written(change: Change, salt: str) -> dict[str, Any]:
    content = change.content
    states = (
        {"before": sealed(content.before, salt), "after": sealed(content.after, salt)}
        if content is not None
        else None
    )
    return {
        "ref": change.ref,
        "action": change.action,
        "text": redact_value(change.text),
        "digest": change.digest,
        "content": states,
        "unknown": [each.name for each in change.unknown],
    }


def _read(data: dict[str, Any]) -> ReviewedPlan:
    return ReviewedPlan(
        data["notebook"],
        data["step"],
        data["digest"],
        data["cluster"],
        tuple(
            ReviewedChange(
                each["ref"],
                each["action"],
                each["text"],
                each["digest"],
                Content(**each["content"]) if each["content"] else None,
                tuple(Unknown[name] for name in each["unknown"]),
            )
            for each in data["changes"]
        ),
        tuple(data["unpredictable"]),
        tuple(tuple(each) for each in data["interruptions"]),
        data["salt"],
    )
