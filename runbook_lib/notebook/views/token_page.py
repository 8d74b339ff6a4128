"""Show a secret to the person in front of a notebook, so that the notebook never holds it.

JupyterLab saves what a notebook shows: a cell's outputs with the cell, and the state of every open
widget, values included, in the notebook's metadata, whenever it saves by itself. So the secret goes
neither way. A small web server on this machine's loopback hands out one page, once, at an address
that cannot be guessed; the notebook shows it in a frame and stores the address alone.
"""

from __future__ import annotations

import http.server
import secrets
import threading
from collections.abc import Callable
from html import escape

_PAGE = """<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 14px system-ui, sans-serif; margin: 0; padding: 6px; background: #fff; color: #111; }}
textarea {{ width: 100%; height: 7em; box-sizing: border-box; font: 12px monospace; }}
@media (prefers-color-scheme: dark) {{
  body, textarea {{ background: #111; color: #eee; }} }}
</style>
<p id="what"><b>{title}</b> Select it, copy it, paste it into Kiali's login page.
It disappears from here in <span id="left">{seconds}</span> s, or when you look elsewhere.</p>
<textarea id="secret" readonly spellcheck="false" autocomplete="off">{secret}</textarea>
<script nonce="{nonce}">
const secret = document.getElementById("secret"), left = document.getElementById("left");
let seconds = {seconds};
function clear() {{
  secret.value = ""; secret.remove(); clearInterval(timer);
  document.getElementById("what").textContent = "It has disappeared. The button makes another.";
}}
const timer = setInterval(
  () => {{ left.textContent = --seconds; if (seconds <= 0) clear(); }}, 1000);
secret.addEventListener("focus", () => secret.select());
document.addEventListener("visibilitychange", () => {{ if (document.hidden) clear(); }});
addEventListener("pagehide", clear);
</script></html>"""

_GONE = "It was shown once and is not shown again. The button makes another."


class TokenPage:
    """One page with one secret: handed out once, and gone after a while.

    Attributes:
        url: Where it is.
    """

    def __init__(
        self, secret: str, title: str, *, seconds: int, ended: Callable[[], None] = lambda: None
    ) -> None:
        """Begin to serve.

        Args:
            secret: What is shown; forgotten here as soon as it was handed out.
            title: What it is.
            seconds: How long the page shows it, and how long this server lives.
            ended: Called once the server is down.
        """
        self._secret: str | None = secret
        self._title = title
        self._seconds = seconds
        self._ended = ended
        self._path = f"/{secrets.token_urlsafe(24)}"
        self._lock = threading.Lock()
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._host = f"127.0.0.1:{self._server.server_port}"
        self.url = f"http://{self._host}{self._path}"
        # Daemons: a kernel that ends waits for neither.
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        self._timer = threading.Timer(seconds, self.close)
        self._timer.daemon = True
        self._timer.start()

    def close(self) -> None:
        """Stop serving and forget the secret; more than once does no harm."""
        with self._lock:
            self._secret = None
        self._timer.cancel()
        self._server.shutdown()

    def _serve(self) -> None:
        with self._server:
            self._server.serve_forever(poll_interval=0.1)
        self._ended()

    def _take(self) -> str | None:
        with self._lock:
            secret, self._secret = self._secret, None
        return secret

    def _answer(self, path: str, host: str) -> tuple[int, str, str]:
        """Return status, page and the nonce of its script."""
        # Another name that leads to this machine is how a foreign page would get here.
        if host != self._host or not secrets.compare_digest(path, self._path):
            return 404, "", ""
        secret = self._take()
        if secret is None:
            return 410, _GONE, ""
        nonce = secrets.token_urlsafe(16)
        page = _PAGE.format(
            title=escape(self._title), secret=escape(secret), seconds=self._seconds, nonce=nonce
        )
        return 200, page, nonce

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        page = self

        class Handler(http.server.BaseHTTPRequestHandler):
            timeout = 5

            def do_GET(self) -> None:  # the server calls it so
                status, text, nonce = page._answer(self.path, self.headers.get("Host", ""))
                body = text.encode()
                script = f"script-src 'nonce-{nonce}'; " if nonce else ""
                self.send_response(status)
                for name, value in (
                    ("Content-Type", "text/html; charset=utf-8"),
                    ("Content-Length", str(len(body))),
                    ("Cache-Control", "no-store"),
                    ("Referrer-Policy", "no-referrer"),
                    (
                        "Content-Security-Policy",
                        f"default-src 'none'; {script}style-src 'unsafe-inline'",
                    ),
                ):
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_arguments: object) -> None:
                """Write nothing: the address is as good as the secret until it was used."""

        return Handler
