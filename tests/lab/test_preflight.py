"""What others, or an interruption, left in the way: found, refused in time, and mended."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from runbook_lib.base.errors import RunbookError
from runbook_lib.base.wait import State, until
from runbook_lib.chapters.install import steps as install
from runbook_lib.chapters.policies import mutual_tls
from runbook_lib.chapters.shared import preflight
from runbook_lib.chapters.shared.preflight import workloads
from runbook_lib.chapters.shared.release import recovery
from runbook_lib.cluster.client import Cluster
from runbook_lib.cluster.connection import Kubeconfig
from runbook_lib.lifecycle.context import Context
from runbook_lib.lifecycle.finding import Finding
from runbook_lib.lifecycle.step import Step
from tests.labs import Lab, named

pytestmark = [pytest.mark.lab, pytest.mark.spoils_lab, pytest.mark.timeout(300)]

FORCED = ("delete", "--ignore-not-found", "--wait=true", "--timeout=60s")


@pytest.fixture
def context(lab: Lab, tmp_path: Path) -> Context:
    return lab.context(tmp_path)


def steps(context: Context) -> tuple[Step, Step]:
    base, istiod = install.steps(context.parameters)
    return base, istiod


def take(step: Step, context: Context) -> None:
    step.apply(context, step.plan(context))
    assert step.verify(context).ok


def one(findings: Any) -> Finding:
    (found,) = findings
    assert isinstance(found, Finding)
    return found


def apply(lab: Lab, *objects: dict[str, Any]) -> None:
    items = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
    lab.run("kubectl", "apply", "--filename", "-", stdin=json.dumps(items))


def definition(plural: str, group: str, kind: str) -> dict[str, Any]:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"kiali.io": "v1alpha1", "argoproj.io": "v1alpha1", "helm.toolkit.fluxcd.io": "v2"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": plural, "kind": kind},
            "versions": [
                {
                    "name": version.get(group, "v1"),
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
        },
    }


def test_on_a_fresh_cluster_nothing_is_in_the_way(context: Context) -> None:
    shown = preflight.table(context)
    assert [row.cells[0] for row in shown.rows] == list(preflight.CHECKS)
    assert {row.cells[1] for row in shown.rows} == {"nothing in the way"}


@pytest.fixture
def other_nodes(lab: Lab) -> Iterator[None]:
    """The lab's nodes as those of a pool that is tainted, and of Windows."""
    lab.run("kubectl", "taint", "nodes", "--all", "pool=research:NoSchedule")
    lab.run("kubectl", "label", "nodes", "--all", "--overwrite", "kubernetes.io/os=windows")
    yield
    lab.run("kubectl", "label", "nodes", "--all", "--overwrite", "kubernetes.io/os=linux")
    lab.run("kubectl", "taint", "nodes", "--all", "pool-")


@pytest.mark.usefixtures("other_nodes")
def test_nodes_that_would_take_no_pod_are_told_before_anything_is_made(
    lab: Lab, context: Context
) -> None:
    on_windows = [f for f in workloads.before_restart(context) if "Windows" in f.what]
    assert [f.where for f in on_windows] == [
        "StatefulSet xnat/xnat-postgresql",
        "StatefulSet xnat/xnat-xnat-web",
    ]
    lab.run("kubectl", "label", "nodes", "--all", "--overwrite", "kubernetes.io/os=linux")
    _, istiod = steps(context)
    (pending,) = istiod.obstacles(context)
    assert pending.where == "Deployment istio-system/istiod"
    assert pending.parameter == ("istio.istiod.values.tolerations: [{key: pool, operator: Exists}]")


def test_what_may_not_be_looked_at_is_said_and_the_rest_is_shown(
    lab: Lab, context: Context
) -> None:
    kubeconfig = Kubeconfig.of(lab.viewer())
    limited = replace(
        context,
        target=replace(context.target, kubeconfig=kubeconfig, context="viewer"),
        cluster=Cluster(kubeconfig, "viewer"),
    )
    rows = {row.cells[0]: row.cells for row in preflight.table(limited).rows}
    assert list(rows) == list(preflight.CHECKS)
    said = rows["Helm releases"][1]
    assert said.startswith("cannot tell: ")
    assert "secrets is forbidden" in said
    assert rows["Istio's kinds"][1].startswith("cannot tell: list CustomResourceDefinition")
    assert "permission" in rows["Helm releases"][3]
    # Which tags istiod's revision has stands in webhooks, which are no view of a namespace.
    assert rows["Other meshes"][1].startswith("cannot tell: list MutatingWebhookConfiguration")
    assert rows["Labels of the web pods"][1] == "nothing in the way"


