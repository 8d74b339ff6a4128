"""Fork kernels from a process that has imported all that they need.

Run as a program; its arguments are the modules to import. What comes in on standard input is one
kernel a line, as JSON: its arguments and environment. The answer on standard output is its process
id. At the end of the input, as when the runner dies, it ends, and its kernels notice.

To start Python and to import IPython and the runbook takes a kernel two seconds of CPU time, a fork
a tenth of that. Nothing of a notebook is ever run in here, and there is no thread that could hold
a lock while it forks.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path


def main(modules: Sequence[str]) -> None:
    """Import, then fork a kernel for each line until there is no other."""
    # Nobody debugs a notebook that nobody sits in front of, and to be able to takes half a second.
    sys.modules["debugpy"] = None  # type: ignore[assignment] # its import fails
    importlib.import_module("ipykernel.debugger")  # which looks whether it is there
    del sys.modules["debugpy"]
    for module in modules:
        importlib.import_module(module)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what kernels print must not be taken for an answer
    # Kernels that end are nobody's to wait for: whoever wants to know watches them.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    gc.freeze()  # memory that is not looked at stays shared
    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if child == 0:
            answers.close()
            _be_a_kernel(asked["arguments"], asked["environment"])
        with suppress(ProcessLookupError, PermissionError):
            os.setpgid(child, child)
        print(child, file=answers, flush=True)


def _be_a_kernel(arguments: Sequence[str], environment: Mapping[str, str]) -> None:
    """Become what `python -m ipykernel_launcher` is, in a process group of its own."""
    parent = os.getppid()
    os.setpgid(0, 0)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.environ.clear()
    os.environ.update(environment)
    # The rest is as in ipykernel_launcher: modules of the folder come after those installed.
    sys.path[:] = [folder for folder in sys.path if folder not in ("", str(Path.cwd()))]
    # It ends when its parent does. By itself it looks for that when ipykernel is imported.
    kernels = importlib.import_module("ipykernel.kernelapp")
    kernels.launch_new_instance([*arguments, f"--IPKernelApp.parent_handle={parent}"])
    sys.exit()


if __name__ == "__main__":
    main(sys.argv[1:])
