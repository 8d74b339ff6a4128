from __future__ import annotations

from datetime import UTC, datetime

import pytest

from runbook_lib.base import ExitCode
from runbook_lib.cluster import Author
from runbook_lib.diagnosis import Cause, Diagnosis
from runbook_lib.diagnosis.drift import Proof, Standing, StepStanding, Verdict
from runbook_lib.lifecycle import Change, Severity

PROOF = Proof("20260101T000000Z", datetime(2026, 1, 1, tzinfo=UTC))
CHANGE = Change("Namespace xnat", "change", "+a", "0", (Author(".a", "kubectl-edit", "then"),))
HOLDS = StepStanding("01_install_istio", "install-base", proof=PROOF)
DRIFTED = StepStanding("02_label_namespace", "injection-label", (CHANGE,), proof=PROOF)
MISSING = StepStanding("06_kiali", "kiali-operator", (CHANGE,))
UNKNOWN = StepStanding("06_kiali", "kiali-instance", unknown="403 Forbidden")
NOTHING = Diagnosis((), ())


def cause(severity: Severity) -> Diagnosis:
    return Diagnosis((Cause("Pod a", "no sidecar", "plaintext", "restart", severity=severity),), ())


def test_what_no_run_proved_is_not_in_place_rather_than_drifted() -> None:
    standings = [each.standing for each in (HOLDS, DRIFTED, MISSING, UNKNOWN)]
    assert standings == list(Standing)


@pytest.mark.parametrize(
    ("steps", "diagnosis", "code"),
    [
        ((HOLDS,), NOTHING, ExitCode.DONE),
        ((HOLDS,), cause(Severity.NOT_DONE), ExitCode.DONE),
        ((HOLDS,), cause(Severity.FAULT), ExitCode.FAILED),
        ((HOLDS,), Diagnosis((), (), unjudged=("a-rule",)), ExitCode.FAILED),
        ((HOLDS,), Diagnosis((), (), unjudged=("analyze",)), ExitCode.DONE),
        ((HOLDS, UNKNOWN), NOTHING, ExitCode.FAILED),
        ((HOLDS, MISSING), NOTHING, ExitCode.DRIFT),
        ((UNKNOWN, DRIFTED), cause(Severity.FAULT), ExitCode.DRIFT),
    ],
)
def test_the_exit_code_tells_drift_from_what_cannot_be_told(
    steps: tuple[StepStanding, ...], diagnosis: Diagnosis, code: ExitCode
) -> None:
    assert Verdict(steps, diagnosis).exit_code == code


def test_drift_names_run_object_field_manager_and_time() -> None:
    lines = str(DRIFTED).splitlines()
    assert lines[0].endswith("injection-label: drifted, last verified by run 20260101T000000Z")
    assert "    change Namespace xnat" in lines
    assert "      .a was set by kubectl-edit at then" in lines


def test_programs_get_the_same() -> None:
    (step,) = Verdict((DRIFTED,), NOTHING).document["steps"]
    assert step["standing"] == "drifted"
    assert step["proved"]["run"] == "20260101T000000Z"
    assert step["changes"][0]["fields"] == [{"path": ".a", "manager": "kubectl-edit", "at": "then"}]
