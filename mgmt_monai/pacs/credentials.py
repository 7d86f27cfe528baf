"""Who we are to an archive: from the environment or a netrc, never from a command line, a URL or a file of ours."""

import os
import re
from collections.abc import Mapping

from requests import PreparedRequest
from requests.auth import AuthBase, HTTPBasicAuth

from mgmt_monai.pacs.errors import PacsError

USER = "MGMT_DICOMWEB_USER"
PASSWORD = "MGMT_DICOMWEB_PASSWORD"
TOKEN = "MGMT_DICOMWEB_TOKEN"

#: What a bearer token is made of (RFC 6750 section 2.1); anything else would break the header, and the HTTP library
#: would print it in its complaint.
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")


class BearerAuth(AuthBase):
    """Shows a token, spelt as RFC 6750 does, with each request."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """The request with the token in its header."""
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request

    def __repr__(self) -> str:
        """Without the token."""
        return "BearerAuth()"


def credentials(environment: Mapping[str, str] = os.environ) -> AuthBase | None:
    """What the environment says; None leaves it to the netrc (``~/.netrc``, or the file that ``NETRC`` names).

    It is `TOKEN`, or `USER` and `PASSWORD`; an empty variable counts as none.

    Raises:
        PacsError: A token and a user, one of user and password, or one that HTTP cannot carry. No value is in the
            message.
    """
    user, password = environment.get(USER, ""), environment.get(PASSWORD, "")
    token = environment.get(TOKEN, "").strip()
    if token and (user or password):
        raise PacsError(f"expected {TOKEN}, or {USER} and {PASSWORD}, found both. Unset one of them.")
    if token:
        if not _TOKEN.fullmatch(token):
            raise PacsError(f"{TOKEN}: expected a bearer token (RFC 6750), found other characters. Copy it again.")
        return BearerAuth(token)
    if bool(user) != bool(password):
        missing, found = (PASSWORD, USER) if user else (USER, PASSWORD)
        raise PacsError(f"expected {USER} and {PASSWORD}, found {found} alone. Set {missing}, too.")
    if not user:
        return None
    if ":" in user:
        raise PacsError(
            f"{USER}: expected a name without a colon, found one: HTTP cannot carry it. Use another account."
        )
    return HTTPBasicAuth(user.encode(), password.encode())  # bytes: for text, requests would insist on Latin 1
