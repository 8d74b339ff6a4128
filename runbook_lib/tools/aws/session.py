"""boto3, loaded when AWS is asked for and not before: bounded in time, its errors in words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

from runbook_lib.base import ParameterError, RunbookError
from runbook_lib.tools.aws.calls import Call, Item

CONNECT, READ = 5.0, 15.0
"""Seconds to connect, and seconds without an answer."""

_ATTEMPTS = 2

_DENIED = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation")
_EXPIRED = (
    *("AuthFailure", "ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId"),
    *("RequestExpired", "UnrecognizedClientException"),
)
"""Error codes, see https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html."""


class Session:
    """Calls as one profile, in one region."""

    def __init__(self, region: str | None, profile: str | None) -> None:
        """Nothing is loaded, and nothing is asked yet.

        Args:
            region: Such as `eu-central-1`; None: the one that the profile or environment names.
            profile: One of `~/.aws/config`; None: the one that boto3 would take.
        """
        self._given = region
        self._profile = profile
        self._clients: dict[str, Any] = {}
        self._making = Lock()

    @property
    def region(self) -> str | None:
        """The region, as far as it is known before anything is asked."""
        return self._given

    @property
    def login(self) -> str:
        """The command that renews credentials."""
        return "aws sso login" + (f" --profile {self._profile}" if self._profile else "")

    def items(self, call: Call, **arguments: Any) -> list[Any]:
        """Ask for a list, page by page.

        Raises:
            ParameterError: boto3 is not installed, or the profile or region is not known.
            RunbookError: AWS refuses, or does not answer in time.
        """
        client = self._client(call)
        with self._errors(call):
            if client.can_paginate(_method(call)):
                pages = client.get_paginator(_method(call)).paginate(**arguments)
                return [item for page in pages for item in page[call.key]]
            return list(getattr(client, _method(call))(**arguments)[call.key])

    def item(self, call: Call, **arguments: Any) -> Item:
        """Ask for one thing; raises as `items` does."""
        client = self._client(call)
        with self._errors(call):
            found: Item = getattr(client, _method(call))(**arguments)[call.key]
            return found

    def _client(self, call: Call) -> Any:
        try:
            import boto3
            from botocore.config import Config
        except ImportError as error:
            raise ParameterError(
                f"target.aws asks for a look at AWS, and boto3 is not installed: {error}",
                "pip install 'istio-runbook[aws]', or write target.aws: null",
            ) from error
        with self._making, self._errors(call):  # boto3 makes clients in one thread at a time
            if call.service not in self._clients:
                session = boto3.Session(profile_name=self._profile, region_name=self._given)
                self._clients[call.service] = session.client(
                    call.service,
                    config=Config(
                        connect_timeout=CONNECT,
                        read_timeout=READ,
                        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
                    ),
                )
            return self._clients[call.service]

    @contextmanager
    def _errors(self, call: Call) -> Iterator[None]:
        from botocore import exceptions

        profile = f" of profile {self._profile}" if self._profile else ""
        try:
            yield
        except exceptions.ProfileNotFound as error:
            raise ParameterError(
                f"target.aws.profile: {error}", "choose one of: aws configure list-profiles"
            ) from error
        except exceptions.NoRegionError as error:
            raise ParameterError(
                "the AWS region is not known", "write target.aws.region, such as eu-central-1"
            ) from error
        except exceptions.ClientError as error:
            raise self._answered(call, error.response.get("Error") or {}) from error
        except (
            exceptions.NoCredentialsError,
            exceptions.PartialCredentialsError,
            exceptions.CredentialRetrievalError,
            exceptions.SSOError,
            exceptions.TokenRetrievalError,
        ) as error:
            raise RunbookError(
                f"there are no valid AWS credentials{profile}: {error}",
                f"log in, then look again: {self.login}; another profile: target.aws.profile",
            ) from error
        except (exceptions.ConnectionError, exceptions.HTTPClientError) as error:
            raise RunbookError(
                f"no answer from AWS ({call.action}): {error}",
                "check that this machine reaches the region's endpoints (proxy, VPC endpoint): "
                f"{_command(call)}",
            ) from error
        except exceptions.BotoCoreError as error:
            raise RunbookError(f"{call.action}: {error}", f"try it: {_command(call)}") from error

    def _answered(self, call: Call, error: Item) -> RunbookError:
        """Return the error that AWS answered with, in words."""
        code, message = str(error.get("Code", "")), str(error.get("Message", ""))
        if code in _DENIED:
            # What EC2 adds only the account's administrators can decode, and it differs each time.
            message = message.partition(" Encoded authorization")[0]
            return RunbookError(
                f"AWS does not allow {call.action}: {message}",
                f"ask for the IAM action {call.action}; docs/aws.md has the whole policy",
            )
        if code in _EXPIRED:
            return RunbookError(
                f"AWS does not accept the credentials ({call.action}: {code}: {message})",
                f"log in, then look again: {self.login}",
            )
        return RunbookError(f"{call.action}: {code}: {message}", f"try it: {_command(call)}")


def _method(call: Call) -> str:
    from botocore import xform_name

    return str(xform_name(call.operation))


def _command(call: Call) -> str:
    """Return a call as a command, such as `aws elbv2 describe-tags`."""
    from botocore import xform_name

    return f"aws {call.service} {xform_name(call.operation, '-')}"
