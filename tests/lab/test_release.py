"""Helm releases from a chart repository: planned once, and applied exactly as planned."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from runbook_lib.base.errors import RunbookError
from runbook_lib.chapters.shared.release.planner import ReleasePlanner, Source
from runbook_lib.lifecycle.context import Context
from runbook_lib.lifecycle.plan import Plan
from runbook_lib.parameters.model import ChartParameters
from tests.labs import Lab

pytestmark = [pytest.mark.lab, pytest.mark.spoils_lab, pytest.mark.timeout(240)]

MANIFEST = """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: settings
  namespace: {{ .Release.Namespace }}
data:
  version: {{ .Chart.Version | quote }}
  kubernetes: {{ .Capabilities.KubeVersion.Version | quote }}
  colour: {{ .Values.colour | quote }}
"""

KIND = """\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: gadgets.example.com
spec:
  group: example.com
  scope: Namespaced
  names: {kind: Gadget, listKind: GadgetList, plural: gadgets, singular: gadget}
  versions:
    - name: v1
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object}}
"""


class Repository:
    """A chart repository on this machine."""

    def __init__(self, lab: Lab, folder: Path, url: str) -> None:
        self.lab = lab
        self.folder = folder
        self.url = url

    def publish(self, version: str) -> None:
        """Add a version of the chart."""
        source = self.folder / "source" / "settings"
        (source / "templates").mkdir(parents=True, exist_ok=True)
        (source / "crds").mkdir(exist_ok=True)
        (source / "crds" / "gadget.yaml").write_text(KIND)
        (source / "Chart.yaml").write_text(f"apiVersion: v2\nname: settings\nversion: {version}\n")
        (source / "values.yaml").write_text("colour: blue\n")
        (source / "templates" / "settings.yaml").write_text(MANIFEST)
        self.lab.run("helm", "package", str(source), "--destination", str(self.folder))
        self.lab.run("helm", "repo", "index", str(self.folder), "--url", self.url)


@pytest.fixture(scope="module")
def repository(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repository]:
    """A chart repository with one version of one chart."""
    folder = tmp_path_factory.mktemp("charts")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        found = Repository(lab, folder, f"http://127.0.0.1:{server.server_port}")
        found.publish("1.0.0")
        yield found
        server.shutdown()
        thread.join()


@pytest.fixture
def context(lab: Lab, tmp_path: Path) -> Context:
    """The lab as a cluster that brings no charts of its own."""
    found = lab.context(tmp_path)
    return replace(found, target=replace(found.target, charts={}))


def planner(repository: Repository, *, version: str | None = None, **values: str) -> ReleasePlanner:
    chart = ChartParameters(release="settings", chart="settings", values=values)
    return ReleasePlanner(chart, Source("default", repository.url, version, timeout=60))


def plan(subject: ReleasePlanner, context: Context) -> Plan:
    return Plan("settings", context.target.uid, subject.changes(context))


def deployed(context: Context) -> dict[str, str]:
    found = context.cluster.get("v1", "ConfigMap", "settings", "default")
    assert found is not None
    data: dict[str, str] = found["data"]
    return data


def test_a_release_lives_as_it_was_planned(context: Context, repository: Repository) -> None:
    first = planner(repository)
    shown = plan(first, context)
    assert shown.summary == "install Helm release settings"
    assert f"chart settings 1.0.0 from {repository.url}" in shown.changes[0].text
    assert "create ConfigMap default/settings" in shown.changes[0].text

    # A newer version appears between plan and apply: the plan is for the older one.
    repository.publish("2.0.0")
    assert plan(first, context).digest == shown.digest
    first.apply(context, shown)
    assert deployed(context) == {
        "version": "1.0.0",
        "kubernetes": context.cluster.server_version(),
        "colour": "blue",
    }
    assert plan(first, context).empty

    # A new run finds it, and shows what it changes.
    second = planner(repository, colour="green")
    upgrade = plan(second, context)
    assert upgrade.summary == "upgrade Helm release settings"
    text = upgrade.changes[0].text
    for line in ("+colour: green", "-  version: 1.0.0", "+  version: 2.0.0", "-  colour: blue"):
        assert line in text
    second.apply(context, upgrade)
    assert deployed(context)["colour"] == "green"
    assert plan(second, context).empty

    # What was deleted behind Helm's back is brought back.
    assert context.cluster.delete("v1", "ConfigMap", "settings", "default")
    missing = plan(second, context)
    assert "create ConfigMap default/settings: it is not in the cluster" in missing.changes[0].text
    second.apply(context, missing)
    assert deployed(context)["version"] == "2.0.0"
    assert second.check(context).ok


def test_kinds_that_helm_never_changes_are_no_difference(
    context: Context, repository: Repository
) -> None:
    """They are in the chart's folder `crds`, and so in no stored release."""
    subject = planner(repository)
    subject.apply(context, plan(subject, context))
    assert [item["metadata"]["name"] for item in subject.definitions(context)] == [
        "gadgets.example.com"
    ]
    assert plan(subject, context).empty


