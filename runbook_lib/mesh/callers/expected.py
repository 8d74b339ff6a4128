"""What is to come of a question, by the policies: pure."""

from __future__ import annotations

from dataclasses import dataclass

from runbook_lib.mesh import traffic
from runbook_lib.mesh.callers.model import Answer, Outcome, Question
from runbook_lib.mesh.policy import Connection, Request, Server, decide, meet


@dataclass(frozen=True)
class Expected:
    """What the policies make of a question.

    Attributes:
        outcome: What is to come of it; None if that cannot be derived.
        mutual_tls: Whether it is to go by mutual TLS.
        why: The reason, as a clause.
    """

    outcome: Outcome | None
    mutual_tls: bool
    why: str

    @property
    def text(self) -> str:
        """The expectation in a few words."""
        if self.outcome is None:
            return "cannot be derived"
        if self.outcome is not Outcome.ANSWERED:
            return self.outcome
        return f"{self.outcome}, {'mutual TLS' if self.mutual_tls else 'plaintext'}"

    def met(self, answer: Answer) -> bool | None:
        """Whether an answer is as expected; None if it proves nothing either way."""
        if self.outcome is None or answer.outcome is Outcome.SILENT:
            return None
        if answer.outcome is not self.outcome:
            return False
        # Who has no sidecar, or gets no answer, makes no handshake that could be counted.
        known = self.outcome is Outcome.ANSWERED and answer.mutual_tls is not None
        return answer.mutual_tls is self.mutual_tls if known else True


def expected(question: Question, sends: str) -> Expected:
    """Return what the policies make of a question.

    Args:
        question: The question; the server's end holds mode and policies.
        sends: The mode that a DestinationRule sets for the caller, or `AUTOMATIC`.
    """
    end, caller = question.server.end, question.caller
    server = Server(bool(end.sidecars), end.mode, end.past, end.mode_for_all)
    connection, why = meet(sends if caller.sidecar else "DISABLE", server)
    if connection is Connection.UNJUDGED:
        return Expected(None, False, why)
    if connection is Connection.REFUSED:
        return Expected(Outcome.CLOSED, False, why)
    tls = connection is Connection.MUTUAL_TLS
    if not server.guarded:
        return Expected(Outcome.ANSWERED, tls, why)
    request = Request(
        end.port or 0,
        question.method or None,
        question.path.partition("?")[0] or None,
        http=end.http,
        identity=tls,
        principal=caller.principal if tls else "",
    )
    access = decide(traffic.enforced(end.policies), request)
    reasons = "; ".join(f"{reason.text}: {reason.why}" for reason in access.reasons)
    if access.allowed is None:
        return Expected(None, tls, reasons)
    if access.allowed:
        return Expected(Outcome.ANSWERED, tls, why)
    return Expected(Outcome.DENIED if end.http else Outcome.CLOSED, tls, reasons)
