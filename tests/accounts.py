"""People of a lab's cluster: user certificates with groups, each seen as a lab of its own."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

from runbook_lib.base.locations import lab_directory
from runbook_lib.lab.foundation.state import write_state
from tests.labs import Lab


@contextmanager
def account(lab: Lab, user: str, groups: Sequence[str]) -> Iterator[Lab]:
    """Let a user with these groups, and no other rights, work on a lab.

    Yields:
        The same lab under another name, with the user's kubeconfig.
    """
    name = f"{lab.name}-{user}"
    folder = lab_directory(name)
    folder.mkdir(mode=0o700)
    try:
        config = yaml.safe_load(Path(lab.state.kubeconfig).read_text())
        config["users"] = [{"name": lab.state.context, "user": _certificate(lab, user, groups)}]
        path = folder / "kubeconfig"
        path.touch(0o600)
        path.write_text(yaml.safe_dump(config))
        state = replace(lab.state, name=name, kubeconfig=str(path))
        write_state(name, state)
        yield Lab(state)
    finally:
        shutil.rmtree(folder)


def _certificate(lab: Lab, user: str, groups: Sequence[str]) -> dict[str, str]:
    """Return the `user` entry of a kubeconfig, signed by the cluster's own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    names = [x509.NameAttribute(NameOID.COMMON_NAME, user)]
    names += [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(names))
    pem = request.sign(key, SHA256()).public_bytes(serialization.Encoding.PEM)
    manifest = {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"name": user},
        "spec": {
            "request": base64.b64encode(pem).decode(),
            "signerName": "kubernetes.io/kube-apiserver-client",
            "usages": ["client auth"],
        },
    }
    lab.run("kubectl", "delete", "csr", user, "--ignore-not-found")
    lab.run("kubectl", "create", "--filename", "-", stdin=json.dumps(manifest))
    lab.run("kubectl", "certificate", "approve", user)
    signed = "--for=jsonpath={.status.certificate}"
    lab.run("kubectl", "wait", signed, f"csr/{user}", "--timeout=20s")
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return {
        "client-certificate-data": lab.run(
            "kubectl", "get", "csr", user, "--output=jsonpath={.status.certificate}"
        ),
        "client-key-data": base64.b64encode(private).decode(),
    }
