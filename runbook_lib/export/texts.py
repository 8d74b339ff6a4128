"""The files of an export, as text: equal clusters and parameters give equal files."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence

from runbook_lib.cluster import Object, canonical_yaml, reference
from runbook_lib.export.collecting import Exported, Left
from runbook_lib.lifecycle import ExportedRelease

MANIFESTS, PATCHES, VALUES = "manifests", "patches", "values"

_KUSTOMIZATION = "kustomization.yaml"

_INTRODUCTION = """\
Written by `istio-runbook export`. A second export of the same parameters and cluster changes no
file, and once the runbook has run, nothing here differs from the cluster:
"""

_ORDER = """\
Where the runbook has run, the order is of no account. Elsewhere keep it: mutual TLS that is
required before pods have their sidecars cuts the application off from its database.
"""

_PATCHES = """\
The patches add fields to objects that others keep, such as the application's chart. Best state
the fields there, and take `patches` out of `kustomization.yaml`: then nothing sets them back, and
no `helm upgrade` of the application stops at a conflict over them. `--force-conflicts` takes the
fields from whoever states something else, and has no effect where all say the same.
"""

_REMAINDER = """\
Steps that only ask or prove, such as calls from pods and the dry run, leave nothing. What Kiali's
operator makes of its resource is the operator's.
"""

_SECRETS = """\
These hold secrets, which have no place in Git. Give them in a second `--values` file, in a Secret
of your own, or by what your tool encrypts secrets with:
"""


def files(exported: Exported) -> dict[str, str]:
    """Return the text of every file, by its path in the folder."""
    result = {_of(VALUES, each.name): _values(each) for each in exported.releases}
    patches = {left.step: _manifest(left, left.patches) for left in exported.steps if left.patches}
    objects = {left.step: _manifest(left, left.objects) for left in exported.steps if left.objects}
    folders = {PATCHES: patches, MANIFESTS: objects}
    for folder, texts in folders.items():
        result |= {_of(folder, step): text for step, text in texts.items()}
        result[f"{folder}/{_KUSTOMIZATION}"] = _kustomization(f"{step}.yaml" for step in texts)
    result[_KUSTOMIZATION] = _kustomization(folders)
    result["README.md"] = _readme(exported)
    return result


def _of(folder: str, name: str) -> str:
    return f"{folder}/{name}.yaml"


def _manifest(left: Left, objects: Sequence[Object]) -> str:
    heading = f"# {left.title}\n# Step {left.step} of {left.chapter}.\n"
    return heading + "---\n".join(map(canonical_yaml, objects))


def _values(release: ExportedRelease) -> str:
    heading = f"# Values of Helm release {release.name} in namespace {release.namespace}\n"
    return heading + canonical_yaml(dict(release.values))


def _kustomization(resources: Iterable[str]) -> str:
    lines = ["apiVersion: kustomize.config.k8s.io/v1beta1", "kind: Kustomization", "resources:"]
    return "\n".join([*lines, *(f"  - {path}" for path in resources), ""])


def _readme(exported: Exported) -> str:
    by_hand = [left.by_hand for left in exported.steps if left.by_hand]
    parts = [
        "# What the Istio runbook leaves in the cluster",
        _INTRODUCTION,
        _fenced(["kubectl diff --server-side --force-conflicts --kustomize ."]),
        "## Order",
        _ORDER,
        "### 1. Helm releases",
        _releases(list(exported.releases)),
        _fenced(map(_command, exported.releases)),
        "### 2. Patches",
        _PATCHES,
        _fenced([f"kubectl apply --server-side --force-conflicts --kustomize {PATCHES}"]),
        "### 3. By hand",
        *(textwrap.fill(each, 100, break_on_hyphens=False) for each in by_hand or ["Nothing."]),
        "### 4. Manifests",
        _fenced([f"kubectl apply --server-side --kustomize {MANIFESTS}"]),
        "## Files",
        "\n".join(_table(exported)),
        "## Left out",
        _REMAINDER,
        *([_SECRETS, "\n".join(f"- {x}" for x in exported.left_out)] if exported.left_out else []),
    ]
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def _releases(releases: Sequence[ExportedRelease]) -> str:
    rows = [
        f"| {each.name} | {each.namespace} | {each.chart} | {each.version} | "
        f"{each.repository or 'brought by the lab: CHART is its folder'} |"
        for each in releases
    ]
    heading = ["| release | namespace | chart | version | repository |", "|---|---|---|---|---|"]
    return "\n".join([*heading, *rows])


def _command(release: ExportedRelease) -> str:
    """The command that installs a release."""
    if release.repository is None:
        source = "CHART"
    else:
        source = f"{release.chart} --repo {release.repository} --version {release.version}"
    return (
        f"helm upgrade --install {release.name} {source} --namespace {release.namespace} "
        f"--create-namespace --values {_of(VALUES, release.name)}"
    )


def _table(exported: Exported) -> Iterator[str]:
    yield "| file | step | what it does | objects |"
    yield "|---|---|---|---|"
    for left in exported.steps:
        step = f"{left.step} ({left.chapter})"
        for release in left.releases:
            yield f"| {_of(VALUES, release.name)} | {step} | {left.title} | the release's values |"
        for folder, items in ((MANIFESTS, left.objects), (PATCHES, left.patches)):
            if items:
                names = ", ".join(map(reference, items))
                yield f"| {_of(folder, left.step)} | {step} | {left.title} | {names} |"


def _fenced(lines: Iterable[str]) -> str:
    return "\n".join(["```sh", *lines, "```"])
