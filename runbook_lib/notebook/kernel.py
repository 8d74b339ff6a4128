"""A notebook's kernel: the front end that it works for, and what it sends there."""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from runbook_lib.base import METER, Effort, Journal, ParameterError, redact_value
from runbook_lib.lifecycle import RUN_DIRECTORY_VARIABLE, Context, Step, runs
from runbook_lib.lifecycle.events import Spent
from runbook_lib.parameters import handover

INTERACTIVE_VARIABLE = "RUNBOOK_INTERACTIVE"
"""`yes` or `no` overrides what is found out about the front end."""

_KEPT = ("stream", "display_data", "update_display_data", "execute_result", "error")
"""Types of messages that front ends and papermill write into the notebook.

See https://jupyter-client.readthedocs.io/en/stable/messaging.html#messages-on-the-iopub-pub-sub-channel.
"""

_PICTURED = ("display_data", "update_display_data", "execute_result")
"""Those among them that are sent before a cell ends; text that is printed may come later."""


def interactive(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether a person sits in front of this kernel, who can press buttons.

    A front end says with every cell whether it can ask its user for input; papermill, nbconvert and
    nbval say no. See `allow_stdin` in https://jupyter-client.readthedocs.io/en/stable/messaging.html

    Raises:
        ParameterError: The variable that overrides it has another value than `yes` or `no`.
    """
    desired = environ.get(INTERACTIVE_VARIABLE, "").strip().lower()
    if desired not in ("", "yes", "no"):
        raise ParameterError(
            f"{INTERACTIVE_VARIABLE} is {desired!r}", "set it to yes or no, or not at all"
        )
    if desired:
        return desired == "yes"
    if environ.get(RUN_DIRECTORY_VARIABLE, "").strip():
        return False
    kernel = getattr(_shell(), "kernel", None)
    if kernel is None:
        return False
    request = kernel.get_parent("shell") or {}
    return bool(request.get("content", {}).get("allow_stdin", False))


def running_cell() -> object:
    """Identify the request to run a cell that this kernel works on."""
    return getattr(_shell(), "execution_count", None)


def mask_outputs(shell: Any) -> None:
    """Have a kernel mask its outputs from now on; does nothing in an IPython without one.

    Tracebacks and what cells print go past the formatters of IPython, so it is done where messages
    are put together: papermill, nbconvert and JupyterLab all get the same.

    Args:
        shell: IPython's.
    """
    kernel = getattr(shell, "kernel", None)
    if kernel is None or isinstance(kernel.session.serialize, _Masking):
        return
    kernel.session.serialize = _Masking(kernel.session.serialize)


class _Masking:
    """Stands before the method that turns a message into bytes."""

    def __init__(self, serialize: Any) -> None:
        self._serialize = serialize

    def __call__(self, message: dict[str, Any], ident: Any = None) -> Any:
        if message["header"]["msg_type"] in _KEPT:
            message = {**message, "content": redact_value(message["content"])}
        frames = self._serialize(message, ident)
        if message["header"]["msg_type"] in _PICTURED:
            METER.showed(len(frames[-1]))
        return frames


def meter(journal: Journal) -> None:
    """Have this kernel record from now on what each cell takes; nothing in an IPython without one.

    Args:
        journal: Of the notebook. The one that was given last is used.
    """
    shell = _shell()
    if getattr(shell, "kernel", None) is None:
        return
    began = not _metered
    _metered[:] = [journal]
    if began:
        # A kernel boots while the notebook before runs, and then waits for its own.
        _record([replace(part, seconds=0.0) for part in METER.parts("start")])
        shell.events.register("pre_run_cell", lambda _info: METER.begin())
        shell.events.register("post_run_cell", lambda _result: _record(METER.parts()))


_metered: list[Journal] = []


def _record(parts: Iterable[Effort]) -> None:
    (journal,) = _metered
    if not journal.path.parent.is_dir():  # a person has removed it
        return
    for part in parts:
        fields = asdict(part)
        journal.of_step(fields.pop("step")).record(Spent(**fields))


def at_end(context: Context, steps: Sequence[Step]) -> None:
    """Have this kernel write a summary when it ends, where no runner does and no person is at it.

    Args:
        context: Where the notebook's steps are taken.
        steps: These steps.
    """
    if interactive() or handover.VARIABLE in os.environ:
        return
    folder, notebook = context.journal.path.parent, context.journal.notebook
    mode = context.parameters.mode

    def summarise() -> None:
        from runbook_lib.lifecycle import summary

        if not folder.is_dir():
            return
        record = runs.record_of(folder)
        summary.write(folder, mode, [record.step(notebook, step.name) for step in steps])

    atexit.register(summarise)


def _shell() -> Any:
    try:
        from IPython.core.getipython import get_ipython
    except ModuleNotFoundError:
        return None
    return get_ipython()