@pytest.fixture
def leaving(lab: Lab) -> Iterator[str]:
    """The namespace istio-system, held by a finalizer while it is being deleted."""
    name = "istio-system"
    held = {"name": "held", "namespace": name, "finalizers": ["example.com/hold"]}
    apply(
        lab,
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": held},
    )
    lab.run("kubectl", "delete", "namespace", name, "--wait=false")
    yield name
    lab.run(
        *("kubectl", "--namespace", name, "patch", "configmap", "held", "--type=merge"),
        *("--patch", '{"metadata": {"finalizers": null}}'),
    )
    lab.run("kubectl", "wait", "--for=delete", f"namespace/{name}", "--timeout=60s")


def test_a_namespace_that_is_being_deleted_says_what_holds_it(
    context: Context, leaving: str
) -> None:
    def observe() -> State:
        found = one(preflight.namespaces(context))
        return State("example.com/hold" in found.what, found.what)

    until("the namespace to say what holds it", observe, timeout=30)
    found = one(preflight.namespaces(context))
    assert found.where == f"Namespace {leaving}"
    assert "Terminating since" in found.what
    assert "kubectl get namespace istio-system" in found.way_out
    with pytest.raises(RunbookError, match=r"example\.com/hold") as refused:
        steps(context)[0].plan(context)
    assert refused.value.remedy == found.way_out


def test_kinds_that_helm_would_refuse_are_handed_over_by_the_offer(
    lab: Lab, context: Context
) -> None:
    apply(lab, definition("gateways", "networking.istio.io", "Gateway"))
    found = one(preflight.kinds(context))
    assert "gateways.networking.istio.io" in found.where
    assert "of no Helm release (made by " in found.what
    with pytest.raises(RunbookError, match="of no Helm release") as refused:
        steps(context)[0].plan(context)
    # Helm itself refuses it, with words of its own.
    own = lab.run(
        *("helm", "install", "istio-base", lab.state.charts["base"], "--dry-run=server"),
        *("--namespace", "default"),
        check=False,
    )
    assert "invalid ownership metadata" in own
    commands = refused.value.remedy.removeprefix("hand it over: ").split(" && ")
    for command in commands:
        lab.run(*command.split())
    assert list(preflight.kinds(context)) == []
    steps(context)[0].plan(context)
    lab.run("kubectl", *FORCED, "crd", "gateways.networking.istio.io")


def test_a_webhook_whose_service_is_gone_stops_the_restart_and_not_the_site(
    lab: Lab, context: Context
) -> None:
    webhook = {
        "name": "gone.example.com",
        "clientConfig": {"service": {"name": "gone", "namespace": "default", "path": "/"}},
        "rules": [
            {
                "apiGroups": [""],
                "apiVersions": ["v1"],
                "operations": ["CREATE"],
                "resources": ["pods"],
            }
        ],
        "namespaceSelector": {"matchLabels": {"nobody": "here"}},
        "failurePolicy": "Fail",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }
    apply(
        lab,
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": "gone"},
            "webhooks": [webhook],
        },
    )
    found = one(preflight.webhooks(context))
    assert found.where == "ValidatingWebhookConfiguration gone"
    assert "asks Service default/gone, which does not exist" in found.what
    with pytest.raises(RunbookError, match="a restart would leave no pod"):
        named(context, "injection-restart").plan(context)
    lab.run(*found.way_out.rsplit(": ", 1)[1].split())
    assert list(preflight.webhooks(context)) == []


def istiod(lab: Lab, namespace: str, *options: str) -> list[dict[str, Any]]:
    """The Deployment and the webhook of another istiod, as its chart renders them."""
    chart = lab.state.charts["istiod"]
    text = lab.run("helm", "template", "istiod", chart, "--namespace", namespace, *options)
    wanted = []
    for item in yaml.safe_load_all(text):
        if item and item["kind"] == "Deployment":
            item["spec"]["replicas"] = 0  # only to be found
            wanted.append(item)
        if item and item["kind"] == "MutatingWebhookConfiguration":
            wanted.append(item)
    return wanted


