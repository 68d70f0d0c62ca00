"""The page at /: jobs and charges at a glance."""

from functools import lru_cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from deployments.sandbox.house import House
from deployments.sandbox.wire import Reply, html_reply

__all__ = ["page"]

POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'"
SHOWN = 200


@lru_cache
def _template() -> Template:
    loader = PackageLoader("deployments.sandbox", "")
    return Environment(autoescape=True, loader=loader, undefined=StrictUndefined).get_template("page.html.j2")


def page(house: House) -> Reply:
    """The page as it is now; it reloads itself."""
    account = house.account().to_json()
    text = _template().render(
        account=account,
        jobs=list(reversed(account["jobs"]))[:SHOWN],
        creates=list(reversed(account["creates"]))[:SHOWN],
        armed=house.script.armed,
        base=house.base,
    )
    return html_reply(text, 200, ("Content-Security-Policy", POLICY), ("Cache-Control", "no-store"))
