"""The settings of one installation: the only reader of the environment and of `.env`."""

import os
import socket
from collections.abc import Mapping
from decimal import Decimal
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from platformdirs import user_state_path
from pydantic import BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from specs.money import USD, Money
from tasks.errors import SetupProblem

__all__ = [
    "Account",
    "Settings",
    "calm_prefect",
    "on_loopback",
    "override",
    "prefect_api",
    "prefect_server_environment",
    "serving_prefect",
]


def _money(value: object) -> object:
    """`20` and `20.00 USD` are both taken: the settings' caps are in USD."""
    if isinstance(value, str):
        return Money.parse(value) if " " in value.strip() else Money.of(value.strip(), USD)
    return value


def _key(value: object) -> object:
    """A key as it was pasted: blanks around it are dropped, and nothing but blanks is no key."""
    if not isinstance(value, str):
        return value
    key = value.strip()
    if any(not "!" <= one <= "~" for one in key):
        raise ValueError("a key is one word of plain ASCII; this one holds a blank, a line break or another character")
    return key or None


Key = Annotated[SecretStr | None, BeforeValidator(_key)]
LOOPBACK = 127
"""The first number of this machine's own addresses."""
UsdCap = Annotated[Money | None, NoDecode, BeforeValidator(_money)]


class Account:
    """How one provider is reached: where, with which key, at which rate.

    `name` says whose jobs they are, however the address is spelled and whichever key opens it: the provider's account, or
    the play money of a stand-in on this machine, which is never the same.
    """

    def __init__(
        self, *, base_url: str, key: SecretStr | None, rate: Decimal | None, max_in_flight: int | None
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.key = key
        self.rate = rate
        self.max_in_flight = max_in_flight
        self.name = "stand-in" if on_loopback(self.base_url) else "default"


def on_loopback(base_url: str) -> bool:
    """Whether `base_url` is an address of this machine, in whatever spelling: a sandbox, never the real provider."""
    try:
        host = (urlsplit(base_url).hostname or "").rstrip(".")
    except ValueError:
        return False
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ip_address(host)
    except ValueError:
        pass
    else:
        address = getattr(address, "ipv4_mapped", None) or address
        return address.is_loopback or address.is_unspecified
    try:
        return socket.inet_aton(host)[0] == LOOPBACK  # "127.1" and "0x7f000001" lead here as well
    except (OSError, UnicodeError):
        return False


class Settings(BaseSettings):
    """Every setting of the contract, under its own name; a value that cannot be read is a `SetupProblem` that names it."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", frozen=True, env_ignore_empty=True)

    store: str = Field("./rushes", validation_alias="RUSHES_STORE")
    ledger: str | None = Field(None, validation_alias="RUSHES_LEDGER")
    home: Path = Field(default_factory=lambda: user_state_path("rushes"), validation_alias="RUSHES_HOME")
    inbox: str | None = Field(None, validation_alias="RUSHES_INBOX")
    callback_url: str | None = Field(None, validation_alias="RUSHES_CALLBACK_URL")
    day_cap: UsdCap = Field(None, validation_alias="RUSHES_DAY_CAP")
    month_cap: UsdCap = Field(None, validation_alias="RUSHES_MONTH_CAP")
    poll_seconds: float | None = Field(None, validation_alias="RUSHES_POLL_SECONDS", gt=0, le=3600)
    part_shots: int = Field(50, validation_alias="RUSHES_PART_SHOTS", ge=1, le=10_000)
    notify: str | None = Field(None, validation_alias="RUSHES_NOTIFY")
    publish: str | None = Field(None, validation_alias="RUSHES_PUBLISH")
    publish_base: str | None = Field(None, validation_alias="RUSHES_PUBLISH_BASE")
    allow_private_urls: bool = Field(default=False, validation_alias="RUSHES_ALLOW_PRIVATE_URLS")
    shortapi_key: Key = Field(None, validation_alias="SHORTAPI_KEY")
    shortapi_base_url: str = Field("https://api.shortapi.ai", validation_alias="SHORTAPI_BASE_URL")
    sjinn_api_key: Key = Field(None, validation_alias="SJINN_API_KEY")
    sjinn_base_url: str = Field("https://sjinn.ai", validation_alias="SJINN_BASE_URL")
    sjinn_usd_per_credit: Decimal | None = Field(None, validation_alias="SJINN_USD_PER_CREDIT", gt=0, le=1)
    animatic_max_in_flight: int | None = Field(None, validation_alias="ANIMATIC_MAX_IN_FLIGHT", ge=1, le=10_000)
    shortapi_max_in_flight: int | None = Field(None, validation_alias="SHORTAPI_MAX_IN_FLIGHT", ge=1, le=10_000)
    sjinn_max_in_flight: int | None = Field(None, validation_alias="SJINN_MAX_IN_FLIGHT", ge=1, le=10_000)

    @classmethod
    def load(cls, overlay: Mapping[str, str] | None = None) -> Self:
        """Read the environment and `.env`; `overlay` (Prefect variables and blocks) fills only what both leave unset.

        Raises:
            SetupProblem: naming the variable whose value cannot be used; the value itself is not shown.
        """
        try:
            settings = cls()
            missing: dict[str, Any] = {
                k: v for k, v in (overlay or {}).items() if _alias(k) not in settings.model_fields_set
            }
            return cls(**missing) if missing else settings
        except ValidationError as error:
            raise SetupProblem(*_unreadable(error)) from None

    @property
    def ledger_url(self) -> str:
        """The ledger's SQLAlchemy URL.

        Raises:
            SetupProblem: for a relative SQLite path: it would name another, empty ledger in every folder.
        """
        if self.ledger is None:
            return f"sqlite:///{self.home.absolute() / 'ledger.db'}"
        scheme, _, path = self.ledger.partition(":///")
        if scheme.startswith("sqlite") and path and path != ":memory:" and not Path(path).is_absolute():
            raise SetupProblem(
                f"RUSHES_LEDGER names {path} relative to the current folder, so each folder would have a ledger of its own",
                f"Write the whole path, like sqlite:///{Path(path).absolute()}.",
            )
        return self.ledger

    def account(self, provider: str) -> Account:
        """How `provider` is reached with these settings."""
        return Account(**self._accounts()[provider])

    def _accounts(self) -> dict[str, dict[str, Any]]:
        return {
            "animatic": {
                "base_url": "animatic://local",
                "key": None,
                "rate": None,
                "max_in_flight": self.animatic_max_in_flight or max(1, len(os.sched_getaffinity(0))),
            },
            "shortapi": {
                "base_url": self.shortapi_base_url,
                "key": self.shortapi_key,
                "rate": None,
                "max_in_flight": self.shortapi_max_in_flight,
            },
            "sjinn": {
                "base_url": self.sjinn_base_url,
                "key": self.sjinn_api_key,
                "rate": self.sjinn_usd_per_credit,
                "max_in_flight": self.sjinn_max_in_flight,
            },
        }


def _alias(name: str) -> str:
    fields = {str(field.validation_alias): key for key, field in Settings.model_fields.items()}
    return fields.get(name, name)


def _unreadable(error: ValidationError) -> tuple[str, str]:
    problems = "; ".join(
        f"{'.'.join(map(str, one['loc']))}: {one['msg'].removeprefix('Value error, ')}"
        for one in error.errors(include_input=False)
    )
    return f"a setting cannot be used: {problems}", "Mend it in the environment or in .env, then run `rushes doctor`."


HEARTBEAT = "30"
"""Seconds between a run's heartbeats, the least that Prefect takes; its own 180 would let a dead run seem alive for ten minutes."""


def calm_prefect() -> None:
    """Settings for Prefect in the command line's own process, before it is imported; what the user has set stays.

    Results are written as JSON, never as pickles (S23); nothing is reported to anybody; only warnings reach the terminal.
    """
    for name, value in {
        "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_LOGGING_LEVEL": "WARNING",
        "PREFECT_SERVER_LOGGING_LEVEL": "ERROR",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": HEARTBEAT,
        # A fresh database is migrated first: 8 to 17 s on a quiet machine, and the default of 20 s is soon over.
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
    }.items():
        os.environ.setdefault(name, value)


def override(values: Mapping[str, str]) -> None:
    """Set settings for this process and its children; an empty value counts as unset (a rehearsal's sandbox)."""
    os.environ.update(values)


_BATCHED = {
    f"PREFECT_SERVER_SERVICES_{service}_{size}": "200"
    for service in ("TASK_RUN_RECORDER", "EVENT_PERSISTER")
    for size in ("BATCH_SIZE", "READ_BATCH_SIZE")
} | {
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL": "1",
    "PREFECT_SERVER_SERVICES_TRIGGERS_READ_BATCH_SIZE": "200",
}
"""A fourth to a sixth of the server's CPU for the same flow runs, measured on Prefect 3.8.8."""


def prefect_server_environment(api_url: str) -> dict[str, str]:
    """The environment of a Prefect server that Rushes starts at `api_url`; what the user has set stays."""
    own = {
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_UI_API_URL": api_url,
        "PREFECT_UI_URL": api_url.removesuffix("/api"),
        # In memory, the default, a restart forgets them, and each run that is under way ends itself at its next renewal.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    }
    return {**_BATCHED, **own, **os.environ}


def prefect_api() -> str | None:
    """The address of the Prefect API that the environment names."""
    return os.environ.get("PREFECT_API_URL") or None


def serving_prefect(api_url: str) -> None:
    """Point this process and the flow runs that it starts at a server, before Prefect is imported.

    Results are JSON, never pickles (S23); the heartbeat lets the server tell a dead run from a long one.
    """
    os.environ["PREFECT_API_URL"] = api_url
    for name, value in {
        "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": HEARTBEAT,
        "DO_NOT_TRACK": "1",
    }.items():
        os.environ.setdefault(name, value)
