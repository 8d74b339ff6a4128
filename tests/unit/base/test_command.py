from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import psutil
import pytest

from runbook_lib.base.command import run
from runbook_lib.base.errors import CommandError
from runbook_lib.base.wait import State, until


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def assert_ends(pid: int) -> None:
    """Wait for a process to end; nobody may be there to collect it."""

    def ended() -> State:
        try:
            status = psutil.Process(pid).status()
        except psutil.NoSuchProcess:
            return State(True, "gone")
        return State(status == psutil.STATUS_ZOMBIE, status)

    until(f"process {pid} to end", ended, timeout=10)


def test_the_result_has_both_streams_and_the_exit_code() -> None:
    done = run(python("import sys; print('out'); print('err', file=sys.stderr)"), timeout=20)
    assert (done.returncode, done.stdout, done.stderr) == (0, "out\n", "err\n")
    assert done.argv[0] == sys.executable
    assert 0 < done.seconds < 20


def test_a_failure_raises_with_both_streams() -> None:
    with pytest.raises(CommandError) as caught:
        run(python("import sys; print('out'); sys.exit('err')"), timeout=20)
    assert caught.value.returncode == 1
    assert (caught.value.stdout, caught.value.stderr) == ("out", "err")


def test_a_failure_is_a_result_without_check() -> None:
    assert run(python("raise SystemExit(3)"), timeout=20, check=False).returncode == 3


def test_input_is_passed_and_environment_is_added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEPT", "yes")
    code = "import os; print(input(), os.environ['KEPT'], os.environ['ADDED'])"
    assert run(python(code), timeout=20, input="hello", env={"ADDED": "too"}).stdout == (
        "hello yes too\n"
    )


def test_a_question_gets_end_of_file_instead_of_waiting() -> None:
    with pytest.raises(CommandError, match="EOFError"):
        run(python("input()"), timeout=20)


def test_output_that_is_not_text_is_kept_readable() -> None:
    code = "import sys; sys.stdout.buffer.write(b'a\\xffb')"
    assert run(python(code), timeout=20).stdout == "a�b"


def test_large_output_does_not_block() -> None:
    assert len(run(python("print('x' * 3_000_000)"), timeout=20).stdout) == 3_000_001


def test_a_missing_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"cannot start .*nothing: No such file") as caught:
        run([tmp_path / "nothing"], timeout=1)
    assert caught.value.returncode == 127


def test_running_out_of_time_stops_the_children_too_and_keeps_the_output(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    code = (
        "import subprocess, sys, pathlib, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"pathlib.Path({str(pid_file)!r}).write_text(str(child.pid))\n"
        "print('started', flush=True)\n"
        "time.sleep(60)\n"
    )
    started = time.monotonic()
    with pytest.raises(CommandError, match=r"stopped after 1.5 s") as caught:
        run(python(code), timeout=1.5)
    assert time.monotonic() - started < 10
    assert caught.value.returncode is None
    assert caught.value.stdout == "started"
    assert_ends(int(pid_file.read_text()))


def test_a_child_that_holds_no_stream_and_is_deaf_is_stopped_too(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    code = (
        "import subprocess, sys, pathlib, time\n"
        f"child = subprocess.Popen([sys.executable, '-c', {deaf!r}],\n"
        "    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)\n"
        f"pathlib.Path({str(pid_file)!r}).write_text(str(child.pid))\n"
        "time.sleep(60)\n"
    )
    with pytest.raises(CommandError, match="stopped after"):
        run(python(code), timeout=1.5)
    assert_ends(int(pid_file.read_text()))


def test_a_command_that_ignores_the_polite_signal_is_killed() -> None:
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        "print('deaf', flush=True); time.sleep(60)"
    )
    with pytest.raises(CommandError, match="deaf"):
        run(python(code), timeout=1)


def test_the_command_has_a_process_group_of_its_own() -> None:
    group = int(run(python("import os; print(os.getpgid(0))"), timeout=20).stdout)
    assert group != os.getpgid(0)