@pytest.mark.parametrize("revision", ["canary", "default"])
def test_another_istio_is_named_and_blocks_only_if_it_is_of_the_same_revision(
    lab: Lab, context: Context, revision: str
) -> None:
    objects = istiod(lab, "other", "--set", f"revision={revision}")
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}}
    apply(lab, namespace, *objects)
    try:
        found = one(preflight.meshes(context))
        assert found.where.startswith("Deployment other/istiod")
        assert revision in found.what
        assert found.refuses is (revision == "default")
        if found.refuses:
            assert "or set istio.namespace: other" in found.way_out
            assert "remove it first, because no pod has a sidecar of this rev" in found.way_out
            assert f"istioctl uninstall --revision {revision}" in found.way_out
            apply(lab, user_of_a_mesh(revision))
            (in_use,) = preflight.meshes(context)
            assert "1 pods have sidecars of this revision (Pod other/user)" in in_use.way_out
            assert "uninstall" not in in_use.way_out
            with pytest.raises(RunbookError, match="another Istio of the same revision"):
                steps(context)[0].plan(context)
        else:
            assert "istio.revision: canary" in found.way_out
            steps(context)[0].plan(context)
        # Its webhook asks a Service that was never made.
        (dead,) = preflight.webhooks(context)
        assert "Service other/istiod" in dead.what
    finally:
        for item in objects:
            scope = ["--namespace", "other"] if item["kind"] == "Deployment" else []
            lab.run("kubectl", *FORCED, item["kind"], item["metadata"]["name"], *scope)
        lab.run("kubectl", *FORCED, "namespace", "other")


