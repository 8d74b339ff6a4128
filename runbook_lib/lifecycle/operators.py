"""Who works with this kernel: an account of the cluster, and the person behind it."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from runbook_lib.base import ClusterRefused
from runbook_lib.cluster import Cluster, accounts

OPERATOR_VARIABLE = "RUNBOOK_OPERATOR"
"""Names the person where neither the system nor a pipeline knows."""

_NAMED_BY = (OPERATOR_VARIABLE, "JUPYTERHUB_USER", "GITHUB_ACTOR", "GITLAB_USER_LOGIN")
"""Environment variables that name a person where everybody is the same user of the system.

See https://jupyterhub.readthedocs.io/en/stable/reference/spawners.html,
https://docs.github.com/en/actions/reference/workflows-and-actions/variables and
https://docs.gitlab.com/ci/variables/predefined_variables/.
"""


@dataclass(frozen=True)
class Person:
    """Somebody who decides.

    Attributes:
        account: Who they are to the cluster; empty where it does not say.
        name: What they are called here, which nobody has checked.
    """

    account: str
    name: str

    def __str__(self) -> str:
        """The account, with the name beside it."""
        return f"{self.account} ({self.name})" if self.account else self.name


def person(cluster: Cluster) -> Person:
    """Return whose credentials this process has, and who says to use them."""
    try:
        return Person(accounts.who_am_i(cluster), operator())
    except ClusterRefused:  # served since Kubernetes 1.28
        return Person("", operator())


def operator(environ: Mapping[str, str] = os.environ) -> str:
    """Return who runs this kernel, as `user@host`; a user without a name by its id."""
    named = next((environ[each] for each in _NAMED_BY if environ.get(each)), "")
    try:
        user = named or getpass.getuser()
    except (KeyError, OSError):  # in a container; newer versions of Python raise OSError
        user = str(os.getuid())
    return user if "@" in user else f"{user}@{socket.gethostname()}"
