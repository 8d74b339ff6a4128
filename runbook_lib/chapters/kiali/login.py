"""Log in to Kiali from a notebook: the ways in, and a token for whoever asks for one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from runbook_lib.chapters.kiali import access as kiali_access
from runbook_lib.cluster import accounts
from runbook_lib.lifecycle import Context, Table, TokenShown, operator

SHOWN_SECONDS = 60
"""How long a token is on the screen."""


@dataclass(frozen=True)
class Login:
    """What a person needs to log in.

    Attributes:
        ways: Where Kiali is, and the commands for a terminal.
        accounts: The accounts to log in with.
        mint: Makes a token of one of them; raises what the API server says against it.
        command: The command that makes one in a terminal.
    """

    ways: Table
    accounts: tuple[str, ...]
    mint: Callable[[str], str]
    command: Callable[[str], str]

    def __str__(self) -> str:
        """The ways in, which name the commands."""
        return str(self.ways)


def of(context: Context) -> Login:
    """Look up the ways in and the accounts; no token is made before it is asked for."""
    parameters = context.parameters

    def mint(account: str) -> str:
        token = accounts.token(
            context.cluster, parameters.istio.namespace, account, parameters.kiali.token_minutes
        )
        # Who asked for what; the token itself is in no record.
        minutes = parameters.kiali.token_minutes
        context.journal.record(TokenShown(account, minutes, operator()))
        return token

    return Login(
        kiali_access.ways_in(context),
        tuple(kiali_access.accounts(context)),
        mint,
        lambda account: kiali_access.token_command(context, account),
    )
