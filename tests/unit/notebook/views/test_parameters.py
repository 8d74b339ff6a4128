"""The form looks only where a person has pointed, and saves what was seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runbook_lib import init
from runbook_lib.base import ClusterUnreachable
from runbook_lib.init import Draft, Place, SeveralWorkloads
from runbook_lib.notebook.views.parameters import ParametersForm

FILE = "target: {kind: lab, lab: none}\n"


class Looked:
    """Stands for `init`, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.urls: list[str | None] = []
        self.several = False

    def draft(
        self, place: Any, *, workload: str | None, url: str | None, other_methods: bool
    ) -> Draft:
        self.asked.append((place, workload, other_methods))
        self.urls.append(url)
        if self.several and workload is None:
            raise SeveralWorkloads("two are led to", ["StatefulSet/web", "Deployment/api"])
        return Draft(FILE, workload or "StatefulSet/web", ("application.url: write it",))


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> Looked:
    found = Looked()
    monkeypatch.setattr(init, "contexts", lambda: ["prod", "test"])
    monkeypatch.setattr(init, "namespaces", lambda context: [f"xnat-{context}"])
    monkeypatch.setattr(init, "draft", found.draft)
    monkeypatch.setattr(Place, "connect", lambda place: (place.context, place.namespace))
    return found


@pytest.fixture
def form(looked: Looked) -> ParametersForm:  # noqa: ARG001 -- stands for the cluster
    made = ParametersForm()
    made.show()
    return made


def choose(form: ParametersForm) -> None:
    form.context.value = "prod"
    form.namespace.value = form.namespace.options[0]


def test_nothing_is_asked_before_a_context_and_a_namespace_are_chosen(
    form: ParametersForm, looked: Looked
) -> None:
    assert form.context.value is None
    form.look.click()
    assert "Choose a context" in form.status.value
    assert looked.asked == []
    assert form.save.disabled


def test_the_file_is_shown_with_what_is_left_to_do_and_saved(
    form: ParametersForm, looked: Looked, tmp_path: Path
) -> None:
    choose(form)
    form.look.click()
    assert looked.asked == [(("prod", "xnat-prod"), None, False)]
    assert "kind: lab" in form.text.value
    assert "CHANGE application.url" in form.status.value
    form.file.value = str(tmp_path / "my-cluster.yaml")
    form.save.click()
    assert (tmp_path / "my-cluster.yaml").read_text() == FILE
    form.save.click()
    assert "is there already" in form.status.value


def test_other_methods_are_asked_only_where_the_box_is_ticked(
    form: ParametersForm, looked: Looked
) -> None:
    choose(form)
    form.methods.value = True
    form.look.click()
    assert looked.asked[-1][2] is True


def test_of_several_workloads_one_is_chosen(form: ParametersForm, looked: Looked) -> None:
    looked.several = True
    choose(form)
    form.look.click()
    assert form.save.disabled
    form.workload.value = "Deployment/api"
    form.look.click()
    assert looked.asked[-1][1] == "Deployment/api"
    assert not form.save.disabled


def test_another_choice_forgets_what_was_seen(form: ParametersForm) -> None:
    choose(form)
    form.look.click()
    form.namespace.value = "other"
    assert form.save.disabled
    assert form.text.value == ""


def test_a_cluster_that_does_not_answer_is_said_in_the_form(
    form: ParametersForm, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_context: str) -> list[str]:
        raise ClusterUnreachable("no answer <now>", "check the VPN")

    monkeypatch.setattr(init, "namespaces", refuse)
    form.context.value = "test"
    assert "no answer &lt;now&gt;<br>→ check the VPN" in form.status.value


def test_an_address_that_a_person_names_is_asked_and_a_draft_about_another_is_forgotten(
    form: ParametersForm, looked: Looked
) -> None:
    choose(form)
    form.look.click()
    form.url.value = " https://xnat.example.org "
    assert form.save.disabled
    form.look.click()
    assert looked.urls == [None, "https://xnat.example.org"]
