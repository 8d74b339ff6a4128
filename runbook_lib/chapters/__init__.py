"""The chapters of the runbook: one declaration each, in the order of the story."""

from __future__ import annotations

from collections.abc import Sequence

from runbook_lib.base import ParameterError
from runbook_lib.chapters.autoscaling import rights as autoscaling_rights
from runbook_lib.chapters.autoscaling import rollback as autoscaling_rollback
from runbook_lib.chapters.autoscaling import steps as autoscaling
from runbook_lib.chapters.injection import rights as injection_rights
from runbook_lib.chapters.injection import rollback as injection_rollback
from runbook_lib.chapters.injection import steps as injection
from runbook_lib.chapters.install import rights as install_rights
from runbook_lib.chapters.install import rollback as install_rollback
from runbook_lib.chapters.install import steps as install
from runbook_lib.chapters.kiali import manifest as kiali_manifest
from runbook_lib.chapters.kiali import rights as kiali_rights
from runbook_lib.chapters.kiali import rollback as kiali_rollback
from runbook_lib.chapters.kiali import steps as kiali
from runbook_lib.chapters.leftovers import rights as leftovers_rights
from runbook_lib.chapters.leftovers import rollback as leftovers
from runbook_lib.chapters.policies import authorization, mutual_tls
from runbook_lib.chapters.policies import rights as policies_rights
from runbook_lib.chapters.policies import rollback as policies_rollback
from runbook_lib.chapters.shared import Chapter, RollbackStep, rights
from runbook_lib.chapters.shared.rights import (
    DRY_RUN,
    LOOKING,
    AccountRole,
    Right,
    merged,
    planned,
    tried,
)
from runbook_lib.chapters.upgrade import rights as upgrade_rights
from runbook_lib.chapters.upgrade import rollback as upgrade_rollback
from runbook_lib.chapters.upgrade import steps as upgrade
from runbook_lib.lifecycle import Step
from runbook_lib.parameters import Parameters


def way_back(parameters: Parameters) -> tuple[RollbackStep, ...]:
    """Return what takes the chapters back, the last one first, and then what they leave behind."""
    return tuple(step for stage in stages(parameters).values() for step in stage)


def stages(parameters: Parameters) -> dict[str, tuple[RollbackStep, ...]]:
    """Return the same by what is taken back: a chapter at a time, approved as one."""
    chapters = reversed(CHAPTERS.values())
    found = {c.id: c.way_back(parameters) for c in chapters if c.has_way_back}
    return {**found, "what-is-left": leftovers.steps(parameters)}


def _rights_back(parameters: Parameters) -> tuple[Right, ...]:
    taken_back = (right for c in CHAPTERS.values() for right in c.rights_back(parameters))
    return (*taken_back, *leftovers_rights.rights(parameters))


CHAPTERS = {
    chapter.id: chapter
    for chapter in (
        Chapter("00_start_here", "Start here: from a plain cluster to a locked-down mesh"),
        Chapter(
            "01_install_istio",
            "Install Istio",
            install.steps,
            install_rollback.steps,
            rights=install_rights.rights,
            rights_back=install_rights.rights_back,
        ),
        Chapter(
            "02_label_namespace",
            "Give the application its sidecars",
            injection.steps,
            injection_rollback.steps,
            rights=injection_rights.rights,
            rights_back=injection_rights.rights_back,
        ),
        Chapter(
            "03_autoscaling",
            "Make autoscalers scale out on time again",
            autoscaling.steps,
            autoscaling_rollback.steps,
            rights=autoscaling_rights.rights,
            rights_back=autoscaling_rights.rights_back,
        ),
        Chapter(
            "04_mutual_tls",
            "Require mutual TLS",
            mutual_tls.steps,
            policies_rollback.mutual_tls_steps,
            rights=policies_rights.mutual_tls,
            rights_back=policies_rights.mutual_tls_back,
        ),
        Chapter(
            "05_authorization",
            "Allow only some HTTP methods",
            authorization.steps,
            policies_rollback.authorization_steps,
            rights=policies_rights.authorization,
            rights_back=policies_rights.authorization_back,
        ),
        Chapter(
            "06_kiali",
            "See the mesh in Kiali",
            kiali.steps,
            kiali_rollback.steps,
            rights=kiali_rights.rights,
            rights_back=kiali_rights.rights_back,
        ),
        Chapter("07_troubleshoot", "Find out what is wrong, and what mends it"),
        Chapter(
            "08_upgrade",
            "Upgrade Istio",
            upgrade.steps,
            upgrade_rollback.steps,
            rights=upgrade_rights.rights,
            rights_back=upgrade_rights.rights_back,
            on_request=True,
        ),
        Chapter(
            "90_rollback",
            "Take everything back",
            way_back,
            stages=stages,
            rights=_rights_back,
            on_request=True,
        ),
    )
}
"""Every chapter by its id, in the order in which the notebooks are run."""


