"""The login to Kiali as buttons. Imported only when there is somebody to press them."""

from __future__ import annotations

from html import escape

import ipywidgets  # type: ignore[import-untyped] # it comes without types

from runbook_lib.chapters.kiali import SHOWN_SECONDS, Login
from runbook_lib.notebook import LiveOutput, failed_click, widget_view
from runbook_lib.notebook.views.token_page import TokenPage


class LoginView:
    """A button for each account, and below them the frame that shows its token.

    No widget ever holds a token: JupyterLab would save it with the notebook.
    """

    def __init__(self, login: Login, table_html: str) -> None:
        """Nothing is shown yet.

        Args:
            login: The ways in.
            table_html: The same as HTML.
        """
        self._login = login
        self._html = table_html
        self._buttons_output = LiveOutput()
        self._frame = LiveOutput()
        self._page: TokenPage | None = None
        self._buttons = [self._button(account) for account in login.accounts]
        self._box = ipywidgets.VBox(self._buttons)

    def show(self) -> None:
        """Show the ways in and the buttons below the current cell."""
        text = str(self._login)
        self._frame.show(text, self._html)
        if self._buttons:
            fallback = "No buttons here? Use the commands above in a terminal."
            self._buttons_output.show(fallback, f"<p>{fallback}</p>", widget_view(self._box))

    def _button(self, account: str) -> ipywidgets.Button:
        button = ipywidgets.Button(
            description=f"Show a token for {account}",
            icon="key",
            tooltip=f"Makes a new token and shows it for {SHOWN_SECONDS} seconds",
            layout={"width": "max-content"},
        )
        button.on_click(lambda _button: self._show_token(account))
        return button

    def _show_token(self, account: str) -> None:
        self._close()
        try:
            token = self._login.mint(account)
        except Exception as error:
            text = failed_click(error)
            self._below(text, f"<p>✗ {escape(text)}</p>")
            return
        page: TokenPage | None = None

        def ended() -> None:
            if self._page is page:
                gone = f"The token for {account} has disappeared from here."
                self._below(gone, f"<p>{escape(gone)}</p>")

        page = TokenPage(token, f"Token for {account}.", seconds=SHOWN_SECONDS, ended=ended)
        self._page = page
        command = self._login.command(account)
        elsewhere = (
            "Nothing to see? Then your browser is not on the machine of this kernel. "
            f"Run this in a terminal: {command}"
        )
        frame = (
            f"<iframe src='{escape(page.url, quote=True)}' title='Token for {escape(account)}' "
            "style='width:100%;height:12em;border:1px solid #8888;border-radius:4px' "
            "referrerpolicy='no-referrer'></iframe>"
        )
        self._below(elsewhere, f"{frame}<p><small>{escape(elsewhere)}</small></p>")

    def _below(self, text: str, html: str) -> None:
        self._frame.show(f"{self._login}\n\n{text}", f"{self._html}\n{html}")

    def _close(self) -> None:
        if self._page is not None:
            page, self._page = self._page, None
            page.close()


def show(login: Login, table_html: str) -> None:
    """Show a login with its buttons."""
    LoginView(login, table_html).show()
