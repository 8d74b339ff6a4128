"""A DICOM receiver that answers C-ECHO, the `ping` of imaging devices, and stores nothing.

C-ECHO is the Verification service of DICOM PS3.4, annex A; pynetdicom speaks the protocol.
"""

from __future__ import annotations

import socket
from functools import partial
from typing import Any

from pynetdicom import AE
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]
from pynetdicom.transport import AssociationServer

AE_TITLE = "XNAT"
"""The application entity title of the public chart's receiver."""


class _Server(AssociationServer):
    """A server on a socket that listens already."""

    def __init__(self, listener: socket.socket, *arguments: Any, **given: Any) -> None:
        self._listener = listener
        super().__init__(*arguments, **given)

    def server_bind(self) -> None:
        """Take the listener in place of the socket that was made to be bound."""
        assert self.socket is not None, "made a moment ago"
        self.socket.close()
        self.socket = self._listener
        self.server_address = self._listener.getsockname()


def serve(listener: socket.socket) -> None:
    """Answer on a listening socket for ever; pynetdicom logs every association."""
    entity = AE(ae_title=AE_TITLE)
    entity.add_supported_context(Verification)
    server = entity.make_server(
        listener.getsockname(),
        server_class=partial(_Server, listener),  # type: ignore[arg-type]
    )
    server.serve_forever()
