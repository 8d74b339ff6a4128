"""Certificates and TLS versions of load balancers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from runbook_lib.lifecycle import Finding, Severity
from runbook_lib.tools.aws import Command, Item, Listener, LoadBalancer

RECOMMENDED = "ELBSecurityPolicy-TLS13-1-2-2021-06"
"""TLS 1.2 and 1.3, see https://docs.aws.amazon.com/elasticloadbalancing/latest/application/
describe-ssl-policies.html; network load balancers have it, too."""

_POLICIES = (
    "https://docs.aws.amazon.com/elasticloadbalancing/latest/application/describe-ssl-policies.html"
)
_CERTIFICATES = "https://docs.aws.amazon.com/acm/latest/userguide/troubleshooting.html"

_OLD = ("TLSv1", "TLSv1.1")

SOON = timedelta(days=30)
"""What ACM renews itself is renewed 60 days before it ends."""


def judge(command: Command, balancer: LoadBalancer, host: str, now: datetime) -> Iterator[Finding]:
    """Find listeners that offer old versions of TLS, and certificates that browsers refuse.

    Args:
        command: Writes a command of the AWS CLI.
        balancer: The load balancer.
        host: The name under which people open the application; empty without TLS.
        now: The time.
    """
    for listener in balancer.listeners:
        name = f"listener {listener.item['Port']} of load balancer "
        name += balancer.item["LoadBalancerName"]
        yield from _versions(command, listener, name)
        if host and listener.certificates:
            yield from _certificates(command, listener, name, host, now)


def _versions(command: Command, listener: Listener, name: str) -> Iterator[Finding]:
    old = sorted({*listener.protocols} & {*_OLD})
    if old:
        yield Finding(
            name,
            f"it still offers {' and '.join(old)}",
            "browsers have given these up, and audits object",
            command(
                *("elbv2", "modify-listener", "--listener-arn", listener.item["ListenerArn"]),
                *("--ssl-policy", RECOMMENDED),
            )
            + "; where a controller keeps it: annotation ssl-policy "
            "(of a Service: aws-load-balancer-ssl-negotiation-policy)",
            (f"SslPolicy: {listener.item['SslPolicy']}",),
            severity=Severity.NOTE,
            link=_POLICIES,
            name="tls-policy",
        )


def _certificates(
    command: Command, listener: Listener, name: str, host: str, now: datetime
) -> Iterator[Finding]:
    known = [each for each in listener.certificates if "Status" in each]
    if len(known) < len(listener.certificates) and not any(covers(c, host) for c in known):
        return  # one that is not in ACM, and so cannot be read, may be the right one
    fitting = [each for each in known if covers(each, host)]
    new = command("acm", "request-certificate", "--domain-name", host, "--validation-method", "DNS")
    put = command(
        *("elbv2", "modify-listener", "--listener-arn", listener.item["ListenerArn"]),
        *("--certificates", "CertificateArn=ARN"),
    )
    if not fitting:
        yield Finding(
            name,
            f"none of its certificates is for {host}",
            "browsers warn of the site, and clients refuse it",
            f"{new}; once it is issued: {put}",
            tuple(f"{_short(c)} SubjectAlternativeNames: {', '.join(_names(c))}" for c in known),
            severity=Severity.NOTE,
            link=_CERTIFICATES,
            name="certificate-host",
        )
        return
    valid = [each for each in fitting if _valid(each, now)]
    if not valid:
        yield Finding(
            name,
            f"its certificate for {host} is not valid",
            "browsers warn of the site, and clients refuse it",
            f"{new}; once it is issued: {put}",
            tuple(f"{_short(c)} Status: {c['Status']}, NotAfter: {_until(c)}" for c in fitting),
            severity=Severity.NOTE,
            link=_CERTIFICATES,
            name="certificate-invalid",
        )
    elif all(_end(each) - now < SOON for each in valid):
        yield Finding(
            name,
            f"its certificate for {host} ends within {SOON.days} days",
            "ACM would have renewed it by now if it could: then browsers refuse the site",
            _renewal(command, valid),
            tuple(
                f"{_short(c)} NotAfter: {_until(c)}, Type: {c.get('Type', '?')}, "
                f"RenewalEligibility: {c.get('RenewalEligibility', '?')}"
                for c in valid
            ),
            severity=Severity.NOTE,
            link=_CERTIFICATES,
            name="certificate-ends",
        )


def _renewal(command: Command, certificates: Sequence[Item]) -> str:
    """Return how a certificate is renewed, which depends on who made it."""
    arn = str(certificates[0]["CertificateArn"])
    if certificates[0].get("Type") == "IMPORTED":
        files = ("--certificate", "fileb://NEW.pem", "--private-key", "fileb://NEW.key")
        return command("acm", "import-certificate", "--certificate-arn", arn, *files)
    return "see which record its validation waits for: " + command(
        "acm", "describe-certificate", "--certificate-arn", arn
    )


def covers(certificate: Item, host: str) -> bool:
    """Whether a certificate is for a name; `*` stands for its first label."""
    _, _, rest = host.lower().partition(".")
    return bool({host.lower(), f"*.{rest}"} & {name.lower() for name in _names(certificate)})


def _names(certificate: Item) -> list[str]:
    return [
        *(certificate.get("SubjectAlternativeNames") or []),
        *([certificate["DomainName"]] if certificate.get("DomainName") else []),
    ]


def _valid(certificate: Item, now: datetime) -> bool:
    return certificate["Status"] == "ISSUED" and _end(certificate) > now


def _end(certificate: Item) -> datetime:
    found: datetime | None = certificate.get("NotAfter")
    return found if found is not None else datetime.max.replace(tzinfo=UTC)


def _until(certificate: Item) -> str:
    found = certificate.get("NotAfter")
    return f"{found:%Y-%m-%d}" if found is not None else "not known"


def _short(certificate: Item) -> str:
    return f"Certificates[{str(certificate['CertificateArn']).rpartition('/')[2]}]"
