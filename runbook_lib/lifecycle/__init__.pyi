__all__ = [
    "APPLIED",
    "APPROVE_VARIABLE",
    "EVIDENCE",
    "RUN_DIRECTORY_VARIABLE",
    "Answered",
    "Applied",
    "ApprovalVoid",
    "Approvals",
    "Asked",
    "Before",
    "ByHand",
    "CallAnswered",
    "Case",
    "Change",
    "Check",
    "Client",
    "Content",
    "Context",
    "ExportedRelease",
    "Exports",
    "Finding",
    "Former",
    "Gate",
    "GateAnswer",
    "GateDecision",
    "Interruption",
    "LifeCycle",
    "Loss",
    "NotebookStarted",
    "Person",
    "Plan",
    "PodsAsked",
    "Probed",
    "Proposal",
    "Record",
    "Refused",
    "Revertible",
    "Row",
    "Ruling",
    "Sampled",
    "Severity",
    "Stage",
    "Step",
    "StepApproved",
    "StepOutcome",
    "StepRecord",
    "StepSkipped",
    "Stopped",
    "Subject",
    "Table",
    "Target",
    "TokenShown",
    "Unknown",
    "Verification",
    "aligned",
    "of_checks",
    "operator",
    "person",
    "refusals",
    "require",
    "yes_no",
]

from .approvals import APPLIED, Approvals, Case, GateAnswer, Ruling
from .before import Before, Former
from .context import Context
from .events import (
    Answered,
    ApprovalVoid,
    ByHand,
    CallAnswered,
    NotebookStarted,
    PodsAsked,
    Probed,
    Sampled,
    StepApproved,
    StepSkipped,
    Stopped,
    TokenShown,
)
from .exports import ExportedRelease, Exports
from .finding import Finding, Refused, Severity, refusals, require
from .gate import APPROVE_VARIABLE, Gate, GateDecision
from .interruption import Client, Interruption, Loss
from .lifecycle import Applied, LifeCycle, Proposal
from .operators import Person, operator, person
from .outcome import StepOutcome
from .plan import Change, Content, Plan, Unknown
from .record import Record, StepRecord
from .runs import EVIDENCE, RUN_DIRECTORY_VARIABLE
from .stage import Asked, Stage
from .step import Revertible, Step, Subject, Verification
from .table import Check, Row, Table, aligned, of_checks, yes_no
from .target import Target
