"""Who may come: a token, and for browsers the page that asks."""

import hmac
from base64 import urlsafe_b64decode
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from audiorec.serving.refusal import Refused
from audiorec.serving.settings import Access

# Browsers cannot set headers of a WebSocket. Clients made for them put the token into a subprotocol instead.
PREFIXES = "openai-insecure-api-key.", "audiorec-token."
# A subprotocol takes neither spaces nor umlauts: here the token's bytes come in base64url without padding.
CODED = "audiorec-token64."


def must_be_allowed(connection: HTTPConnection, access: Access) -> str | None:
    """The subprotocol to answer with, if the client names any. Raises Refused for another token or a foreign page."""
    must_come_from_here(connection, access)
    offered: list[str] = connection.scope.get("subprotocols", [])
    if access.token is not None:
        given = _tokens(connection, offered)
        token = access.token.encode()
        right = [one for text in given for one in _read(text) if hmac.compare_digest(one, token)]
        if not right:
            what = "the token is wrong" if given else "a token is needed"
            raise Refused("unauthorized", f"{what}: send the header `Authorization: Bearer TOKEN`")
    return next((one for one in offered if not one.startswith((*PREFIXES, CODED))), None)


def _tokens(connection: HTTPConnection, offered: list[str]) -> list[str]:
    """Wherever clients put it: a header, the query, or a subprotocol."""
    kind, _, value = connection.headers.get("authorization", "").partition(" ")
    tokens = [value.strip()] if kind.lower() in ("bearer", "token") else []
    tokens += [connection.headers[name] for name in ("api-key", "x-api-key") if name in connection.headers]
    tokens += connection.query_params.getlist("token")
    tokens += [one.removeprefix(prefix) for one in offered for prefix in PREFIXES if one.startswith(prefix)]
    tokens += [_decoded(one.removeprefix(CODED)) for one in offered if one.startswith(CODED)]
    if len(offered) == 2 and offered[0] in ("token", "bearer"):  # as Deepgram's pages do
        tokens.append(offered[1])
    return tokens


def _read(text: str) -> list[bytes]:
    """The bytes that a client may mean: headers are read as Latin-1, and most clients write UTF-8 there."""
    try:
        return [text.encode("utf-8", "replace"), text.encode("latin-1")]
    except UnicodeEncodeError:
        return [text.encode("utf-8", "replace")]


def _decoded(coded: str) -> str:
    try:
        return urlsafe_b64decode(coded + "=" * (-len(coded) % 4)).decode()
    except ValueError:  # neither base64 nor UTF-8
        return ""


def must_come_from_here(connection: HTTPConnection, access: Access, any_name: bool = False) -> None:
    """Raises Refused. A page may only use the server that it came from: else any page could use one that listens on loopback.

    ``any_name``: under whatever name it came, for what is no secret.
    """
    origin = connection.headers.get("origin")
    if origin is None or "*" in access.origins or origin in access.origins:
        return
    host = connection.headers.get("host", "")
    # A name may be made to lead here by whoever owns it, so without a token it proves nothing.
    if urlsplit(origin).netloc == host and (any_name or access.token is not None or _is_certain(host)):
        return
    raise Refused(
        "forbidden_origin", f"pages of {origin} may not use this server: start it with --allow-origin {origin}"
    )


def _is_certain(host: str) -> bool:
    name = urlsplit(f"//{host}").hostname or ""
    if name == "localhost":
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
