__all__ = [
    "APPROVE_VARIABLE",
    "EVIDENCE",
    "RUN_DIRECTORY_VARIABLE",
    "Answer",
    "Applied",
    "Approval",
    "Case",
    "Change",
    "Check",
    "Context",
    "Decision",
    "Desk",
    "Gate",
    "LifeCycle",
    "Plan",
    "Proposal",
    "Row",
    "Ruling",
    "Step",
    "Table",
    "Target",
    "Verification",
    "aligned",
    "of_checks",
    "operator",
    "yes_no",
]

from .context import Context
from .desk import Answer, Case, Desk, Ruling
from .gate import APPROVE_VARIABLE, Approval, Decision, Gate, operator
from .lifecycle import Applied, LifeCycle, Proposal
from .plan import Change, Plan
from .runs import EVIDENCE, RUN_DIRECTORY_VARIABLE
from .step import Step, Verification
from .table import Check, Row, Table, aligned, of_checks, yes_no
from .target import Target
