"""Execute the jobs of docs/pipelines as shell, as a runner does, with artifacts in between."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from runbook_lib.base.locations import repository_root
from tests.labs import Lab

EXAMPLES = repository_root() / "docs" / "pipelines"
GITHUB = EXAMPLES / "github-actions.yaml"
GITLAB = EXAMPLES / "gitlab-ci.yaml"


@dataclass(frozen=True)
class Job:
    """A job that has ended.

    Attributes:
        code: The exit code of the script that ended it.
        said: What its scripts printed.
        files: What they wrote into the files that GitHub names to them, by variable.
    """

    code: int
    said: str
    files: dict[str, str] = field(default_factory=dict)


class Runner:
    """Runs the jobs of one pipeline, each in a checkout of its own."""

    def __init__(self, lab: Lab, example: Path, folder: Path, only: str) -> None:
        """Prepare a pipeline.

        Args:
            lab: The cluster.
            example: One of the files in docs/pipelines.
            folder: For checkouts, artifacts and what is kept.
            only: The chapter that the program is to take, for a shorter test.
        """
        self._pipeline: dict[str, Any] = yaml.safe_load(example.read_text())
        self._github = example == GITHUB
        self._lab, self._folder = lab, folder
        self.kept = folder / "kept"
        program = folder / "bin" / "istio-runbook"
        program.parent.mkdir(parents=True)
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m runbook_lib "$@" --only {only}\n')
        program.chmod(0o755)

    def run(self, name: str) -> Job:
        """Execute a job's scripts in order, up to the first that fails."""
        checkout = self._folder / name
        checkout.mkdir()
        shutil.copy(repository_root() / "parameters" / "lab.yaml", checkout / "my-cluster.yaml")
        artifact = self._folder / "artifact"
        if artifact.is_dir():
            shutil.copytree(artifact, checkout / "plan")
        ended = (
            self._github_job(name, checkout) if self._github else self._gitlab_job(name, checkout)
        )
        self._upload(checkout, artifact)
        return ended

    def _github_job(self, name: str, checkout: Path) -> Job:
        variables = {
            each: str(checkout / each)
            for each in ("GITHUB_ENV", "GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "RUNNER_TEMP")
        }
        Path(variables["RUNNER_TEMP"]).mkdir()
        kubeconfig = Path(self._lab.state.kubeconfig).read_text()
        said, code, exported = "", 0, {}
        for step in self._pipeline["jobs"][name]["steps"]:
            if "run" not in step:
                continue
            given = dict.fromkeys(step.get("env", {}), kubeconfig)
            done = self._shell(step["run"], checkout, {**variables, **exported, **given})
            said, code = said + done.stdout, done.returncode
            if code:
                break
            exported = dict(
                line.split("=", 1) for line in _text(variables["GITHUB_ENV"]).splitlines()
            )
        files = {each: _text(path) for each, path in variables.items() if each != "RUNNER_TEMP"}
        return Job(code, said, files)

    def _gitlab_job(self, name: str, checkout: Path) -> Job:
        variables = {"KUBECONFIG": self._lab.state.kubeconfig}
        done = self._shell("\n".join(self._pipeline[name]["script"]), checkout, variables)
        return Job(done.returncode, done.stdout)

    def _shell(
        self, script: str, checkout: Path, variables: dict[str, str]
    ) -> subprocess.CompletedProcess[str]:
        pipeline = self._pipeline["env" if self._github else "variables"]
        lab = {k: v for k, v in self._lab.environment.items() if k != "RUNBOOK_APPROVE"}
        environ = {
            **lab,
            **pipeline,
            "KEPT": str(self.kept),
            "CI": "true",
            "PYTHONPATH": str(repository_root()),
            **variables,
        }
        environ["PATH"] = f"{self._folder / 'bin'}:{environ.get('PATH', os.defpath)}"
        return subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
            cwd=checkout,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=240,
            check=False,
        )

    def _upload(self, checkout: Path, artifact: Path) -> None:
        """Keep what the plan's job names as its artifact; modes are lost, as at GitHub."""
        if artifact.is_dir():
            return
        (pattern,) = self._uploaded()
        first = Path(pattern).parts[0]
        for path in checkout.glob(f"{pattern.rstrip('/')}/**/*"):
            there = artifact / path.relative_to(checkout / first)
            there.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, there)

    def _uploaded(self) -> list[str]:
        if not self._github:
            return list(self._pipeline["plan"]["artifacts"]["paths"])
        steps = self._pipeline["jobs"]["plan"]["steps"]
        return [s["with"]["path"] for s in steps if "upload-artifact" in s.get("uses", "")]


def _text(path: str) -> str:
    return Path(path).read_text() if Path(path).is_file() else ""
