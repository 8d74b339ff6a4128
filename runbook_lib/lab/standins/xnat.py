"""A stand-in for the XNAT web application: answers like a site, keeps nothing.

Runs as its own process for pods whose image is `xnat-stand-in`. It logs one line a request.
"""

from __future__ import annotations

import argparse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LOGIN_PAGE = """<!doctype html>
<html lang="en">
<head><title>XNAT stand-in: log in</title></head>
<body>
<h1>XNAT stand-in</h1>
<p>This page stands in for XNAT in the embedded lab.</p>
<form method="post" action="/app/action/XDATLoginUser">
<label>User <input name="username" autocomplete="username"></label>
<label>Password <input name="password" type="password" autocomplete="off"></label>
<button>Log in</button>
</form>
</body>
</html>
"""
HOME_PAGE = LOGIN_PAGE.replace(": log in", "")


class Handler(BaseHTTPRequestHandler):
    """GET and HEAD show a page, POST thanks for the data, the rest is not allowed."""

    protocol_version = "HTTP/1.1"
    server_version = "xnat-stand-in"
    # Headers and body in one packet: two would meet Nagle's algorithm and wait 40 ms.
    wbufsize = 1 << 16

    def do_GET(self) -> None:
        """Serve the home page, or the login page under its XNAT path."""
        login = self.path.startswith("/app/template/Login.vm")
        self._answer(200, LOGIN_PAGE if login else HOME_PAGE)

    do_HEAD = do_GET  # noqa: N815 -- the name that http.server looks up

    def do_POST(self) -> None:
        """Read and drop the body; a login's password is never logged or kept."""
        length = int(self.headers.get("Content-Length") or 0)
        self.rfile.read(length)
        self._answer(200, f"received {length} bytes\n", content_type="text/plain")

    def _not_allowed(self) -> None:
        self._answer(405, f"{self.command} is not allowed\n", content_type="text/plain")

    do_DELETE = do_PUT = do_PATCH = do_OPTIONS = _not_allowed  # noqa: N815 -- as above

    def _answer(self, status: int, body: str, content_type: str = "text/html") -> None:
        data = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", f"{content_type}; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        if status == 405:
            self.send_header("Allow", "GET, HEAD, POST")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", required=True)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    server = ThreadingHTTPServer((options.address, options.port), Handler)
    print(f"listening on {options.address}:{options.port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
