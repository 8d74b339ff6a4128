"""The parameters' shape: one frozen model a section, whose defaults are a cluster's."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from runbook_lib.base import ParameterError
from runbook_lib.parameters import balancers, formats
from runbook_lib.parameters.approval import ApprovalParameters
from runbook_lib.parameters.capabilities import CAPABILITIES, Capabilities
from runbook_lib.parameters.formats import LabelName, Method, Methods, Name, Port, Quantity, Seconds
from runbook_lib.parameters.strict import StrictModel
from runbook_lib.parameters.upgrading import UpgradeParameters

LAB_VARIABLE = "RUNBOOK_LAB"
"""Names the lab where the parameters do not, for the lab's own commands too."""


class AwsParameters(StrictModel):
    """The AWS account of an EKS cluster; the API server's address tells what is left out."""

    region: formats.Region | None = None
    profile: str | None = None
    cluster: str | None = None


class TargetParameters(StrictModel):
    """Which cluster: a lab by name, or a context of a kubeconfig."""

    kind: Literal["lab", "cluster"]
    lab: LabelName = Field(
        default_factory=lambda: os.environ.get(LAB_VARIABLE, "default"), validate_default=True
    )
    kubeconfig: formats.ExistingFile | None = None
    context: str | None = None
    production: bool = True
    aws: AwsParameters | None = None

    @property
    def allows(self) -> Capabilities:
        """What this kind of target brings, asks for and allows."""
        return CAPABILITIES[self.kind]

    @property
    def kubeconfigs(self) -> tuple[Path, ...]:
        """Where to look for the context: the file given, else $KUBECONFIG, else the default.

        Raises:
            ParameterError: None is given, and there is no home folder that could hold the default.
        """
        if self.kubeconfig is not None:
            return (self.kubeconfig,)
        listed = [Path(p) for p in os.environ.get("KUBECONFIG", "").split(os.pathsep) if p]
        if listed:
            return tuple(listed)
        try:
            return (Path.home() / ".kube" / "config",)
        except RuntimeError as error:  # neither $HOME nor an entry for this user
            raise ParameterError(
                "there is no home folder to look for a kubeconfig in", "set target.kubeconfig"
            ) from error


class WebParameters(StrictModel):
    """The workload that answers HTTP, with its CONTAINER port: policies know no other."""

    kind: Literal["StatefulSet", "Deployment"] = "StatefulSet"
    name: Name = "xnat-xnat-web"
    service: LabelName = "xnat-xnat-web"
    labels: formats.Labels | None = None
    port: Port = 8080


class ProbeParameters(StrictModel):
    """One request from outside, and what the application itself answers to it."""

    method: Method
    path: formats.UrlPath
    status: Annotated[int, Field(ge=200, le=599)]


class DicomParameters(StrictModel):
    """The receiver of imaging devices: its CONTAINER port, and how devices call it."""

    port: Port
    ae_title: formats.AeTitle = "XNAT"
    address: formats.HostPort | None = None


Risk = Literal[
    "init-containers",
    "jobs",
    "metrics-ports",
    "no-room",
    "policies",
    "set-back",
    "shared-volume",
    "untried-pods",
]
"""What refuses a step unless a person accepts it; cluster.example.yaml explains each."""


class ApplicationParameters(StrictModel):
    """The application that gets the mesh."""

    namespace: LabelName = "xnat"
    url: formats.Origin | None = None
    web: WebParameters = WebParameters()
    plaintext_ports: Annotated[tuple[Port, ...], Field(strict=False)] = ()
    dicom: DicomParameters | None = None
    restart_order: Annotated[tuple[formats.Workload, ...], Field(strict=False, min_length=1)] = (
        "StatefulSet/xnat-postgresql",
        "StatefulSet/xnat-xnat-web",
    )
    restarted_by_owner: Annotated[tuple[formats.Owner, ...], Field(strict=False)] = ()
    probes: Annotated[tuple[ProbeParameters, ...], Field(strict=False)] = ()
    ask_from_pods: bool = True
    canary: bool | None = None
    accept: Annotated[tuple[Risk, ...], Field(strict=False)] = ()
    verify_tls: bool = True
    ca_file: formats.ExistingFile | None = None

    @property
    def workloads(self) -> tuple[tuple[str, str], ...]:
        """Kind and name of each entry of `restart_order`."""
        return _places(self.restart_order)

    @property
    def owners(self) -> tuple[tuple[str, str], ...]:
        """Kind and name of each entry of `restarted_by_owner`."""
        return _places(self.restarted_by_owner)


