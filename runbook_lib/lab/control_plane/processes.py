"""Command lines of etcd, the API server, the controller-manager, the scheduler and kube-proxy.

Flags and their reasons were measured on Kubernetes 1.36; each comment names the trap it avoids.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from runbook_lib.lab.build.binaries import Build
from runbook_lib.lab.foundation.addresses import (
    API_SERVICE_IP,
    LOOPBACK,
    NODE,
    NODE_IP,
    POD_NETWORK,
    SERVICE_NETWORK,
)
from runbook_lib.lab.foundation.certificates import (
    Authority,
    Pair,
    client_user,
    kubeconfig,
    signing_key,
    write_private,
)
from runbook_lib.lab.metrics import server as metrics

ETCD = f"https://{LOOPBACK}:2379"
ETCD_PEER = f"https://{LOOPBACK}:2380"
API_PORT = 6443
API = f"https://{LOOPBACK}:{API_PORT}"
"""The API server's URL for what runs on the node."""

Argv = list[str | Path]

_AUDIT = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    # The lab's own parts are not what anybody audits here.
    "rules": [
        {"level": "None", "userGroups": ["system:masters", "system:nodes"]},
        {"level": "None", "users": ["system:apiserver"]},
        {"level": "Metadata"},
    ],
}
"""See https://kubernetes.io/docs/tasks/debug/debug-cluster/audit/."""


@dataclass(frozen=True)
class Credentials:
    """Authorities and certificates of one lab.

    Attributes:
        authority: Signs the API server, its clients and the kubelet.
        front_proxy: Signs the aggregator's client certificate. It must be another authority:
            the API server refuses to start with one for both.
        etcd: Signs etcd's server and client certificates, so that only the API server gets in.
    """

    authority: Pair
    server: Pair
    admin: Pair
    front_proxy: Pair
    front_proxy_client: Pair
    etcd: Pair
    etcd_node: Pair
    service_accounts: Pair
    kubelet: Pair
    metrics: Pair

    @classmethod
    def create(cls, folder: Path) -> Credentials:
        """Issue everything into `folder`, which must exist."""
        main = Authority(folder, "kubernetes-ca")
        front_proxy = Authority(folder, "front-proxy-ca")
        etcd = Authority(folder, "etcd-ca")
        return cls(
            authority=main.pair,
            server=main.issue(
                "kube-apiserver",
                addresses=[LOOPBACK, NODE_IP, API_SERVICE_IP],
                names=["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"],
            ),
            admin=main.issue("lab-admin", organization="system:masters"),
            front_proxy=front_proxy.pair,
            front_proxy_client=front_proxy.issue("front-proxy-client"),
            etcd=etcd.pair,
            etcd_node=etcd.issue("etcd", addresses=[LOOPBACK]),
            service_accounts=signing_key(folder),
            kubelet=main.issue("kubelet", addresses=[NODE_IP]),
            metrics=main.issue("metrics-server", names=[metrics.HOST]),
        )


