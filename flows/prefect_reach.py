"""Who is let in by a Prefect server: whether it answers at all, asks for a login, and keeps web pages out."""

import base64
from email.message import Message
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, Request, build_opener

__all__ = ["healthy", "unguarded"]

SECONDS = 5.0
_STRANGER = "https://a-web-page.invalid"


def healthy(api_url: str) -> bool:
    """Whether a Prefect server answers there. Proxies are passed by: it is this machine's or a neighbour's."""
    status, _ = _get(f"{api_url}/health")
    return status == 200


def unguarded(api_url: str, login: str | None) -> str:
    """Why the server is no place for a purse, "" where it is one: whoever reaches its API can read keys and start renders."""
    status, _ = _get(f"{api_url}/admin/version")
    if status == 200:
        return "answers without a login, so that whoever reaches it can read secret blocks and start renders"
    _, headers = _get(f"{api_url}/admin/version", Origin=_STRANGER)
    if headers.get("access-control-allow-origin") in {"*", _STRANGER}:
        return "lets every web page read its answers (Access-Control-Allow-Origin)"
    if login is None:
        return "asks for a login" if status == 401 else ""
    basic = base64.b64encode(login.encode()).decode()
    status, _ = _get(f"{api_url}/admin/version", Authorization=f"Basic {basic}")
    return "does not take the login of PREFECT_API_AUTH_STRING" if status == 401 else ""


def _get(url: str, **headers: str) -> tuple[int, Message]:
    """Status and headers; status 0 where nothing answers."""
    try:
        with build_opener(ProxyHandler({})).open(Request(url, headers=headers), timeout=SECONDS) as reply:  # noqa: S310
            return int(reply.status), reply.headers
    except HTTPError as refused:
        with refused:
            return refused.code, refused.headers
    except (URLError, OSError, ValueError):
        return 0, Message()
