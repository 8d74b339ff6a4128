"""Kiali's own API, as its pages use it; these endpoints are the same in Kiali 1.89 and 2.x.

See routing/routes.go of https://github.com/kiali/kiali.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import httpx

from runbook_lib.base import register

REFUSED = 401


@dataclass(frozen=True)
class Validation:
    """What Kiali finds to be wrong with an object of Istio's.

    Attributes:
        object: The object's name.
        severity: `error`, `warning` or `unknown`.
        code: Kiali's code, see https://kiali.io/docs/features/validations/.
        message: What is wrong.
    """

    object: str
    severity: str
    code: str
    message: str


class KialiAnswer(Exception):
    """Kiali answered otherwise than with what was asked for, or not at all."""


class Kiali:
    """One Kiali, with the session of whoever logged in.

    Every method but `log_in` and `healthy` needs a session. All raise `KialiAnswer`.
    """

    def __init__(self, url: str, web_root: str, *, timeout: float) -> None:
        """Nothing is asked yet.

        Args:
            url: Where it is reached, without a path.
            web_root: The path of its pages.
            timeout: Seconds for one request.
        """
        self._base = f"{url}{web_root}"
        self._timeout = timeout
        self._cookies: dict[str, str] = {}

    def healthy(self) -> None:
        """Ask whether it answers at all."""
        self._get("/healthz")

    def log_in(self, token: str) -> int:
        """Try to begin a session, and return the HTTP status: 200, or 401 if it is refused."""
        answer = self._send("POST", "/api/authenticate", data={"token": token})
        # Kiali marks its cookies Secure where TLS ends at the load balancer, so the client's own
        # jar would keep them back on the way through kubectl, which is plain HTTP on this machine.
        self._cookies = dict(answer.cookies.items())
        for value in self._cookies.values():
            register(value)
        return answer.status_code

    def status_without_session(self) -> int:
        """Return the HTTP status of a question that only somebody logged in may ask."""
        return self._send("GET", "/api/namespaces", cookies=False).status_code

    def components(self) -> dict[str, str]:
        """What Kiali reads and watches, such as `istiod` and `prometheus`: `Healthy` or not."""
        return {each["name"]: each["status"] for each in self._json("/api/istio/status")}

    def mesh_tls(self, revision: str) -> str:
        """Mutual TLS in the mesh as Kiali sees it: `MTLS_ENABLED`, `MTLS_PARTIALLY_ENABLED`, ..."""
        suffix = "" if revision == "default" else f"?revision={revision}"
        return str(self._json(f"/api/mesh/tls{suffix}")["status"])

    def namespaces(self) -> list[str]:
        """The namespaces that the session may see."""
        return sorted(each["name"] for each in self._json("/api/namespaces"))

    def findings(self, namespace: str) -> list[Validation]:
        """What Kiali finds wrong with Istio's objects in a namespace, errors first."""
        answer = self._json(f"/api/namespaces/{namespace}/istio?validate=true")
        found = [
            Validation(validation["name"], check["severity"], check["code"], check["message"])
            for by_object in (answer.get("validations") or {}).values()
            for validation in by_object.values()
            for check in validation.get("checks") or []
        ]
        return sorted(found, key=lambda each: (each.severity, each.object, each.code))

    def _json(self, path: str) -> Any:
        answer = self._get(path)
        try:
            return json.loads(answer.text)
        except ValueError as error:
            raise KialiAnswer(f"{path} is no JSON: {answer.text[:80]!r}") from error

    def _get(self, path: str) -> httpx.Response:
        answer = self._send("GET", path)
        if answer.status_code != 200:
            raise KialiAnswer(f"{path} answers {answer.status_code}: {_why(answer)}")
        return answer

    def _send(
        self, method: str, path: str, *, data: dict[str, str] | None = None, cookies: bool = True
    ) -> httpx.Response:
        headers = {}
        if cookies and self._cookies:
            headers["Cookie"] = "; ".join(f"{k}={v}" for k, v in self._cookies.items())
        try:
            with httpx.Client(trust_env=False, timeout=self._timeout) as client:
                return client.request(method, f"{self._base}{path}", data=data, headers=headers)
        except httpx.HTTPError as error:
            raise KialiAnswer(f"{path}: no answer ({type(error).__name__})") from error


def _why(answer: httpx.Response) -> str:
    try:
        body = json.loads(answer.text)
        return f"{body['error']} {body.get('detail', '')}".strip()
    except (ValueError, KeyError, TypeError):
        return answer.text[:120] or "nothing said"
