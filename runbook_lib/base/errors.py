"""Errors of the runbook, and the policy for them.

- Every error a user can meet is a `RunbookError`: it says what went wrong and where (`cause`) and
  what to do about it (`remedy`), in a few lines. Anything else that escapes is a defect and keeps
  its full traceback.
- There is a subclass only where a caller reacts differently.
- An error from below is chained (`raise ... from error`), never swallowed.
- Text from outside (streams, API messages) is shortened, and secrets are masked on construction.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from runbook_lib.base.redact import redact

_TAIL_LINES = 20
_TAIL_CHARACTERS = 2000


class RunbookError(Exception):
    """Something the user can act on.

    Attributes:
        cause: What went wrong and where.
        remedy: What to do about it; may be empty.
    """

    def __init__(self, cause: str, remedy: str = "") -> None:
        self.cause = redact(cause)
        self.remedy = redact(remedy)
        self._notes: list[str] = []
        super().__init__("\n".join(self._lines()))

    def _lines(self) -> list[str]:
        remedy = [f"→ {self.remedy}"] if self.remedy else []
        return [self.cause, *remedy, *self._notes]

    def add_note(self, note: str) -> None:
        """Say more at the end, where nothing that comes before can hide it."""
        self._notes.append(redact(note))
        self.args = ("\n".join(self._lines()),)

    def put_before(self, place: str) -> None:
        """Say where it happened, in front of what happened."""
        self.cause = f"{place}: {self.cause}"
        self.args = ("\n".join(self._lines()),)

    def _render_traceback_(self) -> list[str]:
        """Render as a message without a stack: IPython calls this in place of its own rendering."""
        first, *rest = str(self).split("\n")
        return [f"{type(self).__name__}: {first}", *rest]


class ParameterError(RunbookError):
    """The parameters are wrong; nothing has been touched."""


class CommandError(RunbookError):
    """A command could not be started, failed, or ran out of time.

    Attributes:
        argv: The command line, as a list.
        returncode: Exit code; None when the command was stopped for running out of time.
        stdout: Tail of its standard output, redacted.
        stderr: Tail of its standard error, redacted.
    """

    def __init__(
        self,
        argv: Sequence[str],
        returncode: int | None,
        stdout: str,
        stderr: str,
        *,
        problem: str = "",
        remedy: str = "",
    ) -> None:
        self.argv = tuple(argv)
        self.returncode = returncode
        self.stdout = redact(tail(stdout))
        self.stderr = redact(tail(stderr))
        lines = [problem or f"exit code {returncode}: {shlex.join(self.argv)}"]
        for name, stream in (("stderr", self.stderr), ("stdout", self.stdout)):
            if stream:
                lines.append(f"{name}: {stream}")
        super().__init__("\n".join(lines), remedy)


class WaitFailed(RunbookError):
    """What was waited for cannot happen any more.

    Attributes:
        what: What was waited for.
        last_state: The last state seen.
        elapsed: Seconds waited.
    """

    verdict = "failed"

    def __init__(self, what: str, last_state: str, elapsed: float, remedy: str = "") -> None:
        self.what = what
        self.last_state = redact(last_state)
        self.elapsed = elapsed
        super().__init__(
            f"waiting for {what}: {self.verdict} after {elapsed:.1f} s; "
            f"last seen: {last_state or 'nothing'}",
            remedy,
        )


class WaitTimeout(WaitFailed):
    """What was waited for did not happen in time."""

    verdict = "timed out"


class NotApproved(RunbookError):
    """The plan has not been approved."""


class PlanChanged(RunbookError):
    """The plan is no longer the one that was approved: the approval is void."""


class VerificationFailed(RunbookError):
    """A step was applied, and its effect could not be proved."""


class KindNotInstalled(RunbookError):
    """The API server does not serve this kind (yet).

    Attributes:
        api_version: Such as `security.istio.io/v1`.
        kind: Such as `PeerAuthentication`.
    """

    def __init__(self, api_version: str, kind: str) -> None:
        self.api_version = api_version
        self.kind = kind
        super().__init__(
            f"the cluster does not know the kind {kind} ({api_version})",
            "Istio's kinds come with the chart istio-base: run the notebook 01_install_istio first"
            if api_version.split("/")[0].endswith(".istio.io")
            else "check the spelling, or install what defines it first",
        )


class ClusterRefused(RunbookError):
    """The API server answered a request with an error.

    Attributes:
        status: HTTP status, such as 403 or 422.
        reason: Kubernetes' machine-readable reason, such as `Forbidden`, `Invalid`, `NotFound`.
    """

    def __init__(self, cause: str, remedy: str = "", *, status: int, reason: str) -> None:
        self.status = status
        self.reason = reason
        super().__init__(cause, remedy)


class ApplyConflict(RunbookError):
    """Another field manager owns fields that an apply would change.

    Attributes:
        managers: The other managers, such as `kubectl-client-side-apply`.
        fields: The contested fields, such as `.spec.mtls.mode`.
    """

    def __init__(self, ref: str, managers: Sequence[str], fields: Sequence[str]) -> None:
        self.managers = tuple(managers)
        self.fields = tuple(fields)
        super().__init__(
            f"{ref}: {', '.join(managers)} manages {', '.join(fields)}",
            "change it there or remove the field there; if that manager is gone, take it over: "
            "kubectl apply --server-side --field-manager istio-runbook --force-conflicts",
        )


class TargetChanged(RunbookError):
    """The cluster behind the kubeconfig is not the one that was pinned at the start."""


class LabNotRunning(RunbookError):
    """The lab named in the parameters is not running."""


class ClusterUnreachable(RunbookError):
    """The API server does not answer."""


def tail(text: str, *, lines: int = _TAIL_LINES, characters: int = _TAIL_CHARACTERS) -> str:
    """Return the end of `text`: at most `lines` lines and `characters` characters."""
    kept = "\n".join(text.strip().splitlines()[-lines:])
    return kept if len(kept) <= characters else f"…{kept[-characters:]}"


def shorten(text: str, characters: int = 200) -> str:
    """Return `text`, or its beginning where it is longer than `characters`."""
    return text if len(text) <= characters else f"{text[:characters]}…"
