"""Ask every step what it leaves in the cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from runbook_lib import chapters
from runbook_lib.cluster import Object, normalise, reference
from runbook_lib.export import secrets
from runbook_lib.lifecycle import Context, ExportedRelease


@dataclass(frozen=True)
class Left:
    """What one step leaves.

    Attributes:
        chapter: The notebook's id.
        step: The step's name.
        title: What the step does.
        objects: Its own objects.
        patches: Fields of objects of others.
        releases: Helm releases.
        by_hand: What people do in its place.
    """

    chapter: str
    step: str
    title: str
    objects: tuple[Object, ...]
    patches: tuple[Object, ...]
    releases: tuple[ExportedRelease, ...]
    by_hand: str


@dataclass(frozen=True)
class Exported:
    """What the whole runbook leaves.

    Attributes:
        steps: What each step leaves, in the order of the runbook; steps that leave nothing are not
            among them.
        left_out: What holds a secret, and so is in none of them.
    """

    steps: tuple[Left, ...]
    left_out: tuple[str, ...]

    @property
    def releases(self) -> Iterator[ExportedRelease]:
        """All releases, in the order in which they are installed."""
        return (release for left in self.steps for release in left.releases)


def collect(context: Context) -> Exported:
    """Return what the regular chapters leave in the cluster.

    It is the same before a run and after it. An object that several steps make is the first one's.

    Raises:
        Refused: What a step would leave cannot be known.
        RunbookError: A chart or a manifest cannot be read.
    """
    seen: set[str] = set()
    left_out: list[str] = []

    def kept(items: Sequence[Object]) -> Iterator[Object]:
        for item in items:
            name = reference(item)
            if name in seen:
                continue
            seen.add(name)
            if secrets.holds(item):
                left_out.append(name)
            else:
                yield normalise(item)

    # Both stories end in the same state; in the order of this one nobody is cut off meanwhile.
    parameters = context.parameters.model_copy(update={"story": "safe"})
    context = replace(context, parameters=parameters)
    steps = []
    for notebook in chapters.regular():
        for step in chapters.of(notebook, parameters):
            found = step.exports(context)
            releases = []
            for release in found.releases:
                safe, removed = secrets.without_secrets(release)
                releases.append(safe)
                left_out += [f"value {key} of Helm release {release.name}" for key in removed]
            left = Left(
                chapter=notebook,
                step=step.name,
                title=step.title,
                objects=tuple(kept(found.objects)),
                patches=tuple(kept(found.patches)),
                releases=tuple(releases),
                by_hand=found.by_hand,
            )
            if left.objects or left.patches or left.releases or left.by_hand:
                steps.append(left)
    return Exported(tuple(steps), tuple(left_out))
