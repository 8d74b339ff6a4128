__all__ = [
    "FOLDER_VARIABLE",
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
    "command_line",
    "delivered",
    "explain",
    "installed",
    "lab_state_file",
    "redact_value",
    "register",
    "run",
    "shorten",
    "working_folder",
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
from .locations import (
    FOLDER_VARIABLE,
    command_line,
    delivered,
    installed,
    lab_state_file,
    working_folder,
)
from .redact import MASK, redact_value, register
from .wait import Progress, State
from .yaml_source import Location, explain
