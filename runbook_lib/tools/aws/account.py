"""What an AWS account says about one EKS cluster."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Collection, Iterable, Iterator
from urllib.parse import urlsplit

from runbook_lib.base import ParameterError
from runbook_lib.tools.aws import load_balancers
from runbook_lib.tools.aws.calls import Call, Item
from runbook_lib.tools.aws.load_balancers import LoadBalancer
from runbook_lib.tools.aws.session import Session

Command = Callable[..., str]
"""Writes a command of the AWS CLI, as `Account.command` does."""

_ENDPOINT = re.compile(
    r".+\.(?P<region>[a-z]{2}(-[a-z]+)+-\d+)"
    r"\.(eks\.amazonaws\.com(\.cn)?|api\.aws|api\.amazonwebservices\.com\.cn)"
)
"""An API server of EKS; dual-stack ones end with `api.aws`, see
https://docs.aws.amazon.com/eks/latest/userguide/cluster-endpoint.html."""

_MOST_VALUES = 100
"""Values of a filter; EC2 takes 200."""


def region_of(server: str) -> str | None:
    """Return the region in the URL of an API server of EKS; None if it is none."""
    found = _ENDPOINT.fullmatch((urlsplit(server).hostname or "").lower())
    return found["region"] if found else None


class Account:
    """Reads; every method raises as `Session.items` does."""

    def __init__(
        self, server: str, region: str | None, profile: str | None, cluster: str | None
    ) -> None:
        """Nothing is asked yet.

        Args:
            server: The URL of the API server, which tells cluster and region.
            region: The region, where the URL does not tell.
            profile: A profile of `~/.aws/config`; None: what the environment says.
            cluster: The name of the EKS cluster, where the URL does not tell.
        """
        self._host = (urlsplit(server).hostname or "").lower()
        found = region_of(server)
        self._of_eks = found is not None
        self._session = Session(region or found, profile)
        self._profile = profile
        self._name = cluster

    def command(self, service: str, *words: str) -> str:
        """Return a command of the AWS CLI for this account and region."""
        where = ["--region", self._session.region] if self._session.region else []
        who = ["--profile", self._profile] if self._profile else []
        return shlex.join(["aws", service, *words, *where, *who])

    def cluster(self) -> Item:
        """Return the EKS cluster, as `DescribeCluster` has it.

        Raises:
            ParameterError: None in the account and region has the API server's address.
        """
        names = self._session.items(Call.CLUSTERS) if self._name is None else [self._name]
        for name in names:
            found = self._session.item(Call.CLUSTER, name=name)
            host = (urlsplit(str(found.get("endpoint", ""))).hostname or "").lower()
            if host == self._host or (self._name is not None and not self._of_eks):
                return found
        region = f" of {self._session.region}" if self._session.region else ""
        raise ParameterError(
            f"target.aws: the API server {self._host} is none of the EKS clusters{region} that "
            f"these credentials see: {', '.join(names) or 'there are none'}",
            "name region and profile of the cluster's account; where the API server is reached "
            "through another address, such as a proxy's, write its name: target.aws.cluster",
        )

    def node_groups(self, cluster: Item) -> list[Item]:
        """Return the managed node groups of a cluster."""
        name = cluster["name"]
        return [
            self._session.item(Call.NODE_GROUP, clusterName=name, nodegroupName=group)
            for group in self._session.items(Call.NODE_GROUPS, clusterName=name)
        ]

    def instances(self, ids: Iterable[str]) -> list[Item]:
        """Return EC2 instances; those that are no more are left out."""
        reservations = self._filtered(Call.INSTANCES, "instance-id", ids)
        return [instance for each in reservations for instance in each["Instances"]]

    def security_groups(self, ids: Iterable[str]) -> dict[str, Item]:
        """Return security groups by their ids."""
        found = self._filtered(Call.SECURITY_GROUPS, "group-id", ids)
        return {each["GroupId"]: each for each in found}

    def subnets(self, ids: Iterable[str]) -> list[Item]:
        """Return subnets."""
        return list(self._filtered(Call.SUBNETS, "subnet-id", ids))

    def load_balancers(self, hosts: Collection[str]) -> list[LoadBalancer]:
        """Return the load balancers of these DNS names that are in the account and region."""
        return list(load_balancers.find(self._session, hosts)) if hosts else []

    def _filtered(self, call: Call, name: str, values: Iterable[str]) -> Iterator[Item]:
        """Ask by a filter: unlike a list of ids, it is no error where one is gone."""
        ordered = sorted(set(values))
        for start in range(0, len(ordered), _MOST_VALUES):
            some = ordered[start : start + _MOST_VALUES]
            yield from self._session.items(call, Filters=[{"Name": name, "Values": some}])
