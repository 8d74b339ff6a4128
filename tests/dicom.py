"""An imaging device, as far as the tests need one."""

from __future__ import annotations

from pynetdicom import AE
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

SUCCESS = 0x0000
"""Status of a DIMSE response (DICOM PS3.7, annex C)."""


def echo(address: str, port: int, timeout: float = 20) -> bool:
    """Whether a C-ECHO is answered there.

    Args:
        address: Of the receiver.
        port: Of the receiver.
        timeout: Seconds for the connection, and for each answer.
    """
    device = AE(ae_title="SCANNER")
    device.connection_timeout = device.acse_timeout = device.dimse_timeout = timeout
    device.add_requested_context(Verification)
    association = device.associate(address, port)
    if not association.is_established:
        return False
    answer = association.send_c_echo()
    association.release()
    return "Status" in answer and answer.Status == SUCCESS
