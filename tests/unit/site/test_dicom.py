"""A C-ECHO from outside, at a receiver of pynetdicom's own."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from pynetdicom import AE, evt
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from runbook_lib.site.dicom import echo


@contextmanager
def receiving(title: str = "", status: int = 0x0000) -> Iterator[int]:
    """A receiver's port; it takes every title if it is given none."""
    entity = AE(ae_title=title or "ANY")
    entity.require_called_aet = bool(title)
    entity.add_supported_context(Verification)
    handlers = [(evt.EVT_C_ECHO, lambda _event: status)]
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    assert server is not None
    yield server.server_address[1]
    server.shutdown()


def test_a_receiver_answers() -> None:
    with receiving() as port:
        assert echo("127.0.0.1", port).answered


def test_one_that_knows_only_its_own_title_is_called_by_it() -> None:
    with receiving("XNAT") as port:
        assert echo("127.0.0.1", port, title="XNAT").answered
        refused = echo("127.0.0.1", port, title="OTHER")
    assert not refused.answered
    assert "does it know the title OTHER?" in refused.text


def test_an_answer_that_is_no_success_is_none() -> None:
    with receiving(status=0x0122) as port:
        found = echo("127.0.0.1", port)
    assert (found.answered, found.text) == (False, "answers C-ECHO with status 0x0122")


def test_an_open_port_alone_proves_nothing() -> None:
    """Where a sidecar refuses plaintext, the connection is made all the same."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        found = echo("127.0.0.1", server.getsockname()[1], timeout=0.5)
    assert (found.answered, found.text) == (False, "takes no association")
