"""The command line: `rushes sandbox`, or `python -m deployments.sandbox`."""

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import platformdirs

from deployments.sandbox import ELSEWHERE, FAULTS, InUse, Sandbox, UnknownFault

__all__ = ["main"]

USAGE, SETUP = 2, 7
EXAMPLE = """\
example: a rehearsal in which the reply to the second create is lost and one clip comes back black
  rushes sandbox --port 8077 --speed 60 --fault hang-after@2 --fault clip-black
  SHORTAPI_BASE_URL=http://127.0.0.1:8077 SHORTAPI_KEY=sandbox RUSHES_ALLOW_PRIVATE_URLS=1 rushes render board.yaml --provider shortapi

a fault is [PROVIDER/]NAME[@N][*K|*][%P]: NAME happens once, @2 waits for the second create (query, download ...),
*3 means three times, * alone every time, %0.2 lets each one decide with that chance by --seed.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until Ctrl-C or SIGTERM; the exit code is 0 then, 2 for a wrong option, 7 for a port or file in use."""
    options = _parser().parse_args(argv)
    if options.faults:
        _list_faults(as_json=options.json)
        return 0
    try:
        sandbox = _sandbox(options)
    except UnknownFault as error:
        print(f"rushes sandbox: {error}", file=sys.stderr)  # noqa: T201
        return USAGE
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        with sandbox:
            _announce(sandbox, options)
            signal.pause()
    except KeyboardInterrupt:
        return 0
    except InUse as error:
        print(f"rushes sandbox: another sandbox writes {error}; choose another --account", file=sys.stderr)  # noqa: T201
    except OSError as error:
        print(f"rushes sandbox: {error}", file=sys.stderr)  # noqa: T201
    finally:
        signal.signal(signal.SIGTERM, before)
    return SETUP


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rushes sandbox",
        description="Stand-in ShortAPI and SJinn on 127.0.0.1, with real clips and their own account of charges.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--port", type=_port, default=8077, help="0 takes any free port (default: 8077)")
    add("--fault", action="append", default=[], metavar="NAME", help="arm a fault; may be repeated")
    add("--faults", action="store_true", help="list every fault and leave")
    add("--seed", type=int, default=0, help="decides about faults with a chance (default: 0)")
    add("--speed", type=_positive, default=1.0, help="jobs take 2 to 8 minutes divided by this (default: 1)")
    add("--job-seconds", type=_not_negative, help="every job takes this long, divided by --speed")
    add("--key", help="the one key that is accepted (default: any)")
    add("--account", type=Path, help="the account file; kept and continued over restarts")
    add("--no-callback", action="store_true", help="never call back")
    add("--lag", type=_not_negative, default=1.0, help="seconds between the drips of slow replies (default: 1)")
    add("--size", type=_pixels, default=320, help="longer side of a clip in pixels, 32 to 1920 (default: 320)")
    add("--balance", type=int, default=1_000_000, help="SJinn credits at the start (default: 1000000)")
    add("--url-seconds", type=_positive, help="clip addresses expire after this long (default: never)")
    add("--json", action="store_true", help="print one JSON document with the addresses, then stay up")
    return parser


def _port(text: str) -> int:
    return int(text) if text.isdigit() and int(text) < 65_536 else _wrong(text)


def _pixels(text: str) -> int:
    return int(text) if text.isdigit() and 32 <= int(text) <= 1920 else _wrong(text)


def _wrong(text: str) -> NoReturn:
    raise ValueError(text)


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise ValueError(text)
    return value


def _not_negative(text: str) -> float:
    return 0.0 if float(text) == 0 else _positive(text)


def _sandbox(options: argparse.Namespace) -> Sandbox:
    return Sandbox(
        options.port,
        speed=options.speed,
        job_seconds=options.job_seconds,
        key=options.key,
        faults=options.fault,
        seed=options.seed,
        account_path=options.account or _account_path(options.port),
        callback=not options.no_callback,
        lag=options.lag,
        size=options.size,
        balance=options.balance,
        url_seconds=options.url_seconds,
    )


def _account_path(port: int) -> Path:
    """A fixed port goes on with its account; any free port begins a new one."""
    if port == 0:
        return Path(tempfile.mkdtemp(prefix="rushes-sandbox-"), "account.jsonl")
    return platformdirs.user_state_path("rushes") / "sandbox" / f"account-{port}.jsonl"


def _announce(sandbox: Sandbox, options: argparse.Namespace) -> None:
    facts: dict[str, Any] = {
        "url": sandbox.url,
        "shortapi_url": sandbox.shortapi_url,
        "sjinn_url": sandbox.sjinn_url,
        "account_url": f"{sandbox.url}/_sandbox/account",
        "faults_url": f"{sandbox.url}/_sandbox/faults",
        "files_url": f"{sandbox.url}/files/",
        "refused_url": sandbox.refused_url,
        "silent_url": sandbox.silent_url,
        "account_path": str(sandbox.account_path),
        "faults": options.fault,
    }
    if options.json:
        print(json.dumps(facts), flush=True)  # noqa: T201
        return
    key = "YOUR_KEY" if options.key else "sandbox"
    lines = [
        f"Sandbox at {sandbox.url} (jobs and charges in a browser; Ctrl-C ends it)",
        f"Account  {sandbox.account_path}",
        "",
        "Rehearse with",
        f"  export RUSHES_ALLOW_PRIVATE_URLS=1 SHORTAPI_BASE_URL={sandbox.shortapi_url} SHORTAPI_KEY={key}",
        "  rushes render board.yaml --provider shortapi",
        "or",
        f"  export RUSHES_ALLOW_PRIVATE_URLS=1 SJINN_BASE_URL={sandbox.sjinn_url} SJINN_API_KEY={key}",
        "  rushes render board.yaml --provider sjinn",
    ]
    print("\n".join(lines), flush=True)  # noqa: T201


def _list_faults(*, as_json: bool) -> None:
    rows = [
        {"name": one.name, "event": one.event, "ids": list(one.ids), "provider": one.provider, "text": one.text}
        for one in FAULTS.values()
    ]
    if as_json:
        print(json.dumps({"faults": rows, "elsewhere": dict(ELSEWHERE)}))  # noqa: T201
        return
    for one in FAULTS.values():
        where = f" ({one.provider} only)" if one.provider else ""
        print(f"{one.name:25} {one.event:9} {','.join(one.ids):12} {one.text}{where}")  # noqa: T201
    for number, text in ELSEWHERE.items():
        print(f"{'':25} {'':9} {number:12} {text}")  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