def user_of_a_mesh(revision: str) -> dict[str, Any]:
    """A pod with a sidecar, on no node."""
    metadata = {"name": "user", "namespace": "other", "annotations": {"istio.io/rev": revision}}
    spec = {"nodeSelector": {"no": "node"}, "containers": [{"name": "istio-proxy", "image": "i"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


@pytest.mark.parametrize("release", ["", "istiod-of-platform"])
def test_an_istiod_of_others_in_its_place_is_used_as_it_is(
    lab: Lab, context: Context, release: str
) -> None:
    """As istioctl or Argo CD leave it, or a Helm release of another name."""
    objects = [item for item in istiod(lab, "istio-system") if item["kind"] == "Deployment"]
    if release:
        annotations = {
            preflight.RELEASE_NAME: release,
            preflight.RELEASE_NAMESPACE: "istio-system",
        }
        objects[0]["metadata"]["annotations"] = annotations
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "istio-system"}}
    apply(lab, namespace, *objects)
    try:
        found = one(preflight.control_plane(context))
        assert found.where == "Deployment istio-system/istiod"
        assert found.way_out.startswith("use it as it is: leave 01_install_istio out")
        assert (f"istio.istiod.release: {release}" in found.way_out) is bool(release)
        assert "uninstall" not in found.way_out
        for step in steps(context):
            with pytest.raises(RunbookError, match="where 01_install_istio would put its own"):
                step.plan(context)
        assert list(preflight.meshes(context)) == []
        assert not named(context, "injection-label").plan(context).empty
        rows = [row for row in preflight.table(context).rows if row.cells[0] == "Other meshes"]
        assert [row.cells[3] for row in rows] == [found.way_out]
    finally:
        lab.run("kubectl", *FORCED, "namespace", "istio-system")


def test_ambient_mode_of_the_application_is_another_mesh(lab: Lab, context: Context) -> None:
    label = "istio.io/dataplane-mode"
    lab.run("kubectl", "label", "namespace", "xnat", f"{label}=ambient")
    found = one(preflight.meshes(context))
    assert "ambient" in found.what
    with pytest.raises(RunbookError, match="ambient"):
        named(context, "injection-label").plan(context)
    lab.run(*found.way_out.split(": ", 1)[1].split())
    assert list(preflight.meshes(context)) == []


def test_a_kiali_without_its_operator_is_found(lab: Lab, context: Context) -> None:
    apply(lab, definition("kialis", "kiali.io", "Kiali"))
    lab.run("kubectl", "wait", "--for=condition=Established", "crd/kialis.kiali.io")
    kiali = {
        "apiVersion": "kiali.io/v1alpha1",
        "kind": "Kiali",
        "metadata": {
            "name": "kiali",
            "namespace": "default",
            "finalizers": ["kiali.io/finalizer"],
        },
    }
    apply(lab, kiali)
    left = one(preflight.operator(context))
    assert "no operator is there to carry it out" in left.what
    assert "06_kiali installs the operator" in left.way_out
    assert not left.refuses
    lab.run("kubectl", "delete", "kiali", "kiali", "--wait=false")
    held = one(preflight.operator(context))
    assert "finalizers that hold it: kiali.io/finalizer" in held.what
    lab.run(
        *("kubectl", "patch", "kiali", "kiali", "--type=merge"),
        *("--patch", '{"metadata": {"finalizers": null}}'),
    )
    lab.run("kubectl", *FORCED, "crd", "kialis.kiali.io")
    assert list(preflight.operator(context)) == []


@pytest.mark.parametrize("interrupted", ["install", "upgrade", "uninstall"])
def test_an_interrupted_release_is_found_and_recovered_by_its_step(
    lab: Lab, context: Context, monkeypatch: pytest.MonkeyPatch, interrupted: str
) -> None:
    monkeypatch.setattr(recovery, "_PATIENCE", 2.0)  # that Helm is dead
    base, istiod = steps(context)
    if interrupted == "install":
        take(base, context)
        command = ["upgrade", "--install", "istiod", lab.state.charts["istiod"], "--wait"]
    elif interrupted == "upgrade":
        # The last that worked is an installation: it says what istiod has changed since.
        context.helm.uninstall("istiod", namespace="istio-system", timeout=60)
        take(istiod, context)
        lab.until_webhook_fails_closed()
        command = ["upgrade", "istiod", lab.state.charts["istiod"], "--wait"]
        command += ["--reuse-values", "--set", "pilot.env.SOMETHING=else"]
    else:
        # It holds the release in `uninstalling`.
        lab.run(
            *("kubectl", "--namespace", "istio-system", "patch", "service", "istiod"),
            *("--type=merge", "--patch", '{"metadata": {"finalizers": ["example.com/hold"]}}'),
        )
        command = ["uninstall", "istiod", "--wait"]
    kill_helm(lab, context, command)
    if interrupted == "uninstall":
        lab.run(
            *("kubectl", "--namespace", "istio-system", "patch", "service", "istiod"),
            *("--type=merge", "--patch", '{"metadata": {"finalizers": null}}'),
        )
    if interrupted == "install":
        hand_over_interrupted(lab, context, istiod)
    found = one(preflight.releases(context))
    assert found.where == "Helm release istio-system/istiod"
    assert found.what.startswith("uninstalling" if interrupted == "uninstall" else "pending-")
    assert "01_install_istio waits for that Helm, then plans the recovery" in found.way_out
    assert not found.refuses
    plan = istiod.plan(context)
    assert plan.summary == "recover Helm release istiod"
    assert "its Helm was interrupted" in plan.changes[0].text
    assert istiod.plan(context).digest == plan.digest
    if interrupted == "upgrade":
        refused_over_a_field_of_others(lab, context, istiod)
    take(istiod, context)
    lab.until_webhook_fails_closed()
    assert istiod.plan(context).empty
    assert list(preflight.releases(context)) == []
    env = lab.run(
        *("kubectl", "--namespace", "istio-system", "get", "deployment", "istiod"),
        "--output=yaml",
    )
    assert "SOMETHING" not in env


def refused_over_a_field_of_others(lab: Lab, context: Context, step: Step) -> None:
    """Nobody's field but istiod's is forced."""
    service = ("kubectl", "--namespace", "istio-system", "patch", "service", "istiod")
    lab.run(
        *(*service, "--type=json", "--field-manager=somebody", "--patch"),
        '[{"op": "replace", "path": "/spec/ports/0/name", "value": "grpc-other"}]',
    )
    before = context.helm.history("istiod", namespace="istio-system")
    with pytest.raises(RunbookError, match=r"Service istio-system/istiod: somebody manages") as no:
        step.plan(context)
    assert context.helm.history("istiod", namespace="istio-system") == before
    # What it offers would mend the rest, too; here the field alone is given up.
    assert "helm rollback istiod 1 --namespace istio-system --force-conflicts" in no.value.remedy
    lab.run(
        *(*service, "--type=json", "--field-manager=somebody", "--patch"),
        '[{"op": "replace", "path": "/spec/ports/0/name", "value": "grpc-xds"}]',
    )


def hand_over_interrupted(lab: Lab, context: Context, step: Step) -> None:
    """Somebody else's Helm may be at work for as long as they like: it is left alone."""
    found = one(preflight.releases(context))
    assert "pending-install (revision 1), and not installed by this runbook" in found.what
    assert not found.refuses
    with pytest.raises(RunbookError, match="its owner may still be at work on it") as refused:
        step.plan(context)
    lab.run(*refused.value.remedy.rsplit(": ", 1)[1].split())


def kill_helm(lab: Lab, context: Context, command: list[str]) -> None:
    """Kill a Helm once it has written that it is at work."""
    before = context.helm.status("istiod", namespace="istio-system")
    with subprocess.Popen(
        ["helm", *command, "--namespace", "istio-system"],
        env=lab.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:

        def observe() -> State:
            found = context.helm.status("istiod", namespace="istio-system")
            assert process.poll() is None, "Helm ended before it could be killed"
            return State(found != before and bool(found and found.stuck), str(found))

        until("Helm to be at work", observe, timeout=60, interval=0.05)
        process.send_signal(signal.SIGKILL)


def test_a_policy_of_others_names_them_and_three_ways_out(lab: Lab, context: Context) -> None:
    policy = {
        "apiVersion": "security.istio.io/v1",
        "kind": "PeerAuthentication",
        "metadata": {"name": "default", "namespace": "istio-system"},
        "spec": {"mtls": {"mode": "PERMISSIVE"}},
    }
    apply(lab, policy)
    found = one(preflight.changed_by_others(context))
    assert found.where == "PeerAuthentication istio-system/default"
    assert found.what == "kubectl-client-side-apply manages spec.mtls.mode"
    for way in ("ask its owner", "mutual_tls.policy", "--force-conflicts"):
        assert way in found.way_out
    with pytest.raises(RunbookError, match="kubectl-client-side-apply manages"):
        mutual_tls.steps(context.parameters)[0].plan(context)
    lab.run("kubectl", "--namespace", "istio-system", *FORCED, "peerauthentication", "default")
    assert list(preflight.changed_by_others(context)) == []


def test_a_policy_of_others_that_says_the_same_is_not_added_to(lab: Lab, context: Context) -> None:
    """The exception's selector would make a policy for the namespace one for the web pods."""
    policy = {
        "apiVersion": "security.istio.io/v1",
        "kind": "PeerAuthentication",
        "metadata": {"name": "default", "namespace": "xnat"},
        "spec": {"mtls": {"mode": "STRICT"}},
    }
    apply(lab, policy)
    exception = mutual_tls.steps(context.parameters)[1]
    with pytest.raises(RunbookError, match="made by kubectl-client-side-apply") as refused:
        exception.plan(context)
    assert "PeerAuthentication xnat/default: it is there already" in refused.value.cause
    lab.run(*refused.value.remedy.rpartition(": ")[2].split())
    assert [change.action for change in exception.plan(context).changes] == ["create"]


def test_a_gateway_that_others_run_beside_istiod_is_only_shown(lab: Lab, context: Context) -> None:
    base, istiod = steps(context)
    take(base, context)
    take(istiod, context)
    labels = {"istio": "ingressgateway"}
    container = {"name": "istio-proxy", "image": "auto"}
    metadata = {"name": "gateway", "namespace": "istio-system", "labels": labels}
    gateway = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }
    apply(lab, gateway)
    try:
        shown = istiod.verify(context)
        assert shown.ok
        checks = {row.cells[0]: (row.cells[1], row.ok) for row in shown.tables[0].rows}
        assert checks["gateways in istio-system"] == (
            "Deployment istio-system/gateway: of others",
            None,
        )
        annotations = {
            preflight.RELEASE_NAME: "istiod",
            preflight.RELEASE_NAMESPACE: "istio-system",
        }
        apply(lab, {**gateway, "metadata": {**metadata, "annotations": annotations}})
        assert not istiod.verify(context).ok
    finally:
        lab.run("kubectl", "--namespace", "istio-system", *FORCED, "deployment", "gateway")


GIT_KEEPERS = (
    ("applications", "argoproj.io", "Application"),
    ("kustomizations", "kustomize.toolkit.fluxcd.io", "Kustomization"),
    ("helmreleases", "helm.toolkit.fluxcd.io", "HelmRelease"),
)


@pytest.fixture
def kept_in_git(lab: Lab) -> Iterator[None]:
    """The kinds of Argo CD and Flux, without their controllers; gone after the test."""
    definitions = [definition(*each) for each in GIT_KEEPERS]
    names = [each["metadata"]["name"] for each in definitions]
    apply(lab, *definitions)
    lab.run("kubectl", "wait", "crd", *names, "--for=condition=Established", "--timeout=30s")
    yield
    lab.run("kubectl", *FORCED, "crd", *names)


def keep(lab: Lab, manager: str, item: dict[str, Any]) -> None:
    """Apply an object as a controller does that keeps it as Git has it."""
    as_manager = ("--server-side", "--force-conflicts", f"--field-manager={manager}")
    lab.run("kubectl", "apply", *as_manager, "--filename", "-", stdin=json.dumps(item))


def keeper(api_version: str, kind: str, **spec: Any) -> dict[str, Any]:
    metadata = {"name": "site", "namespace": "default"}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec}


