"""Helm, command for command; names and options are those of the command line (Helm 4)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from runbook_lib.base import CommandError, Completed, RunbookError, run
from runbook_lib.base.yaml_source import SAFE_LOADER
from runbook_lib.cluster import Kubeconfig, Object
from runbook_lib.tools import answers, releases
from runbook_lib.tools.releases import Chart, Release

_NO_CHART = (
    "cannot be reached",
    "dial tcp",
    "failed to fetch",
    "not found in",
    "no chart version found",
    "x509:",
    "i/o timeout",
    "unauthorized",
    "denied",
)
"""What Helm 4 says when it gets no chart; the cluster is not asked for these commands."""

_REMEMBERED = 8
"""Texts of charts and releases that stay parsed: plans read the same ones again."""

_rendered: dict[tuple[str, ...], str] = {}
"""What charts made of values, by everything that this depends on."""

_READ_TIMEOUT = 60.0
_NETWORK_MARGIN = 60.0
"""Seconds that a command may take beyond the wait that Helm itself limits."""


class Helm:
    """Helm on one cluster. Every method raises `CommandError` when Helm fails."""

    def __init__(self, helm: Path, *, kubeconfig: Kubeconfig, context: str) -> None:
        """Nothing is run yet.

        Args:
            helm: The program.
            kubeconfig: Passed to every command, with `context`.
            context: The context in it.
        """
        self._kubeconfig, self._context = kubeconfig, context
        self._program = kubeconfig.calling(helm)
        self._cluster_options = ("--kube-context", context)

    def cli(
        self, *arguments: str, timeout: float = _READ_TIMEOUT, input: str | None = None
    ) -> Completed:
        """Run any Helm command against the cluster."""
        with answers.explained(self._kubeconfig, self._context):
            return run(
                [*self._program, *arguments, *self._cluster_options, "--color", "never"],
                timeout=timeout,
                input=input,
            )

    def get_manifest(
        self, release: str, *, namespace: str, revision: int | None = None
    ) -> list[Object]:
        """Return the objects of a release, or of one revision, as they were rendered."""
        arguments = ["get", "manifest", release, "--namespace", namespace]
        return _documents(self.cli(*arguments, *_revision(revision)).stdout)

    def get_values(
        self, release: str, *, namespace: str, revision: int | None = None
    ) -> dict[str, Any]:
        """Return the values given to a release, or to one revision of it."""
        arguments = ["get", "values", release, "--namespace", namespace, "--output", "json"]
        return json.loads(self.cli(*arguments, *_revision(revision)).stdout) or {}

    def get_labels(self, release: str, *, namespace: str) -> dict[str, str]:
        """Return the labels of a release, Helm's own included; none if there is no release."""
        return self._metadata(release, namespace).get("labels") or {}

    def applies_server_side(self, release: str, *, namespace: str) -> bool:
        """Whether Helm goes on applying a release's objects on the server's side.

        So it does with what it installed so, as Helm 4 does. There, fields that others manage are
        conflicts.
        """
        return self._metadata(release, namespace).get("applyMethod") == "ssa"

    def history(self, release: str, *, namespace: str) -> list[Release]:
        """Return the revisions of a release, oldest first; none if there is no such release."""
        arguments = ["history", release, "--namespace", namespace, "--output", "json"]
        try:
            entries = json.loads(self.cli(*arguments).stdout)
        except CommandError as error:
            if _not_found(error):
                return []
            raise
        return [
            releases.of_history({**entry, "name": release, "namespace": namespace})
            for entry in entries
        ]

    def show_chart(self, chart: Chart) -> dict[str, Any]:
        """Return a chart's `Chart.yaml`, such as to learn which version is the newest."""
        with _fetching(chart):
            output = self.cli("show", "chart", *chart.arguments()).stdout
        found: dict[str, Any] = yaml.safe_load(output)
        return found

    def show_crds(self, chart: Chart) -> list[Object]:
        """Return the kinds in a chart's folder `crds`; Helm installs them and never changes them.

        Kinds among a chart's templates are not in it.
        """
        with _fetching(chart):
            output = self.cli("show", "crds", *chart.arguments()).stdout
        return _documents(output)

    def rollback(
        self,
        release: str,
        revision: int,
        *,
        namespace: str,
        timeout: float,
        force_conflicts: bool = False,
    ) -> None:
        """Apply a revision once more, as a new one; does not wait for workloads.

        Unlike `helm upgrade` it works in every state, also where `revision` is the last one: then
        it completes what was begun, and removes nothing. Seen in `pkg/action/rollback.go` of Helm
        4.2, which asks for no state and compares the last revision's objects with `revision`'s.

        Args:
            release: The release's name.
            revision: What to apply.
            namespace: Where.
            timeout: Seconds that Helm may take.
            force_conflicts: Take over fields that others manage; only where Helm
                `applies_server_side`.
        """
        self.cli(
            "rollback",
            release,
            str(revision),
            "--namespace",
            namespace,
            "--wait=hookOnly",
            "--timeout",
            _duration(timeout),
            *(["--force-conflicts"] if force_conflicts else []),
            timeout=timeout + _NETWORK_MARGIN,
        )

    def status(self, release: str, *, namespace: str) -> Release | None:
        """Return the release's last revision; None if there is no such release."""
        history = self.history(release, namespace=namespace)
        if not history or history[-1].status == "uninstalled":
            return None
        last = history[-1]
        if last.status == "uninstalling":
            # The history goes on saying when it was installed.
            output = self.cli("status", release, "--namespace", namespace, "--output", "json")
            deleted = json.loads(output.stdout)["info"].get("deleted", "")
            return replace(last, since=releases.moment(deleted))
        return last

    def template(
        self,
        release: str,
        chart: Chart,
        *,
        namespace: str,
        values: Mapping[str, Any],
        kube_version: str | None = None,
    ) -> list[Object]:
        """Render a chart's objects, CRDs included, without asking the cluster.

        The same chart with the same values is rendered once in a process.

        Args:
            release: The release's name.
            chart: What to render.
            namespace: The release's namespace.
            values: All values that differ from the chart's.
            kube_version: The API server's version, which charts may ask for; None for the newest
                that Helm knows.
        """
        options = ["--kube-version", kube_version] if kube_version else []
        place = [release, *chart.arguments(), "--namespace", namespace]
        arguments = ["template", *place, "--include-crds", *options, "--values", "-"]
        given = yaml.safe_dump(dict(values))
        key = (*arguments, given, *chart.state) if chart.state else None
        if key is None or key not in _rendered:
            with _fetching(chart):
                done = self.cli(*arguments, timeout=_READ_TIMEOUT + _NETWORK_MARGIN, input=given)
            if key is None:
                return _documents(done.stdout)
            _rendered[key] = done.stdout
        return _documents(_rendered[key])

    def uninstall(self, release: str, *, namespace: str, timeout: float) -> None:
        """Remove a release and wait until its objects are gone; fine if there is none.

        CRDs stay: Helm never removes what a chart keeps in `crds/` or marks to be kept.
        """
        self.cli(
            "uninstall",
            release,
            "--namespace",
            namespace,
            "--ignore-not-found",
            "--wait",
            "--timeout",
            _duration(timeout),
            timeout=timeout + _NETWORK_MARGIN,
        )

    def upgrade_install(
        self,
        release: str,
        chart: Chart,
        *,
        namespace: str,
        values: Mapping[str, Any],
        timeout: float,
        labels: Mapping[str, str] | None = None,
        force_conflicts: bool = False,
    ) -> Release:
        """Install a release, or bring it to these values.

        Does not wait for workloads: the step does, which can say what it waits for and why.

        Args:
            release: The release's name.
            chart: What to install.
            namespace: Where.
            values: All values that differ from the chart's; earlier ones are forgotten.
            timeout: Seconds that Helm may wait.
            labels: Added to the release's own; later upgrades keep them.
            force_conflicts: As for `rollback`.
        """
        arguments = [
            "upgrade",
            release,
            *chart.arguments(),
            "--install",
            "--namespace",
            namespace,
            "--reset-values",
            "--values",
            "-",
            "--wait=hookOnly",
            "--timeout",
            _duration(timeout),
            "--output",
            "json",
        ]
        if labels:
            arguments += ["--labels", ",".join(f"{key}={value}" for key, value in labels.items())]
        if force_conflicts:
            arguments.append("--force-conflicts")
        try:
            done = self.cli(
                *arguments, timeout=timeout + _NETWORK_MARGIN, input=yaml.safe_dump(dict(values))
            )
        except CommandError as error:
            if "another operation" in error.stderr:
                raise RunbookError(
                    f"another Helm began to work on the release {namespace}/{release}",
                    "run this again: it waits for that Helm, then shows what is left to do",
                ) from error
            raise
        return releases.of_status(json.loads(done.stdout))

    def _metadata(self, release: str, namespace: str) -> dict[str, Any]:
        arguments = ["get", "metadata", release, "--namespace", namespace, "--output", "json"]
        try:
            found: dict[str, Any] = json.loads(self.cli(*arguments).stdout)
        except CommandError as error:
            if _not_found(error):
                return {}
            raise
        return found


