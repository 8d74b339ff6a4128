"""A page in front that hides the answers is found before a policy is made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from runbook_lib.chapters.shared import preflight
from runbook_lib.lifecycle import Context
from runbook_lib.site import BYPASS
from tests.unit.doubles.given_cluster import context, pod, web_workload
from tests.unit.site.fronts import Page, answering

LOGIN = {"Server": "awselb/2.0", "Location": "https://login.example.com/authorize"}


def behind(folder: Path, url: str) -> Context:
    found = context(folder, pod(), web_workload())
    return replace(found, target=replace(found.target, url=url))


def test_a_login_in_front_is_refused_with_its_header_and_the_way_around(tmp_path: Path) -> None:
    with answering(Page(302, "", LOGIN)) as url:
        (finding,) = preflight.hidden(behind(tmp_path, url))
    assert finding.refuses
    assert finding.where == url
    assert finding.evidence == ("response header server: awselb/2.0",)
    assert finding.remedy == BYPASS


@pytest.mark.parametrize(
    "page",
    [Page(200, "XNAT"), Page(500, "broken"), Page(502, "", {"Server": "awselb/2.0"})],
    ids=["well", "broken", "down"],
)
def test_an_answer_of_the_pods_or_none_at_all_is_for_the_steps_to_judge(
    tmp_path: Path, page: Page
) -> None:
    with answering(page) as url:
        assert list(preflight.hidden(behind(tmp_path, url))) == []
