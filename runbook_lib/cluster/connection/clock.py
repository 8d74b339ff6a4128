"""What time it is to an API server, by the `Date` of its answers, and to this machine."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

TOLERANCE = timedelta(minutes=5)
"""As AWS has it for signed requests: clocks that differ by less are taken to agree."""

_NOT_YET_VALID, _EXPIRED = 9, 10
"""`X509_V_ERR_CERT_NOT_YET_VALID` and `X509_V_ERR_CERT_HAS_EXPIRED` of OpenSSL."""

_LIMIT = 5.0


def time_in(headers: Mapping[str, str] | None) -> datetime | None:
    """Return what an answer says the time is; None if it does not."""
    try:
        found = parsedate_to_datetime({k.lower(): v for k, v in (headers or {}).items()}["date"])
    except (KeyError, ValueError, TypeError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def difference(there: datetime | None) -> str:
    """Say how this machine's clock differs from one that was just read; empty if it hardly does."""
    if there is None:
        return ""
    ahead = datetime.now(UTC) - there
    if abs(ahead) <= TOLERANCE:
        return ""
    seconds = int(abs(ahead).total_seconds())
    days, hours, minutes = seconds // 86_400, seconds // 3600 % 24, seconds // 60 % 60
    parts = ((days, "d"), (hours, "h"), (minutes, "min"))
    text = " ".join(f"{number} {unit}" for number, unit in parts if number)
    side = "ahead of" if ahead > timedelta() else "behind"
    return (
        f"this machine's clock is {text} {side} the API server's, and says "
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    )


def of_certificate(error: BaseException, server: Callable[[], str]) -> str:
    """Say how the clocks differ, where a certificate was refused for its dates; else nothing.

    The server is asked once more without looking at its certificate. Nothing is sent to it, and
    what it says is only told.

    Args:
        error: What made a request fail.
        server: Gives the API server's URL.
    """
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLCertVerificationError):
        reason = getattr(cause, "reason", None)
        inside = next((each for each in cause.args if isinstance(each, BaseException)), None)
        cause = reason if isinstance(reason, BaseException) else inside or cause.__cause__
    if cause is None or cause.verify_code not in (_NOT_YET_VALID, _EXPIRED):
        return ""
    parts = urlsplit(server())
    unverified = ssl._create_unverified_context()
    connection = http.client.HTTPSConnection(
        parts.hostname or "", parts.port, timeout=_LIMIT, context=unverified
    )
    try:
        connection.request("HEAD", "/version")
        return difference(time_in(dict(connection.getresponse().headers)))
    except (OSError, http.client.HTTPException):
        return ""
    finally:
        connection.close()