@contextmanager
def _fetching(chart: Chart) -> Iterator[None]:
    """Say which repository did not give a chart, and where its address is set."""
    try:
        yield
    except CommandError as error:
        if not chart.repository or not any(sign in error.stderr for sign in _NO_CHART):
            raise
        version = f" {chart.version}" if chart.version else ""
        raise RunbookError(
            f"{chart.repository} does not offer the chart {chart.reference}{version}: "
            f"{error.stderr.strip().splitlines()[-1]}",
            "check that this machine reaches it (proxy? HTTPS_PROXY) and that it has this version; "
            "its address and the version are parameters: istio.chart_repository and istio.version "
            "(for Kiali: kiali.chart_repository and kiali.version)",
        ) from error


def _not_found(error: CommandError) -> bool:
    return "release: not found" in error.stderr


@lru_cache(_REMEMBERED)
def _parsed(text: str) -> tuple[Object, ...]:
    return tuple(item for item in yaml.load_all(text, Loader=SAFE_LOADER) if item)


def _documents(text: str) -> list[Object]:
    """Return the objects of a text; whoever asks for the same text gets the same ones, to read."""
    return [*_parsed(text)]


def _revision(number: int | None) -> list[str]:
    return [] if number is None else ["--revision", str(number)]


def _duration(seconds: float) -> str:
    return f"{max(1, round(seconds))}s"
