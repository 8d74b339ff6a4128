"""DICOM from outside: a C-ECHO, the `ping` of imaging devices, which changes nothing.

C-ECHO is the Verification service of DICOM PS3.4, annex A; pynetdicom speaks the protocol. Its
import takes a second, so it waits for the first question.
"""

from __future__ import annotations

from dataclasses import dataclass

_CALLING = "ISTIO-RUNBOOK"
"""The application entity title under which the runbook calls: 16 characters at most."""

_SUCCESS = 0x0000
"""Status of a DIMSE response (DICOM PS3.7, annex C)."""


@dataclass(frozen=True)
class Echo:
    """What became of a C-ECHO.

    Attributes:
        answered: Whether the receiver took the association and answered with success.
        text: The same in a few words, or why not.
    """

    answered: bool
    text: str


def echo(address: str, port: int, *, title: str = "ANY-SCP", timeout: float = 10) -> Echo:
    """Ask a receiver over a connection of its own.

    Args:
        address: The receiver's name or IP address.
        port: Its port, as callers outside see it.
        title: The application entity title that is called; some receivers know only their own.
        timeout: Seconds for the connection, and for each answer.
    """
    from pynetdicom import AE
    from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

    device = AE(ae_title=_CALLING)
    device.connection_timeout = device.acse_timeout = device.dimse_timeout = timeout
    device.add_requested_context(Verification)
    association = device.associate(address, port, ae_title=title)
    if association.is_rejected:
        return Echo(False, f"refuses the association: does it know the title {title}?")
    if not association.is_established:
        return Echo(False, "takes no association")
    try:
        status = association.send_c_echo().get("Status")
    finally:
        association.release()
    if status is None:
        return Echo(False, "takes the association and does not answer")
    if status != _SUCCESS:
        return Echo(False, f"answers C-ECHO with status {status:#06x}")
    return Echo(True, "answers C-ECHO")
