"""A stand-in for the XNAT web application: its addresses, methods and database; no archive.

It runs as its own process for pods whose image is `xnat-stand-in`, and logs one line a request.
The paths are those that XNAT's browsers and REST clients begin with. Every login opens PostgreSQL
anew and writes a row there, so that whatever cuts the database off breaks logging in. Where the
database is comes from libpq's variables (PGHOST, PGUSER, ...), which asyncpg reads.

Tornado and asyncpg start in a quarter of a second and take 32 MiB, half of what aiohttp does.
pynetdicom takes a second and as much again, so it is loaded when a device calls for the first
time; the port listens from the start.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import secrets
import socket
import sys
from threading import Thread

import asyncpg  # type: ignore[import-untyped]
from tornado.web import Application, HTTPError, RequestHandler, stream_request_body

LOGIN_PATH = "/app/template/Login.vm"
LOGIN_PAGE = """<!doctype html>
<html lang="en">
<head><title>XNAT stand-in: log in</title></head>
<body>
<h1>XNAT stand-in</h1>
<p>This page stands in for XNAT in the embedded lab.</p>
<form method="post" action="/login">
<label>User <input name="username" autocomplete="username"></label>
<label>Password <input name="password" type="password" autocomplete="off"></label>
<button>Log in</button>
</form>
</body>
</html>
"""
COOKIE = "JSESSIONID"
GUEST = "guest"
TABLE = (
    "CREATE TABLE IF NOT EXISTS sessions "
    "(id text PRIMARY KEY, username text NOT NULL, since timestamptz NOT NULL DEFAULT now())"
)
DATABASE_TIMEOUT = 5.0
LARGEST_UPLOAD = 2**40
"""In bytes; Tornado takes 100 MiB unless it is told otherwise."""

_sessions: set[str] = set()
"""The ids of those that began here: as with Tomcat, a session lives and dies with its pod."""

_DATABASE_ERRORS = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError)


class Home(RequestHandler):
    """The root, which sends everybody to the login page."""

    def get(self) -> None:
        """Redirect, as XNAT does for a visitor who is not logged in."""
        self.redirect(LOGIN_PATH)

    head = post = get


class LoginPage(RequestHandler):
    """The page that probes and people ask for first."""

    def get(self) -> None:
        """Show the form."""
        self.finish(LOGIN_PAGE)

    head = post = get


class Login(RequestHandler):
    """Where the form is sent."""

    async def post(self) -> None:
        """Begin a session for any user and password; the password is never logged or kept."""
        self.set_cookie(COOKIE, await begin_session(self.get_body_argument("username", GUEST)))
        self.redirect("/")


class Session(RequestHandler):
    """The session as REST clients use it."""

    async def get(self) -> None:
        """Answer with the id of the cookie's session, or else begin one."""
        session = self.get_cookie(COOKIE, "")
        if session not in _sessions:
            session = await begin_session(GUEST)
            self.set_cookie(COOKIE, session)
        self.finish(session)

    post = get

    async def delete(self) -> None:
        """End the session of the cookie."""
        session = self.get_cookie(COOKIE, "")
        await _execute("DELETE FROM sessions WHERE id = $1", session)
        _sessions.discard(session)
        self.clear_cookie(COOKIE)


@stream_request_body
class Data(RequestHandler):
    """Every other resource of the REST interface: nothing is there, and anything is accepted.

    Bodies of any size are counted and dropped piece by piece.
    """

    received = 0

    def data_received(self, chunk: bytes) -> None:
        """Count a piece of the body."""
        self.received += len(chunk)

    def get(self) -> None:
        """Answer with an empty list, in the shape of XNAT's own."""
        self.finish({"ResultSet": {"Result": [], "totalRecords": "0"}})

    head = get

    def put(self) -> None:
        """Say how much came."""
        self.finish(f"received {self.received} bytes\n")

    post = patch = delete = put

    def options(self) -> None:
        """Name the methods."""
        self.set_header("Allow", ", ".join(self.SUPPORTED_METHODS))


async def begin_session(username: str) -> str:
    """Write a new session to the database; returns its id.

    Raises:
        HTTPError: 500, the database did not take it.
    """
    session = secrets.token_hex(16).upper()
    await _execute("INSERT INTO sessions (id, username) VALUES ($1, $2)", session, username)
    _sessions.add(session)
    return session


async def _execute(statement: str, *values: str) -> None:
    try:
        async with asyncio.timeout(DATABASE_TIMEOUT):
            connection = await asyncpg.connect()
            try:
                await connection.execute(TABLE)
                await connection.execute(statement, *values)
            finally:
                await connection.close()
    except _DATABASE_ERRORS as error:
        raise HTTPError(500, "database: %s", error or type(error).__name__) from error


def receive_dicom(listener: socket.socket) -> None:
    """Load the receiver when the first device connects; needs a running event loop."""
    loop = asyncio.get_running_loop()

    def serve() -> None:
        from runbook_lib.lab.standins import dicom

        dicom.serve(listener)

    def begin() -> None:
        loop.remove_reader(listener)
        Thread(target=serve, daemon=True).start()

    loop.add_reader(listener, begin)


async def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", default="0.0.0.0")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--dicom-port", type=int, default=8104)
    options = parser.parse_args()
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(message)s")
    site = Application(
        [
            ("/", Home),
            (LOGIN_PATH, LoginPage),
            ("/login", Login),
            ("/data/JSESSION", Session),
            ("/data/.*", Data),
        ]
    )
    site.listen(options.port, options.address, max_body_size=LARGEST_UPLOAD)
    receive_dicom(socket.create_server((options.address, options.dicom_port)))
    print(
        f"listening on {options.address}:{options.port}, DICOM on {options.dicom_port}", flush=True
    )
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