def _places(entries: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    places = (entry.partition("/") for entry in entries)
    return tuple((kind, name) for kind, _, name in places)


class ChartParameters(StrictModel):
    """A Helm release: its name, its chart, and the values that differ from the chart's."""

    release: LabelName
    chart: LabelName
    values: dict[str, Any] = Field(default_factory=dict)


class BaseChartParameters(ChartParameters):
    """The chart of Istio's custom resource definitions."""

    release: LabelName = "istio-base"
    chart: LabelName = "base"


class IstiodChartParameters(ChartParameters):
    """The chart of the control plane."""

    release: LabelName = "istiod"
    chart: LabelName = "istiod"


class IstioParameters(StrictModel):
    """What is installed, from where."""

    namespace: LabelName = "istio-system"
    version: formats.Version | None = None
    chart_repository: formats.ChartRepository | None = formats.RELEASED_CHARTS
    hub: formats.Hub | None = None
    base: BaseChartParameters = BaseChartParameters()
    istiod: IstiodChartParameters = IstiodChartParameters()
    revision: LabelName = "default"


class MutualTlsParameters(StrictModel):
    """Names of the two PeerAuthentications, and what the ports of the exception take.

    PERMISSIVE takes mutual TLS as well as plaintext, so callers in the mesh keep their identity.
    """

    policy: Name = "default"
    exception: Name = "default"
    exception_mode: Literal["DISABLE", "PERMISSIVE"] = "DISABLE"


class RuleParameters(StrictModel):
    """What some callers in the mesh may do beyond `methods`: any of these sources."""

    methods: Methods
    namespaces: Annotated[tuple[LabelName, ...], Field(strict=False)] = ()
    principals: Annotated[tuple[formats.Principal, ...], Field(strict=False)] = ()


class RefusedParameters(StrictModel):
    """Requests that the policy may refuse; in `path` a `*` at the end stands for any rest."""

    method: formats.AnyMethod
    path: formats.UrlPath = "/*"

    @property
    def text(self) -> str:
        """The request in words, such as `PUT /data/projects/*`."""
        return f"{self.method} {self.path}"

    def covers(self, method: str, path: str) -> bool:
        """Whether it names this request, by a path as the reading of the dry run shows it."""
        rest = self.path.endswith("*")
        fits = path.startswith(self.path[:-1]) if rest else path == self.path
        return fits and method == self.method


class AuthorizationParameters(StrictModel):
    """Names, and the methods that the policy allows: first `read_methods`, then `methods`.

    In the safe story the dry run is read for `observe` seconds, and the policy is enforced if it
    would refuse nothing but what `refuse` names.
    """

    policy: Name = "xnat-all"
    destination_rule: Name = "xnat-xnat-web"
    read_methods: Methods = ("GET", "HEAD")
    methods: Methods = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS")
    denied_method: Method = "PATCH"
    rules: Annotated[tuple[RuleParameters, ...], Field(strict=False)] = ()
    observe: formats.UpToADay = 600
    refuse: Annotated[tuple[RefusedParameters, ...], Field(strict=False)] = ()


class ProxyResources(StrictModel):
    """What a sidecar asks for where its requests are made smaller.

    All four, because one annotation replaces the whole block of the injection template.
    """

    cpu: Quantity = "10m"
    memory: Quantity = "64Mi"
    cpu_limit: Quantity = "2"
    memory_limit: Quantity = "1Gi"


class AutoscalingParameters(StrictModel):
    """How HorizontalPodAutoscalers that sidecars skew are mended."""

    remedy: Literal["container-resource", "average-value", "sidecar-requests"] = (
        "container-resource"
    )
    proxy: ProxyResources = ProxyResources()


class OperatorChartParameters(ChartParameters):
    """The chart of Kiali's operator."""

    release: LabelName = "kiali-operator"
    chart: LabelName = "kiali-operator"


class KialiParameters(StrictModel):
    """Kiali, and the two add-ons that it reads; nothing is exposed unless it is asked for."""

    operator_namespace: LabelName = "kiali-operator"
    chart_repository: formats.ChartRepository | None = formats.RELEASED_KIALI_CHARTS
    hub: formats.Hub | None = None
    version: formats.Version | None = None
    operator: OperatorChartParameters = OperatorChartParameters()
    prometheus_manifest: formats.Manifest | None = None
    prometheus_url: formats.Url | None = None
    jaeger_manifest: formats.Manifest | None = None
    tracing_url: formats.Url | None = None
    tracing_collector: formats.HostPort | None = None
    tracing_sampling: formats.Percentage = 1
    name: LabelName = "kiali"
    web_root: formats.WebRoot = "/kiali"
    view_only: bool = False
    exposure: balancers.Exposure = "cluster"
    host: formats.Host | None = None
    certificate_arn: balancers.Certificate | None = None
    tls_policy: balancers.TlsPolicy = balancers.RECOMMENDED_TLS_POLICY
    source_ranges: Annotated[tuple[balancers.SourceRange, ...], Field(strict=False)] = ()
    load_balancer_class: balancers.LoadBalancerClass | None = None
    ingress_class: Name | None = None
    tls_secret: Name | None = None
    spec: dict[str, Any] = Field(default_factory=dict)
    readers: Annotated[tuple[LabelName, ...], Field(strict=False)] = ()
    token_minutes: formats.Minutes = 60


class RollbackParameters(StrictModel):
    """How far notebook 90 goes back."""

    # Which chapters and steps there are, the chapters know, a layer above: they check both names.
    keep: str = "00_start_here"
    kinds: bool = False
    leave_out: Annotated[tuple[LabelName, ...], Field(strict=False)] = ()


class TimeoutParameters(StrictModel):
    """Limits in seconds."""

    istiod: Seconds = 300
    rollout: Seconds | None = None
    kiali: Seconds = 600
    policy: Seconds = 60
    autoscaler: Seconds = 120
    probe: Seconds = 10
    lease: Seconds | None = None


class Parameters(StrictModel):
    """All parameters; each field is a variable of the notebooks' parameters cell."""

    target: TargetParameters
    application: ApplicationParameters = ApplicationParameters()
    istio: IstioParameters = IstioParameters()
    mutual_tls: MutualTlsParameters = MutualTlsParameters()
    authorization: AuthorizationParameters = AuthorizationParameters()
    autoscaling: AutoscalingParameters = AutoscalingParameters()
    kiali: KialiParameters = KialiParameters()
    upgrade: UpgradeParameters = UpgradeParameters()
    rollback: RollbackParameters = RollbackParameters()
    story: Literal["documented", "safe"] = "safe"
    mode: Literal["apply", "plan"] = "apply"
    on_failure: Literal["revert", "stop"] | None = None
    approval: ApprovalParameters = ApprovalParameters()
    timeouts: TimeoutParameters = TimeoutParameters()

    @property
    def reverts(self) -> bool:
        """Whether a step that fails is taken back, where it can be."""
        return (self.on_failure or ("revert" if self.target.production else "stop")) == "revert"

    @property
    def lease_seconds(self) -> int:
        """How long a run that is gone holds the cluster."""
        return self.timeouts.lease or self.target.allows.lease

    @property
    def tries_canary(self) -> bool:
        """Whether a pod is tried before the first one that serves users is deleted."""
        given = self.application.canary
        return self.target.production if given is None else given
