"""What kind of Secret there is, without its content."""

from __future__ import annotations

import json
from typing import Any

from runbook_lib.base import ClusterRefused
from runbook_lib.cluster.client import Cluster
from runbook_lib.cluster.connection import REQUEST_TIMEOUT, api_errors
from runbook_lib.cluster.objects import ref

_TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
"""Asks for what `kubectl get` prints in place of the object: name, type, and how many keys. See
https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables."""


def type_of_secret(cluster: Cluster, name: str, namespace: str) -> str | None:
    """Return a Secret's type, None if there is none; its content stays where it is.

    One of the type `TLS_SECRET` has certificate and key: the API server refuses others.

    Raises:
        ClusterUnreachable: No answer.
        ClusterRefused: This account may not look.
    """
    try:
        with api_errors(
            cluster.kubeconfig, cluster.context, f"look for {ref('Secret', name, namespace)}"
        ):
            answer: Any = cluster.dynamic.client.call_api(
                f"/api/v1/namespaces/{namespace}/secrets/{name}",
                "GET",
                query_params=[("includeObject", "None")],
                header_params={"Accept": _TABLE},
                auth_settings=["BearerToken"],
                _preload_content=False,
                _return_http_data_only=True,
                _request_timeout=REQUEST_TIMEOUT,
            )
    except ClusterRefused as error:
        if error.status == 404:
            return None
        raise
    table = json.loads(answer.data)
    names = [column["name"] for column in table["columnDefinitions"]]
    (row,) = table["rows"]
    return str(row["cells"][names.index("Type")])
