"""A run's folder goes to the place that a URL names, or the URL is refused: no folder `s3:`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import fsspec  # type: ignore[import-untyped]
import httpx
import pytest
from typer.testing import CliRunner

from runbook_lib.base import ParameterError, RunbookError
from runbook_lib.cli import app
from runbook_lib.headless import storage
from runbook_lib.headless.storage import Storage
from tests.unit.doubles import aws


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run's, which has ended."""
    made = tmp_path / "20260304T050607Z"
    (made / "more").mkdir(parents=True)
    (made / "summary.json").write_text('{"complete": true}')
    (made / "more" / "evidence.jsonl").write_text("{}\n")
    return made


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a bucket of moto's."""
    with aws.server() as url:
        for name, value in {**aws.ENVIRONMENT, "AWS_ENDPOINT_URL": url}.items():
            monkeypatch.setenv(name, value)
        httpx.post(f"{url}/moto-api/reset")
        where = {"LocationConstraint": aws.REGION}
        boto3.client("s3").create_bucket(Bucket="runs", CreateBucketConfiguration=where)
        yield "s3://runs/xnat"
        fsspec.filesystem("s3").clear_instance_cache()


def opened(url: str) -> Storage:
    place = storage.of(url)
    assert place is not None
    return place


@pytest.mark.parametrize("output", ["runs", "/tmp/x", "./a:b", "C"])
def test_a_folder_is_a_folder(output: str) -> None:
    assert storage.of(output) is None


@pytest.mark.parametrize("scheme", ["file", "memory"])
def test_every_file_of_a_run_is_copied(folder: Path, tmp_path: Path, scheme: str) -> None:
    place = opened(f"{scheme}://{tmp_path}/there/")
    place.begin(folder)
    there = place.keep(folder)
    assert there == f"{scheme}://{tmp_path}/there/{folder.name}"
    assert place.files.cat_file(f"{there}/summary.json") == b'{"complete": true}'
    assert place.files.cat_file(f"{there}/more/evidence.jsonl") == b"{}\n"


def test_what_is_copied_to_a_folder_is_for_its_owner_alone(folder: Path, tmp_path: Path) -> None:
    opened(f"file://{tmp_path}/there").keep(folder)
    copied = tmp_path / "there" / folder.name
    assert copied.stat().st_mode & 0o777 == 0o700
    assert (copied / "summary.json").stat().st_mode & 0o777 == 0o600


def test_a_run_goes_to_s3(folder: Path, bucket: str) -> None:
    place = opened(bucket)
    place.begin(folder)
    client = boto3.client("s3")
    summary = f"xnat/{folder.name}/summary.json"
    begun = client.get_object(Bucket="runs", Key=summary)["Body"].read()
    assert begun == b'{"complete": false}\n', "whoever looks now sees that it has not ended"
    place.keep(folder)
    listed = client.list_objects_v2(Bucket="runs")["Contents"]
    assert [item["Key"] for item in listed] == [
        f"xnat/{folder.name}/more/evidence.jsonl",
        summary,
    ]
    assert client.get_object(Bucket="runs", Key=summary)["Body"].read() == b'{"complete": true}'


@pytest.mark.usefixtures("bucket")
def test_a_bucket_that_is_not_there_is_found_before_anything_is_changed(folder: Path) -> None:
    with pytest.raises(RunbookError, match=r"cannot write the run to s3://other: .*bucket") as told:
        opened("s3://other").begin(folder)
    assert "nothing has been touched" in told.value.remedy


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("s3:/bucket/x", "neither a folder nor a URL"),
        ("S3://bucket/x", "neither a folder nor a URL"),
        ("xyz://bucket/x", "fsspec knows no xyz://"),
        ("s3://me:hunter22@bucket/x", "holds credentials"),
        ("gs://bucket/x", "gcsfs"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_and_no_folder_is_made(
    output: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["run", "--runs", output])
    assert isinstance(done.exception, ParameterError)
    assert said in str(done.exception)
    assert "hunter22" not in str(done.exception)
    assert list(tmp_path.iterdir()) == []


def test_without_the_extra_its_name_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(ParameterError, match=r"pip install 'istio-runbook\[s3\]'"):
        storage.of("s3://bucket/x")
