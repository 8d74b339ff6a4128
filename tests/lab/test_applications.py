"""The programs of the lab's applications, as processes on loopback."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import httpx
import pytest

from runbook_lib.base.wait import State, until
from runbook_lib.lab.standins import postgresql
from runbook_lib.site.dicom import echo

pytestmark = pytest.mark.timeout(120)

LOGIN_PAGE = "/app/template/Login.vm"
# PostgreSQL refuses to run as root; who runs the tests may be.
AS_NOBODY = ("unshare", "--user", "--map-user=65534", "--map-group=65534", "--")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listens(port: int) -> State:
    with socket.socket() as client:
        return State(client.connect_ex(("127.0.0.1", port)) == 0, f"nothing listens on {port}")


@contextmanager
def running(
    module: str, port: int, *options: str, prefix: tuple[str, ...] = (), **env: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A stand-in, listening."""
    argv = [*prefix, sys.executable, "-m", f"runbook_lib.lab.standins.{module}"]
    where = ["--address=127.0.0.1", f"--port={port}", *options]
    with subprocess.Popen([*argv, *where], env=os.environ | env) as process:
        try:
            until(f"{module} to listen", lambda: _listens(port), timeout=60, interval=0.05)
            yield process
        finally:
            process.terminate()


@contextmanager
def running_database(data: Path) -> Iterator[int]:
    """The port of a PostgreSQL that answers queries and keeps its data there."""
    port = _free_port()
    ask = (postgresql.programs() / "pg_isready", "-h", "127.0.0.1", "-p", str(port))

    def observe() -> State:
        said = subprocess.run(ask, capture_output=True, text=True, check=False)
        return State(said.returncode == 0, said.stdout)

    prefix = AS_NOBODY if os.getuid() == 0 else ()
    with running("postgresql", port, f"--data={data}", prefix=prefix):
        until("queries to be answered", observe, timeout=30, interval=0.05)
        yield port


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a PostgreSQL in a new folder."""
    with running_database(tmp_path_factory.mktemp("database") / "data") as port:
        yield port


@pytest.fixture(scope="module")
def dicom() -> int:
    return _free_port()


@pytest.fixture(scope="module")
def site(database: int, dicom: int) -> Iterator[httpx.Client]:
    """The XNAT stand-in, which reaches its database."""
    port = _free_port()
    env = {"PGHOST": "127.0.0.1", "PGPORT": str(database), "PGUSER": "xnat", "PGDATABASE": "xnat"}
    with (
        running("xnat", port, f"--dicom-port={dicom}", **env),
        httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client,
    ):
        yield client


def sessions(database: int) -> list[tuple[str, str]]:
    """Id and user of every session in the database."""

    async def read() -> list[tuple[str, str]]:
        where = {"host": "127.0.0.1", "port": database, "user": "xnat", "database": "xnat"}
        connection = await asyncpg.connect(**where)
        rows = await connection.fetch("SELECT id, username FROM sessions")
        await connection.close()
        return [(row["id"], row["username"]) for row in rows]

    return asyncio.run(read())


def test_the_root_leads_to_the_login_page(site: httpx.Client) -> None:
    answer = site.get("/")
    assert (answer.status_code, answer.headers["Location"]) == (302, LOGIN_PAGE)
    assert "<form" in site.get(LOGIN_PAGE).text


@pytest.mark.parametrize(
    ("path", "statuses"),
    [
        ("/", {"GET": 302, "HEAD": 302, "POST": 302, "DELETE": 405}),
        (LOGIN_PAGE, {"GET": 200, "HEAD": 200, "POST": 200, "PUT": 405, "DELETE": 405}),
        ("/data/projects", dict.fromkeys(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"), 200)),
        ("/data/projects", {"OPTIONS": 200}),
        ("/elsewhere", {"GET": 404}),
    ],
)
def test_methods_are_answered_as_by_xnat(
    site: httpx.Client, path: str, statuses: dict[str, int]
) -> None:
    assert {method: site.request(method, path).status_code for method in statuses} == statuses


def test_a_login_writes_a_session_to_the_database(site: httpx.Client, database: int) -> None:
    answer = site.post("/login", data={"username": "ana", "password": "secret"})
    assert (answer.status_code, answer.headers["Location"]) == (302, "/")
    assert (answer.cookies["JSESSIONID"], "ana") in sessions(database)


def test_a_session_of_a_rest_client_ends_when_it_says_so(site: httpx.Client, database: int) -> None:
    session = site.post("/data/JSESSION").text
    assert session in dict(sessions(database))
    assert site.delete("/data/JSESSION").status_code == 200
    assert session not in dict(sessions(database))


def test_without_its_database_the_site_shows_pages_and_lets_no_one_in() -> None:
    port = _free_port()
    env = {"PGHOST": "127.0.0.1", "PGPORT": str(_free_port())}
    with running("xnat", port, f"--dicom-port={_free_port()}", **env):
        url = f"http://127.0.0.1:{port}"
        assert httpx.get(f"{url}{LOGIN_PAGE}", trust_env=False).status_code == 200
        assert httpx.post(f"{url}/login", trust_env=False).status_code == 500


def test_an_upload_is_taken_in_pieces_and_counted(site: httpx.Client) -> None:
    """More than Tornado takes of an ordinary body, of a length that nobody announced."""
    piece, count = bytes(1 << 20), 200
    answer = site.put("/data/archive", content=(piece for _ in range(count)))
    assert answer.text == f"received {count << 20} bytes\n"


@pytest.mark.usefixtures("site")
def test_devices_are_answered_from_the_first_call_on(dicom: int) -> None:
    """The receiver is loaded by the first."""
    assert echo("127.0.0.1", dicom).answered
    assert echo("127.0.0.1", dicom).answered


def test_a_database_keeps_what_is_in_its_folder(tmp_path: Path) -> None:
    """The next pod gets the same claim, and so the same folder."""
    where = ("-h", "127.0.0.1", "-U", "xnat")
    psql = (postgresql.programs() / "psql", *where, "-At", "-c")
    for statement, said in (
        ("CREATE TABLE kept AS SELECT 42 AS n", "SELECT 1"),
        ("SELECT n FROM kept", "42"),
    ):
        with running_database(tmp_path / "data") as port:
            done = subprocess.check_output([*psql, statement], env={"PGPORT": str(port)}, text=True)
            assert done.strip() == said
