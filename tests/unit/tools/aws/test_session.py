"""What is asked of AWS, with which rights, and what is said when it does not answer as hoped."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from runbook_lib.base.errors import ParameterError, RunbookError
from runbook_lib.base.locations import repository_root
from runbook_lib.tools.aws import session as aws_session
from runbook_lib.tools.aws.account import Account
from runbook_lib.tools.aws.calls import Call
from runbook_lib.tools.aws.session import Session
from tests.unit.doubles.aws import ENVIRONMENT, REGION

ROOT = repository_root()
OWN = ROOT / "runbook_lib" / "tools" / "aws"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No credentials but made-up ones, and no endpoint that leads anywhere."""
    for name, value in {**ENVIRONMENT, "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}.items():
        monkeypatch.setenv(name, value)


@contextmanager
def answering(status: int, code: str, message: str) -> Iterator[str]:
    """The URL of a server that answers every request as EKS answers an error."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"message": message}).encode()
            self.send_response(status)
            self.send_header("x-amzn-ErrorType", code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_the_documented_policy_allows_exactly_what_is_asked() -> None:
    (block,) = re.findall(r"```json\n(.*?)```", (ROOT / "docs/aws.md").read_text(), re.DOTALL)
    (statement,) = json.loads(block)["Statement"]
    assert statement["Action"] == sorted(call.action for call in Call)


def test_every_call_is_made_and_no_other_way_leads_to_aws() -> None:
    sources = {path.name: path.read_text() for path in OWN.glob("*.py")}
    used = {name for text in sources.values() for name in re.findall(r"\bCall\.([A-Z_]+)", text)}
    assert used == {call.name for call in Call}
    assert [name for name, text in sources.items() if "boto3" in text] == ["session.py"]


def test_every_call_only_reads() -> None:
    assert {re.match("Describe|List", call.operation) is not None for call in Call} == {True}


@pytest.mark.parametrize(
    ("code", "cause", "remedy"),
    [
        ("AccessDeniedException", "does not allow eks:ListClusters", "the IAM action eks:List"),
        ("ExpiredTokenException", "does not accept the credentials", "aws sso login --profile p"),
        ("UnrecognizedClientException", "does not accept the credentials", "aws sso login"),
        ("InvalidRequestException", "eks:ListClusters: InvalidRequest", "aws eks list-clusters"),
    ],
)
def test_what_aws_refuses_is_said_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: str, cause: str, remedy: str
) -> None:
    config = tmp_path / "config"
    keys = "aws_access_key_id = testing\naws_secret_access_key = testing\n"
    config.write_text(f"[profile p]\nregion = {REGION}\n{keys}")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    with answering(403, code, "you may not") as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        with pytest.raises(RunbookError) as caught:
            Session(None, "p").items(Call.CLUSTERS)
    assert cause in caught.value.cause
    assert "you may not" in caught.value.cause
    assert remedy in caught.value.remedy


def test_no_answer_is_said_in_bounded_time() -> None:
    assert aws_session.CONNECT + aws_session.READ < 30
    with pytest.raises(RunbookError, match=r"no answer from AWS \(eks:ListClusters") as caught:
        Session(REGION, None).items(Call.CLUSTERS)
    assert "VPC endpoint" in caught.value.remedy


def test_missing_credentials_are_said_with_the_login(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(RunbookError, match="no valid AWS credentials") as caught:
        Session(REGION, None).items(Call.CLUSTERS)
    assert "aws sso login" in caught.value.remedy


def test_an_sso_session_that_has_ended_is_said_with_the_login(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    config = tmp_path / "config"
    config.write_text(
        "[sso-session s]\nsso_region = eu-central-1\nsso_start_url = https://127.0.0.1/start\n"
        "[profile p]\nsso_session = s\nsso_account_id = 123456789012\nsso_role_name = r\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(RunbookError, match="no valid AWS credentials of profile p") as caught:
        Session(REGION, "p").items(Call.CLUSTERS)
    assert "aws sso login --profile p" in caught.value.remedy


def test_an_unknown_profile_is_a_mistake_in_the_parameters() -> None:
    with pytest.raises(ParameterError, match=r"target\.aws\.profile"):
        Session(REGION, "nowhere").items(Call.CLUSTERS)


def test_an_unknown_region_is_a_mistake_in_the_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(ParameterError, match="region is not known"):
        Session(None, None).items(Call.CLUSTERS)


def test_without_the_extra_its_name_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(ParameterError) as caught:
        Session(REGION, None).items(Call.CLUSTERS)
    assert "pip install 'istio-runbook[aws]'" in caught.value.remedy


def test_nothing_that_looks_needs_the_extra_before_aws_is_asked() -> None:
    """`aws-extra` in pyproject.toml keeps everything else from importing it."""
    script = """
import sys
sys.modules.update(boto3=None, botocore=None)
import runbook_lib.chapters, runbook_lib.diagnosis.looking, runbook_lib.diagnosis.rules
from runbook_lib.tools.aws import Account, Call, LoadBalancer
Account("https://127.0.0.1", None, None, None).command("eks", "list-clusters")
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=50, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("server", "region"),
    [
        ("https://ABC.gr7.eu-central-1.eks.amazonaws.com", "eu-central-1"),
        ("https://ABC.yl4.us-gov-west-1.eks.amazonaws.com", "us-gov-west-1"),
        ("https://ABC.sk1.cn-north-1.eks.amazonaws.com.cn", "cn-north-1"),
        ("https://ABC.gr7.eu-west-3.api.aws", "eu-west-3"),
    ],
)
def test_the_region_is_that_of_the_api_servers_address(server: str, region: str) -> None:
    command = Account(server, None, None, None).command("eks", "list-clusters")
    assert command == f"aws eks list-clusters --region {region}"


def test_a_command_names_region_and_profile() -> None:
    account = Account("https://10.0.0.1", REGION, "audit", None)
    assert account.command("ec2", "describe-vpcs").endswith(f"--region {REGION} --profile audit")
