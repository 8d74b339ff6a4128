__all__ = [
    "FOLDER_VARIABLE",
    "MASK",
    "METER",
    "ApplyConflict",
    "ClusterRefused",
    "ClusterUnreachable",
    "CommandError",
    "Completed",
    "Document",
    "Effort",
    "Entry",
    "Event",
    "ExitCode",
    "History",
    "Journal",
    "KindNotInstalled",
    "LabNotRunning",
    "Location",
    "NotApproved",
    "OutputFormat",
    "ParameterError",
    "PlanChanged",
    "Progress",
    "RunbookError",
    "Seal",
    "State",
    "TargetChanged",
    "VerificationFailed",
    "WaitFailed",
    "WaitTimeout",
    "command_line",
    "delivered",
    "explain",
    "installed",
    "lab_names",
    "lab_state_file",
    "redact_value",
    "register",
    "run",
    "secrets_in",
    "shorten",
    "working_folder",
]

from .command import Completed, run
from .effort import METER, Effort
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
from .journal import Entry, Event, History, Journal, Seal
from .locations import (
    FOLDER_VARIABLE,
    command_line,
    delivered,
    installed,
    lab_names,
    lab_state_file,
    working_folder,
)
from .output import Document, OutputFormat
from .redact import MASK, redact_value, register, secrets_in
from .wait import Progress, State
from .yaml_source import Location, explain
