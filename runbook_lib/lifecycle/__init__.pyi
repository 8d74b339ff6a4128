__all__ = [
    "APPROVE_VARIABLE",
    "EVIDENCE",
    "RUN_DIRECTORY_VARIABLE",
    "Answer",
    "Answered",
    "Applied",
    "Approval",
    "ApprovalVoid",
    "Case",
    "Change",
    "Check",
    "Context",
    "Decision",
    "Desk",
    "Finding",
    "Gate",
    "LifeCycle",
    "NotebookStarted",
    "Outcome",
    "Plan",
    "Probed",
    "Proposal",
    "Record",
    "Refused",
    "Row",
    "Ruling",
    "Sampled",
    "Severity",
    "Step",
    "StepApproved",
    "StepRecord",
    "StepSkipped",
    "Stopped",
    "Table",
    "Target",
    "TokenShown",
    "Verification",
    "aligned",
    "of_checks",
    "operator",
    "require",
    "yes_no",
]

from .context import Context
from .desk import Answer, Case, Desk, Ruling
from .events import (
    Answered,
    ApprovalVoid,
    NotebookStarted,
    Probed,
    Sampled,
    StepApproved,
    StepSkipped,
    Stopped,
    TokenShown,
)
from .finding import Finding, Refused, Severity, require
from .gate import APPROVE_VARIABLE, Approval, Decision, Gate, operator
from .lifecycle import Applied, LifeCycle, Proposal
from .outcome import Outcome
from .plan import Change, Plan
from .record import Record, StepRecord
from .runs import EVIDENCE, RUN_DIRECTORY_VARIABLE
from .step import Step, Verification
from .table import Check, Row, Table, aligned, of_checks, yes_no
from .target import Target