@pytest.fixture
def two_versions(lab: Lab, repository: Repository) -> Iterator[Repository]:
    """The repository with two versions of the chart, and no release of it before or after."""
    uninstall = ("helm", "uninstall", "settings", "--namespace", "default", "--ignore-not-found")
    repository.publish("2.0.0")
    lab.run(*uninstall)
    yield repository
    lab.run(*uninstall)


def test_a_release_of_others_is_used_as_it_is_and_never_changed(
    lab: Lab, context: Context, two_versions: Repository
) -> None:
    repository = two_versions
    theirs = ("helm", "install", "settings", "settings", "--namespace", "default")
    lab.run(*theirs, "--repo", repository.url, "--version", "1.0.0", "--set", "colour=red")
    assert plan(planner(repository, version="1.0.0", colour="red"), context).empty

    wanted = planner(repository, version="2.0.0")
    with pytest.raises(RunbookError, match="was not installed by this runbook") as refused:
        plan(wanted, context)
    for differing in ("settings 1.0.0, not settings 2.0.0", "values of colour differ"):
        assert differing in refused.value.cause
    assert "change ConfigMap default/settings" in refused.value.cause
    assert "leave this notebook out" in refused.value.remedy
    assert deployed(context)["colour"] == "red"

    # What they lack is theirs to mend, too.
    assert context.cluster.delete("v1", "ConfigMap", "settings", "default")
    with pytest.raises(RunbookError, match="default/settings: it is not in the cluster"):
        plan(planner(repository, version="1.0.0", colour="red"), context)

    # Handed over, it is changed as any other, and goes with a rollback.
    lab.run(*refused.value.remedy.rsplit(": ", 1)[1].split())
    upgrade = plan(wanted, context)
    assert upgrade.summary == "upgrade Helm release settings"
    wanted.apply(context, upgrade)
    found = deployed(context)
    assert (found["version"], found["colour"]) == ("2.0.0", "blue")
    change, stays = wanted.removal(context)
    assert (change is not None, stays) == (True, "")


def test_an_older_chart_is_refused_until_somebody_has_gone_back(
    lab: Lab, context: Context, two_versions: Repository
) -> None:
    older, newer = (planner(two_versions, version=version) for version in ("1.0.0", "2.0.0"))
    for step in (older, newer):
        step.apply(context, plan(step, context))
    with pytest.raises(
        RunbookError, match=r"settings 2\.0\.0, and .* want the older 1\.0\.0"
    ) as no:
        plan(older, context)
    assert "helm rollback settings REVISION --namespace default" in no.value.remedy
    lab.run("helm", "rollback", "settings", "1", "--namespace", "default")
    assert plan(older, context).empty
    assert deployed(context)["version"] == "1.0.0"
