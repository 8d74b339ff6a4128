"""Whatever is in a parameters file: it is refused in words, or it can be planned with."""

from __future__ import annotations

import io
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from runbook_lib import chapters
from runbook_lib.base.errors import RunbookError
from runbook_lib.base.exit_codes import ExitCode
from runbook_lib.chapters.kiali import addon_manifests
from runbook_lib.cli import main
from runbook_lib.lifecycle.plan import Plan
from runbook_lib.parameters import loading
from tests.unit.doubles import given_cluster
from tests.unit.parameters.files import files

EXAMPLES = 220


def command(path: Path) -> list[str]:
    """What loads a file as every command does, and needs no cluster."""
    return ["rights", "--markdown", "--parameters", str(path)]


def called(arguments: Sequence[str]) -> tuple[int, str]:
    """Call the command line within this process; return exit code and standard error."""
    errors = io.StringIO()
    with (
        patch.object(sys, "argv", ["istio-runbook", *arguments]),
        redirect_stdout(io.StringIO()),
        redirect_stderr(errors),
        pytest.raises(SystemExit) as ended,
    ):
        main()
    return int(ended.value.code or 0), errors.getvalue()


def plan_everything(path: Path, folder: Path) -> None:
    """Plan each step on a cluster that holds little; a step may refuse, in words."""
    parameters = loading.load(path).parameters
    context = replace(given_cluster.context(folder), parameters=parameters)
    for notebook in chapters.CHAPTERS:
        for step in chapters.of(notebook, parameters):
            with suppress(RunbookError):
                assert isinstance(step.plan(context), Plan)


@pytest.mark.timeout(240)
def test_a_file_is_refused_in_words_or_can_be_planned_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(url: str, *_others: object) -> str:
        raise RunbookError(f"cannot download {url}: there is no network")

    monkeypatch.setattr(addon_manifests, "_download", offline)
    monkeypatch.setenv("PATH", str(tmp_path))  # neither helm nor istioctl
    path = tmp_path / "mine.yaml"
    ends: Counter[int] = Counter()

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],  # to explain, it would trace each line
        suppress_health_check=list(HealthCheck),
    )
    @given(files())
    def each(content: bytes) -> None:
        path.write_bytes(content)
        code, errors = called(command(path))
        ends[code] += 1
        if code == ExitCode.DONE:
            plan_everything(path, tmp_path)
            return
        assert code == ExitCode.BAD_INPUT, errors
        assert errors.startswith("ParameterError: ")
        assert str(path) in errors
        assert "→" in errors

    each()
    assert ends.total() >= EXAMPLES
    assert min(ends[ExitCode.DONE], ends[ExitCode.BAD_INPUT]) > EXAMPLES / 10, ends


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        (b"target: {kind: lab}\n", ExitCode.DONE, ""),
        (b"story: safe\0\n", ExitCode.BAD_INPUT, "unacceptable character"),
        (b"kiali: &k {spec: *k}\n", ExitCode.BAD_INPUT, "the anchor in line 1 contains itself"),
    ],
    ids=["valid", "binary", "endless"],
)
def test_a_process_of_its_own_ends_alike(
    tmp_path: Path, content: bytes, code: ExitCode, words: str
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    argv = [sys.executable, "-m", "runbook_lib", *command(path)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == code
    assert words in done.stderr
    assert "Traceback" not in done.stderr
