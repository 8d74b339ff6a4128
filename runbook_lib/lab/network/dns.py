"""The lab's DNS: names of Services and of the pods behind them, as CoreDNS answers them.

Kubernetes' rules: https://github.com/kubernetes/dns/blob/master/docs/specification.md. Left out
are SRV and PTR records; no name outside the cluster exists, because the lab has no way out.
"""

from __future__ import annotations

import asyncio
import struct
from typing import Any

from dnslib import CNAME, QTYPE, RCODE, RR, A, DNSError, DNSRecord  # type: ignore[import-untyped]

from runbook_lib.lab.foundation.addresses import DNS_SERVICE_IP, DOMAIN, NODE_IP
from runbook_lib.lab.foundation.api import Api
from runbook_lib.lab.foundation.streams import start_server
from runbook_lib.lab.network.directory import Directory

NAMESPACE, NAME = "kube-system", "kube-dns"
PORT = 53
TTL = 5
"""Seconds for which an answer may be kept."""

Answers = list[A | CNAME]


def look_up(directory: Directory, name: str) -> Answers | None:
    """The records of a name; None if there is no such name.

    Args:
        name: Whole, without the dot at its end.
    """
    labels = name.lower().removesuffix(f".svc.{DOMAIN}").split(".")
    if not name.lower().endswith(f".svc.{DOMAIN}") or len(labels) not in (2, 3):
        return None
    *host, service_name, namespace = labels
    service = directory.services.get((namespace, service_name))
    if service is None:
        return None
    spec = service["spec"]
    if spec.get("type") == "ExternalName":
        return None if host else [CNAME(spec["externalName"])]
    targets = list(directory.targets(namespace, service_name))
    if host:
        found = {each.at[0] for each in targets if each.hostname == host[0]}
        return [A(address) for address in sorted(found)] or None
    if spec.get("clusterIP") != "None":
        return [A(spec["clusterIP"])]
    return [A(address) for address in sorted({each.at[0] for each in targets})]


class Dns:
    """Answers over UDP and TCP."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    async def start(self) -> asyncio.Server:
        """Listen on the node's address."""
        loop = asyncio.get_running_loop()
        answer = self.answer

        class Datagrams(asyncio.DatagramProtocol):
            def connection_made(self, transport: Any) -> None:
                self.transport: asyncio.DatagramTransport = transport

            def datagram_received(self, data: bytes, client: tuple[str, int]) -> None:
                reply = answer(data)
                if reply:
                    self.transport.sendto(reply, client)

        await loop.create_datagram_endpoint(Datagrams, local_addr=(NODE_IP, PORT))
        return await start_server(self._serve, NODE_IP, PORT)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                (length,) = struct.unpack("!H", await reader.readexactly(2))
                reply = self.answer(await reader.readexactly(length))
                writer.write(struct.pack("!H", len(reply)) + reply)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            writer.close()

    def answer(self, query: bytes) -> bytes:
        """The reply to one message; empty if it is none."""
        try:
            asked = DNSRecord.parse(query)
        except DNSError:
            return b""
        reply = asked.reply(ra=1, aa=1)
        name = str(asked.q.qname).removesuffix(".")
        found = look_up(self._directory, name)
        if found is None:
            reply.header.rcode = RCODE.NXDOMAIN
        for record in found or []:
            kind = QTYPE.A if isinstance(record, A) else QTYPE.CNAME
            if asked.q.qtype in (kind, QTYPE.ANY) or kind == QTYPE.CNAME:
                reply.add_answer(RR(asked.q.qname, kind, rdata=record, ttl=TTL))
        return bytes(reply.pack())


async def register(api: Api) -> None:
    """Put the Service kube-dns in front; its address stands in every pod's resolv.conf."""
    ports = [{"name": f"dns-{each.lower()}", "protocol": each, "port": PORT} for each in _PROTOCOLS]
    labels = {"k8s-app": "kube-dns", "kubernetes.io/service-name": NAME}
    meta = {"name": NAME, "namespace": NAMESPACE, "labels": labels}
    service = {"clusterIP": DNS_SERVICE_IP, "ports": ports}
    await api.apply(
        f"/api/v1/namespaces/{NAMESPACE}/services/{NAME}",
        {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": service},
    )
    await api.apply(
        f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices/{NAME}",
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": meta,
            "addressType": "IPv4",
            "ports": ports,
            "endpoints": [{"addresses": [NODE_IP], "conditions": {"ready": True}}],
        },
    )


_PROTOCOLS = ("UDP", "TCP")
