"""Secrets are masked in every message of a kernel that is kept in its notebook."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from jupyter_client.session import Session

from runbook_lib.base.redact import MASK, register
from runbook_lib.notebook.kernel import mask_outputs

SECRET = "correct-horse-9f3a"


def sent(kind: str, content: dict[str, Any]) -> str:
    session = Session(key=b"")
    shell = SimpleNamespace(kernel=SimpleNamespace(session=session))
    mask_outputs(shell)
    mask_outputs(shell)  # as the cell that opens a notebook does when it is run again
    return b"".join(session.serialize(session.msg(kind, content))).decode()


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("stream", {"name": "stdout", "text": f"is {SECRET}\n"}),
        ("display_data", {"data": {"text/html": f"<b>{SECRET}</b>"}, "metadata": {}}),
        ("update_display_data", {"data": {"text/plain": SECRET}, "transient": {"display_id": "1"}}),
        ("execute_result", {"data": {"text/plain": SECRET}, "execution_count": 1}),
        ("error", {"ename": "E", "evalue": SECRET, "traceback": [f"raise E({SECRET!r})"]}),
    ],
)
def test_outputs_are_masked(kind: str, content: dict[str, Any]) -> None:
    register(SECRET)
    text = sent(kind, content)
    assert SECRET not in text
    assert MASK in text


def test_what_is_not_kept_goes_out_as_it_is() -> None:
    register(SECRET)
    assert SECRET in sent("comm_msg", {"data": SECRET})


def test_an_ipython_without_a_kernel_has_nothing_to_mask() -> None:
    mask_outputs(SimpleNamespace())