def regular() -> list[str]:
    """Return the notebooks that a run takes unless some are named, in order."""
    return [chapter.id for chapter in CHAPTERS.values() if not chapter.on_request]


def roles(parameters: Parameters) -> dict[str, AccountRole]:
    """Return what accounts need, by the role's name: for looking, for dry runs, and a chapter."""
    needed = {
        c.id: (*own, *rights.turns()) for c in CHAPTERS.values() if (own := c.rights(parameters))
    }
    dry_runs = tried(right for name in regular() for right in needed.get(name, ()))
    needed = {LOOKING: rights.looking(parameters), DRY_RUN: dry_runs, **needed}
    return {name: AccountRole(name, merged(every)) for name, every in needed.items()}


def needed(notebooks: Sequence[str], parameters: Parameters) -> tuple[AccountRole, ...]:
    """Return the roles that an account needs to run notebooks: in plan mode, to plan them."""
    every = roles(parameters)
    own = [every[notebook] for notebook in notebooks if notebook in every]
    if parameters.mode == "plan":
        dry_runs = tried(r for role in own if role.name in regular() for r in role.rights)
        way_back = [role for role in own if role.name not in regular()]
        own = [
            AccountRole(DRY_RUN, dry_runs),
            *(AccountRole(role.name, planned(role.rights)) for role in way_back),
        ]
    looking = (
        right
        for right in every[LOOKING].rights
        if not right.steps or not set(notebooks).isdisjoint(right.steps)
    )
    return (AccountRole(LOOKING, tuple(looking)), *own)


def of(notebook: str, parameters: Parameters) -> tuple[Step, ...]:
    """Return the steps of a notebook.

    Raises:
        ParameterError: There is no such notebook, or `rollback` names a chapter or a step that
            does not exist, or `kiali.spec` says what chapter 06 says otherwise: whichever notebook
            is run first says so.
    """
    if notebook not in CHAPTERS:
        raise ParameterError(
            f"there is no notebook {notebook!r}", f"choose one of: {', '.join(CHAPTERS)}"
        )
    _check_rollback(parameters)
    kiali_manifest.check_spec(parameters)
    return CHAPTERS[notebook].steps(parameters)


def kept() -> list[str]:
    """Return the chapters down to which can be rolled back: the last one that stays, in order."""
    # Back to the first chapter, before anything was changed, or to what one of the others made.
    first, *others = CHAPTERS.values()
    return [first.id, *(chapter.id for chapter in others if chapter.has_way_back)]


def _check_rollback(parameters: Parameters) -> None:
    given, places = parameters.rollback, kept()
    if given.keep not in places:
        raise ParameterError(
            f"rollback.keep: there is no chapter {given.keep} to go back to",
            f"choose from: {', '.join(places)}",
        )
    names = [step.name for step in way_back(parameters)]
    unknown = [name for name in given.leave_out if name not in names]
    if unknown:
        raise ParameterError(
            f"rollback.leave_out: there is no step {', '.join(unknown)}",
            f"choose from: {', '.join(names)}",
        )
