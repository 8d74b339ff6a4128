"""A signal ends a run once; nohup's stays ignored, and a terminal that is gone is no error."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

WAITING = """
import signal, sys
from pathlib import Path
from runbook_lib.headless import signals
signals.handle()
try:
    print("ready", flush=True)
    signal.pause()
except signals.Terminated as ended:
    with signals.ignored():
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        print("this may go nowhere", flush=True)
        Path(sys.argv[1]).write_text(ended.sent.name)
"""


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_run_and_the_next_do_not_disturb_its_end(
    tmp_path: Path, sent: signal.Signals
) -> None:
    argv = [sys.executable, "-c", WAITING, str(tmp_path / "artefact")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "ready\n"
        run.send_signal(sent)
        assert run.stdout.read() == "this may go nowhere\n"
    assert run.returncode == 0
    assert (tmp_path / "artefact").read_text() == sent.name


def test_a_terminal_that_is_gone_leaves_the_artefacts_whole(tmp_path: Path) -> None:
    process, terminal = pty.fork()
    if process == 0:
        os.execv(sys.executable, [sys.executable, "-c", WAITING, str(tmp_path / "artefact")])
    assert b"ready" in os.read(terminal, 100)
    os.close(terminal)
    _, status = os.waitpid(process, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert (tmp_path / "artefact").read_text() == "SIGHUP"


def test_what_nohup_ignores_stays_ignored(tmp_path: Path) -> None:
    argv = ["nohup", sys.executable, "-c", WAITING, str(tmp_path / "artefact")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "ready\n"
        run.send_signal(signal.SIGHUP)
        run.send_signal(signal.SIGTERM)
        run.stdout.read()
    assert (tmp_path / "artefact").read_text() == "SIGTERM"
