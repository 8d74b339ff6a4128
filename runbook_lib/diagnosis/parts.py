"""What an observation is made of besides objects: answers, and what came of asking."""

from __future__ import annotations

from dataclasses import dataclass

from runbook_lib.cluster import Object
from runbook_lib.mesh import traffic
from runbook_lib.site import Observed


@dataclass(frozen=True)
class SiteAnswer:
    """What the site answered to one probe, next to what the finished runbook lets through.

    Attributes:
        method: The method.
        path: The path.
        own_status: What the application itself answers.
        allowed: Whether the runbook's final policy lets the method through.
        observed: The answer.
    """

    method: str
    path: str
    own_status: int
    allowed: bool
    observed: Observed

    @property
    def denied(self) -> bool:
        """Whether a sidecar refused it; the body that tells is not sent for HEAD."""
        desired = traffic.DENIED
        told = self.method == "HEAD" or str(desired.body_contains) in self.observed.body
        return self.observed.status == desired.status and told

    @property
    def unreachable(self) -> bool:
        """Whether the application was not reached."""
        return self.observed.unanswered

    @property
    def text(self) -> str:
        """The request and its answer."""
        return f"{self.method} {self.path} from outside: {self.observed.text}"


@dataclass(frozen=True)
class Injection:
    """What came of a pod that was asked for as a dry run, as far as it tells about Istio.

    Attributes:
        injected: Whether it got a sidecar.
        refused: What the API server says if it could not call the webhook that injects; empty if
            it could. What others have against the pod makes the injection unseen.
        image: The image of its sidecar; empty if it has none.
    """

    injected: bool
    refused: str = ""
    image: str = ""


@dataclass(frozen=True)
class Token:
    """A token for Kiali, without itself.

    Attributes:
        user: Whose it is; empty if it is not accepted.
        refused: Why it is not accepted; empty if it is.
    """

    user: str
    refused: str = ""


@dataclass(frozen=True)
class Front:
    """A Service in front of the application.

    Attributes:
        name: The Service's.
        service: The Service, if it is there.
        named_by: The parameter, or the field of an Ingress, that names it.
    """

    name: str
    service: Object | None
    named_by: str
