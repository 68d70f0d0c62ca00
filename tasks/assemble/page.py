"""One HTML file that needs nothing beside it: no script, one style sheet allowed by its hash, everything else escaped."""

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from tasks.rows import without_secrets

__all__ = ["data_url", "link", "render"]

_TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, *, media: str = "'none'", **facts: Any) -> bytes:
    """The page as UTF-8. `media` are the sources that the policy lets clips come from, in CSP's words."""
    # Our own file, the same at every run: the only thing on the page that is not escaped.
    css = Markup((_TEMPLATES / "page.css").read_text(encoding="utf-8"))  # noqa: S704
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; media-src {media}; "
        "base-uri 'none'; form-action 'none'"
    )
    html = _environment().get_template(template).render(css=css, policy=policy, **facts)
    return html.encode("utf-8", "backslashreplace")


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def data_url(kind: str, data: bytes) -> str:
    """The bytes as an address."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def link(address: str) -> str:
    """The address without its secrets when a page may link to it (http or https), else empty (S14)."""
    clean = without_secrets(address)
    try:
        parts = urlsplit(clean)
    except ValueError:
        return ""
    return clean if parts.scheme in {"http", "https"} and parts.netloc else ""
