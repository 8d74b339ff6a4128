__all__ = [
    "MASK",
    "ApplyConflict",
    "ClusterRefused",
    "ClusterUnreachable",
    "CommandError",
    "Completed",
    "Entry",
    "Event",
    "ExitCode",
    "History",
    "Journal",
    "KindNotInstalled",
    "LabNotRunning",
    "Location",
    "NotApproved",
    "ParameterError",
    "PlanChanged",
    "Progress",
    "RunbookError",
    "State",
    "TargetChanged",
    "VerificationFailed",
    "WaitFailed",
    "WaitTimeout",
    "explain",
    "lab_names",
    "lab_state_file",
    "redact_value",
    "register",
    "repository_root",
    "run",
    "shorten",
]

from .command import Completed, run
from .errors import (
    ApplyConflict,
    ClusterRefused,
    ClusterUnreachable,
    CommandError,
    KindNotInstalled,
    LabNotRunning,
    NotApproved,
    ParameterError,
    PlanChanged,
    RunbookError,
    TargetChanged,
    VerificationFailed,
    WaitFailed,
    WaitTimeout,
    shorten,
)
from .exit_codes import ExitCode
from .journal import Entry, Event, History, Journal
from .locations import lab_names, lab_state_file, repository_root
from .redact import MASK, redact_value, register
from .wait import Progress, State
from .yaml_source import Location, explain