@pytest.mark.usefixtures("kept_in_git")
def test_what_argo_cd_and_flux_keep_is_known_by_what_their_controllers_write(
    lab: Lab, context: Context
) -> None:
    labels, tracking = {"istio-injection": "disabled"}, "argocd.argoproj.io/tracking-id"
    marks = {"name": "xnat", "labels": labels, "annotations": {tracking: "site:/Namespace:/xnat"}}
    argo = keeper("argoproj.io/v1alpha1", "Application", syncPolicy={"automated": {}})
    apply(lab, argo)
    keep(lab, "argocd-controller", {"apiVersion": "v1", "kind": "Namespace", "metadata": marks})
    label, *_ = preflight.injection_undone(context)
    assert label.refuses
    assert "Argo CD's Application default/site keeps it" in label.what
    assert "argocd-controller manages metadata.labels.istio-injection" in label.evidence[1]
    assert "istio-runbook export" in label.remedy
    lab.run("kubectl", "label", "namespace", "xnat", "istio-injection-")

    place = ("autoscaling/v2", "HorizontalPodAutoscaler", "xnat-xnat-web", "xnat")
    metrics = context.cluster.get(*place)["spec"]["metrics"]  # type: ignore[index]
    for tool, group, made in (
        ("kustomize", "kustomize.toolkit.fluxcd.io", "kustomize.toolkit.fluxcd.io/v1"),
        ("helm", "helm.toolkit.fluxcd.io", "helm.toolkit.fluxcd.io/v2"),
    ):
        kind = {"kustomize": "Kustomization", "helm": "HelmRelease"}[tool]
        apply(lab, keeper(made, kind, driftDetection={"mode": "enabled"}))
        owner = {f"{group}/name": "site", f"{group}/namespace": "default"}
        metadata = {"name": place[2], "namespace": "xnat", "labels": owner}
        item = {"apiVersion": place[0], "kind": place[1], "metadata": metadata}
        keep(lab, f"{tool}-controller", {**item, "spec": {"metrics": metrics}})

        def look() -> Finding:
            live = context.cluster.get(*place)
            assert live is not None
            return one(preflight.set_back(context, live, ("spec.metrics",), "new", forced=True))

        assert look().refuses
        assert f"Flux's {kind} default/site" in look().what
        managed = f".metadata.managedFields: {tool}-controller manages spec.metrics"
        assert managed in look().evidence
        apply(lab, keeper(made, kind, driftDetection={"mode": "enabled"}, suspend=True))
        assert not look().refuses
        keep(
            lab, f"{tool}-controller", {**item, "metadata": {"name": place[2], "namespace": "xnat"}}
        )