@dataclass(frozen=True)
class ControlPlane:
    """Where the control plane of one lab lives and how its parts are started."""

    build: Build
    folder: Path
    credentials: Credentials

    @classmethod
    def prepare(cls, build: Build, folder: Path) -> ControlPlane:
        """Issue certificates; `folder` must exist and be private."""
        return cls(build, folder, Credentials.create(folder))

    def kubeconfig(self, path: Path, *, name: str, server: str) -> Path:
        """Write an administrator's kubeconfig."""
        return kubeconfig(
            path,
            name=name,
            server=server,
            authority=self.credentials.authority.certificate,
            user=client_user(self.credentials.admin),
        )

    def etcd(self) -> Argv:
        """etcd, mutual TLS on both of its ports, without fsync: a lab's data may be lost."""
        node, authority = self.credentials.etcd_node, self.credentials.etcd.certificate
        return [
            self.build.program("server"),
            f"--data-dir={self.folder / 'etcd'}",
            "--unsafe-no-fsync",
            "--name=lab",
            f"--initial-cluster=lab={ETCD_PEER}",
            f"--listen-client-urls={ETCD}",
            f"--advertise-client-urls={ETCD}",
            f"--listen-peer-urls={ETCD_PEER}",
            f"--initial-advertise-peer-urls={ETCD_PEER}",
            f"--cert-file={node.certificate}",
            f"--key-file={node.key}",
            f"--trusted-ca-file={authority}",
            "--client-cert-auth",
            f"--peer-cert-file={node.certificate}",
            f"--peer-key-file={node.key}",
            f"--peer-trusted-ca-file={authority}",
            "--peer-client-cert-auth",
            "--log-level=warn",
        ]

    def api_server(self, audit: Path | None = None) -> Argv:
        """The API server.

        Args:
            audit: A file to write who asked for what, and what came of it, a JSON line a request.
        """
        made = self.credentials
        return [
            self.build.program("kube-apiserver"),
            f"--etcd-servers={ETCD}",
            f"--etcd-cafile={made.etcd.certificate}",
            f"--etcd-certfile={made.etcd_node.certificate}",
            f"--etcd-keyfile={made.etcd_node.key}",
            "--bind-address=0.0.0.0",
            f"--advertise-address={NODE_IP}",
            f"--secure-port={API_PORT}",
            f"--tls-cert-file={made.server.certificate}",
            f"--tls-private-key-file={made.server.key}",
            f"--client-ca-file={made.authority.certificate}",
            f"--kubelet-certificate-authority={made.authority.certificate}",
            f"--kubelet-client-certificate={made.admin.certificate}",
            f"--kubelet-client-key={made.admin.key}",
            "--kubelet-preferred-address-types=InternalIP",
            f"--proxy-client-cert-file={made.front_proxy_client.certificate}",
            f"--proxy-client-key-file={made.front_proxy_client.key}",
            f"--requestheader-client-ca-file={made.front_proxy.certificate}",
            "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            f"--service-account-key-file={made.service_accounts.certificate}",
            f"--service-account-signing-key-file={made.service_accounts.key}",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-cluster-ip-range={SERVICE_NETWORK}",
            "--authorization-mode=RBAC",
            "--allow-privileged=true",
            # As on EKS, whose API servers are not behind kube-proxy: webhooks are called at pods.
            "--enable-aggregator-routing=true",
            "--v=1",
            *(self._audit(audit) if audit else ()),
        ]

    def _audit(self, log: Path) -> Argv:
        policy = write_private(self.folder / "audit.yaml", yaml.safe_dump(_AUDIT))
        return [
            f"--audit-policy-file={policy}",
            f"--audit-log-path={log}",
            "--audit-log-mode=blocking",  # whoever has an answer finds it in the log
            "--audit-log-maxsize=0",  # one file: the default begins a new one after 100 MB
        ]

    def controller_manager(self, config: Path) -> Argv:
        """The controller-manager, with HPA decisions fast enough to watch."""
        made = self.credentials
        return [
            self.build.program("kube-controller-manager"),
            f"--kubeconfig={config}",
            f"--bind-address={LOOPBACK}",
            "--leader-elect=false",
            f"--service-account-private-key-file={made.service_accounts.key}",
            f"--root-ca-file={made.authority.certificate}",
            f"--cluster-signing-cert-file={made.authority.certificate}",
            f"--cluster-signing-key-file={made.authority.key}",
            "--horizontal-pod-autoscaler-sync-period=2s",
            # The default is 5 min, for which nobody at a lab would wait to see the pods go. New
            # pods need no flag: until five minutes old they count once they have been ready for
            # a whole window of their metrics, so what starting costs never scales out.
            "--horizontal-pod-autoscaler-downscale-stabilization=15s",
        ]

    def scheduler(self, config: Path) -> Argv:
        """The scheduler."""
        return [
            self.build.program("kube-scheduler"),
            f"--kubeconfig={config}",
            f"--bind-address={LOOPBACK}",
            "--leader-elect=false",
        ]

    def kube_proxy(self, config: Path) -> Argv:
        """kube-proxy, which writes the rules of Services with nft."""
        return [
            self.build.program("kube-proxy"),
            f"--kubeconfig={config}",
            "--proxy-mode=nftables",
            f"--hostname-override={NODE}",
            f"--cluster-cidr={POD_NETWORK}",
            f"--nodeport-addresses={NODE_IP}/32",
            f"--healthz-bind-address={LOOPBACK}",
            # Limits of the machine's connection tracking belong to the machine: 0 leaves them.
            "--conntrack-max-per-core=0",
            "--conntrack-min=0",
            "--conntrack-tcp-timeout-established=0",
            "--conntrack-tcp-timeout-close-wait=0",
        ]
