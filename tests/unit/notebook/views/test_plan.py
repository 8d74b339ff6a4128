from __future__ import annotations

import re
from html import unescape

from runbook_lib.cluster.differences.diff import object_diff
from runbook_lib.lifecycle.plan import Change, Plan
from runbook_lib.notebook.views.plan import LONG, blocks, plan_html

LIVE = {"kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "<old>"}}
DESIRED = {"kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "<new>"}}
HELM = """--- live values
+++ desired values
@@ -1,1 +1,2 @@
 a: 1
+b: 2
change Deployment istio-system/istiod
--- live
+++ desired
@@ -1,2 +1,2 @@
 kind: Deployment
-replicas: 1
+replicas: 2
create Service istio-system/istiod: it was deleted from the cluster"""
INSTALL = """chart istiod (local folder)
values:
  telemetry:
    enabled: false
objects (2):
  create Deployment istiod
  create Service istiod"""


def html(*changes: Change, **more: str) -> str:
    return plan_html(Plan("s", "uid", changes, **more))


def changed_lines(page: str) -> list[tuple[str, str]]:
    found = re.findall(r"<span class='rb-(add|del)'>(.*?)</span>", page)
    return [(kind, unescape(line)) for kind, line in found]


def test_nothing_to_change_is_said_plainly() -> None:
    page = html(note="It is there already.")
    assert "Nothing to change." in page
    assert "It is there already." in page
    assert "<details" not in page


def test_changed_lines_keep_their_signs_so_that_colour_says_nothing_alone() -> None:
    page = html(Change.of_object(object_diff(LIVE, DESIRED)))
    assert changed_lines(page) == [("del", "-  k: <old>"), ("add", "+  k: <new>")]
    assert "title='lines added: 1, removed: 1'" in page


def test_what_comes_from_the_cluster_is_escaped() -> None:
    page = html(Change.of_object(object_diff(LIVE, DESIRED)))
    assert "<old>" not in page
    assert "&lt;old&gt;" in page


def test_a_helm_release_is_shown_as_values_and_rendered_objects() -> None:
    found = blocks(HELM)
    assert [block.heading for block in found] == [
        "values",
        "change Deployment istio-system/istiod",
        "create Service istio-system/istiod: it was deleted from the cluster",
    ]
    assert [block.counts for block in found] == [(1, 0), (1, 1), (0, 0)]


def test_a_helm_install_is_shown_as_chart_values_and_objects() -> None:
    found = blocks(INSTALL)
    assert [block.heading for block in found] == [
        "chart istiod (local folder)",
        "values",
        "objects (2)",
    ]
    assert found[1].lines == ("  telemetry:", "    enabled: false")


def test_every_line_of_a_change_is_in_the_page() -> None:
    page = unescape(html(Change.of_text("Helm release istiod", "upgrade", HELM)))
    for line in ("a: 1", "+b: 2", "-replicas: 1", "+replicas: 2", "it was deleted from"):
        assert line in page


def test_the_reason_of_a_restart_is_shown_as_it_is() -> None:
    page = html(Change.of_text("StatefulSet a/b", "restart", "pod b-0 has no sidecar"))
    assert "pod b-0 has no sidecar" in page
    assert "<pre" not in page


def test_removing_a_line_that_begins_with_dashes_is_not_taken_for_a_heading() -> None:
    found = blocks("@@ -1,1 +1,1 @@\n--- a\n+++ b")
    assert found[0].lines == ("@@ -1,1 +1,1 @@", "--- a", "+++ b")


def test_long_differences_are_folded_and_short_ones_open() -> None:
    def folded(count: int) -> bool:
        text = "\n".join(f"+{number}" for number in range(count))
        return "<details open>" not in html(Change.of_text("A b", "create", text))

    assert (folded(LONG), folded(LONG + 1)) == (False, True)


def test_gaps_between_parts_of_an_object_are_marked() -> None:
    page = html(Change.of_text("A b", "change", "@@ -1 +1 @@\n+a\n@@ -9 +9 @@\n+b"))
    assert page.count("⋯") == 1


def test_what_cannot_be_predicted_is_said() -> None:
    page = plan_html(
        Plan("s", "uid", (Change.of_text("A b", "create", "+a"),), ("defaults of A b",))
    )
    assert "Cannot be predicted: defaults of A b" in page


def test_what_happens_on_failure_is_said_where_it_is_approved() -> None:
    change = Change.of_text("A b", "create", "+a")
    page = plan_html(Plan("s", "uid", (change,), fallback="A b is removed again"))
    assert "If it is not verified: A b is removed again" in page
