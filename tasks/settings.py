"""The settings of one installation: the only reader of the environment and of `.env`."""

import os
import socket
import tomllib
from collections.abc import Iterator, Mapping
from decimal import Decimal
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import unquote, urlsplit

from dotenv import dotenv_values
from platformdirs import user_state_path
from pydantic import BeforeValidator, Field, PrivateAttr, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from specs.money import USD, Money
from tasks.errors import SetupProblem
from tasks.redaction import SHORT, conceal
from tasks.seams import SystemRng

__all__ = [
    "KEYS",
    "LOGIN_FILE",
    "Account",
    "Settings",
    "calm_prefect",
    "on_loopback",
    "override",
    "prefect_api",
    "prefect_credentials",
    "prefect_login",
    "prefect_password",
    "prefect_server_environment",
    "prefect_used",
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
        self, *, base_url: str, key: SecretStr | None, rate: Decimal | None, max_in_flight: int | None, usual: str
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self._usual = usual
        self.key = key
        self.rate = rate
        self.max_in_flight = max_in_flight
        self.name = "stand-in" if on_loopback(self.base_url) else "default"

    def serves(self, base_url: str) -> bool:
        """Whether the key may go to an address that the ledger has kept: the one of the settings, or the provider's own.

        A sandbox comes back on another port of this machine.
        """
        known = {_origin(self.base_url), _origin(self._usual)}
        return _origin(base_url) in known or (on_loopback(base_url) and on_loopback(self.base_url))


def _origin(url: str) -> tuple[str, str, int | None] | str:
    try:
        parts = urlsplit(url)
        return parts.scheme, parts.hostname or "", parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return url


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
    """Every setting of the contract, under its own name; a value that cannot be read is a `SetupProblem` that names it.

    A `.env` lies in the current folder, and beside a board that was downloaded it is a stranger's. So it says where the keys
    go that it holds itself, and no others, and keeps the books of its own caps alone: `account`, `ledger_url`, `told_by_file`.
    """

    model_config = SettingsConfigDict(extra="ignore", frozen=True, env_ignore_empty=True)
    _sources: dict[str, str] = PrivateAttr(default_factory=dict)

    store: str = Field("./rushes", validation_alias="RUSHES_STORE")
    ledger: str | None = Field(None, validation_alias="RUSHES_LEDGER")
    home: Path = Field(default_factory=lambda: user_state_path("rushes"), validation_alias="RUSHES_HOME")
    inbox: str | None = Field(None, validation_alias="RUSHES_INBOX")
    callback_url: str | None = Field(None, validation_alias="RUSHES_CALLBACK_URL")
    day_cap: UsdCap = Field(None, validation_alias="RUSHES_DAY_CAP")
    month_cap: UsdCap = Field(None, validation_alias="RUSHES_MONTH_CAP")
    auto_cap: UsdCap = Field(None, validation_alias="RUSHES_AUTO_CAP")
    auto_day_cap: UsdCap = Field(None, validation_alias="RUSHES_AUTO_DAY_CAP")
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
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - `_dotenv` reads it
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - there are none
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over `.env`."""
        return init_settings, env_settings, InitSettingsSource(settings_cls, init_kwargs=dict(_dotenv()))

    def model_post_init(self, _context: object) -> None:
        """Remember where each setting comes from."""
        there, file = {name.upper() for name, value in os.environ.items() if value}, _dotenv()
        for field in self.model_fields_set:
            name = _name(field)
            self._sources[name] = ENVIRONMENT if name in there else FILE if name in file else PREFECT
        conceal(self._secrets())

    def _secrets(self) -> Iterator[str]:
        """Whatever opens a door of this installation: keys, logins, and the passwords of the store's and the ledger's addresses."""
        for name in type(self).model_fields:
            value = getattr(self, name, None)
            if isinstance(value, SecretStr):
                yield value.get_secret_value()
            elif isinstance(value, str) and len(password := _password(value)) >= SHORT:
                yield from (password, unquote(password))
        for name in _OTHER_KEYS:
            whole = os.environ.get(name, "")
            yield from (one for one in (whole, whole.partition(":")[2]) if len(one) >= SHORT)

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
            SetupProblem: for a relative SQLite path: it would name another, empty ledger in every folder. And where `.env` names
                a ledger that is to count the spending under a cap which it does not set.
        """
        books = next((name for name in ("RUSHES_LEDGER", "RUSHES_HOME") if self._sources.get(name) == FILE), None)
        caps = [name for name, source in self._sources.items() if name.endswith("_CAP") and source != FILE]
        if books and caps:
            raise SetupProblem(
                f"{caps[0]} comes from {self._sources[caps[0]]} and {books} from {FILE}: what was spent elsewhere would not count",
                f"Set both in one place, or take {books} out of {FILE}.",
            )
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
        """How `provider` is reached with these settings.

        Raises:
            SetupProblem: its key would go to an address, or be counted at a rate, that another source has set.
        """
        account = Account(**self._accounts()[provider])
        if account.key is not None:
            self._one_source(provider)
        return account

    def _one_source(self, provider: str) -> None:
        """What runs a deployment may say where its key from Prefect goes, and at which rate any key is counted."""
        own = {name: source for name, source in self._sources.items() if name.startswith(f"{provider.upper()}_")}
        key = next(name for name in own if name in KEYS)
        for name in own.keys() & {f"{provider.upper()}_BASE_URL", f"{provider.upper()}_USD_PER_CREDIT"}:
            above = own[name] == ENVIRONMENT and (own[key] == PREFECT or not name.endswith("_BASE_URL"))
            if own[name] != own[key] and not above:
                raise SetupProblem(
                    f"{key} comes from {own[key]} and {name} from {own[name]}: a key is used only as its own source says",
                    f"Set both in one place, or take {name} out of {own[name]}.",
                )

    def told_by_file(self) -> list[str]:
        """The settings of `.env` that say where things go, where it is not the file that holds the keys."""
        keys = {source for name, source in self._sources.items() if name in KEYS}
        if not keys - {FILE}:
            return []
        return sorted(name for name, source in self._sources.items() if source == FILE and name in _PLACES)

    def _accounts(self) -> dict[str, dict[str, Any]]:
        return {
            "animatic": {
                "base_url": "animatic://local",
                "key": None,
                "rate": None,
                "max_in_flight": self.animatic_max_in_flight or max(1, len(os.sched_getaffinity(0))),
                "usual": "",
            },
            "shortapi": {
                "base_url": self.shortapi_base_url,
                "key": self.shortapi_key,
                "rate": None,
                "max_in_flight": self.shortapi_max_in_flight,
                "usual": type(self).model_fields["shortapi_base_url"].default,
            },
            "sjinn": {
                "base_url": self.sjinn_base_url,
                "key": self.sjinn_api_key,
                "rate": self.sjinn_usd_per_credit,
                "max_in_flight": self.sjinn_max_in_flight,
                "usual": type(self).model_fields["sjinn_base_url"].default,
            },
        }


ENVIRONMENT, FILE, PREFECT = "the environment", ".env", "Prefect"
"""Where a setting comes from, as people read it."""

_OTHER_KEYS = (
    *("PREFECT_API_AUTH_STRING", "PREFECT_SERVER_API_AUTH_STRING", "PREFECT_API_KEY"),
    *("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_CONNECTION_STRING"),
    *("AZURE_STORAGE_SAS_TOKEN", "AZURE_CLIENT_SECRET"),
)

_PLACES = {
    *("RUSHES_HOME", "RUSHES_LEDGER", "RUSHES_STORE", "RUSHES_INBOX", "RUSHES_CALLBACK_URL"),
    *("RUSHES_PUBLISH", "RUSHES_PUBLISH_BASE", "RUSHES_ALLOW_PRIVATE_URLS"),
}

KEYS = frozenset(
    str(one.validation_alias) for one in Settings.model_fields.values() if one.annotation == SecretStr | None
)
"""The settings that hold a provider's key."""


def _dotenv() -> dict[str, str]:
    """What `.env` of the current folder sets, by names in capitals, each value as it stands there.

    A `${NAME}` is not filled in: a stranger's file could put one key of the environment where another one goes.
    """
    found = dotenv_values(".env", interpolate=False)
    return {name.upper(): value for name, value in found.items() if value}


def _alias(name: str) -> str:
    fields = {str(field.validation_alias): key for key, field in Settings.model_fields.items()}
    return fields.get(name, name)


def _password(value: str) -> str:
    try:
        return urlsplit(value).password or ""
    except ValueError:
        return ""


def _name(field: str) -> str:
    return str(Settings.model_fields[field].validation_alias)


def _unreadable(error: ValidationError) -> tuple[str, str]:
    problems = "; ".join(
        f"{'.'.join(map(str, one['loc']))}: {one['msg'].removeprefix('Value error, ')}"
        for one in error.errors(include_input=False)
    )
    return f"a setting cannot be used: {problems}", "Mend it in the environment or in .env, then run `rushes doctor`."


HEARTBEAT = "30"
"""Seconds between a run's heartbeats, the least that Prefect takes; its own 180 would let a dead run seem alive for ten minutes."""


def calm_prefect(home: Path) -> None:
    """Settings for Prefect in the command line's own process, before it is imported; what the user has set stays.

    Results are written as JSON, never as pickles (S23); nothing is reported to anybody; only warnings reach the terminal.
    A temporary server has a login that lives as long as this process and tells web pages nothing.

    Raises:
        SetupProblem: a file of the current folder would tell Prefect where its server is.
    """
    _only_our_prefect()
    own = prefect_credentials(home)
    if not prefect_used():
        login = _given_login() or _new_login()
        own = {"PREFECT_API_AUTH_STRING": login, "PREFECT_SERVER_API_AUTH_STRING": login, **_NO_PAGES}
    for name, value in {
        **own,
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


_NO_PAGES = {"PREFECT_SERVER_CORS_ALLOWED_ORIGINS": "http://no-web-page.invalid"}
"""Prefect's default lets every web page read what its server answers."""


def _only_our_prefect() -> None:
    """Prefect reads files of the current folder as well: a downloaded board's could send runs and logins to its author.

    Raises:
        SetupProblem: naming the file.
    """
    told = {
        ".env": any(name.startswith("PREFECT_") and name not in os.environ for name in _dotenv()),
        "prefect.toml": Path("prefect.toml").exists(),
        "pyproject.toml": "prefect" in _toml(Path("pyproject.toml")).get("tool", {}),
    }
    for file in (file for file, tells in told.items() if tells):
        raise SetupProblem(
            f"{file} in this folder would tell Prefect what to do, and where its server is",
            "Set PREFECT_... in the environment or in Prefect's own profile, and take it out of this file.",
        )


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


def prefect_server_environment(api_url: str, login: str) -> dict[str, str]:
    """The environment of a Prefect server that Rushes starts at `api_url`; what the user has set stays.

    It asks for `login`, and no web page but its own UI may read what it answers.
    """
    ui = api_url.removesuffix("/api")
    own = {
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_UI_API_URL": api_url,
        "PREFECT_UI_URL": ui,
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": f"{ui},{ui.replace('127.0.0.1', 'localhost')}",
        # In memory, the default, a restart forgets them, and each run that is under way ends itself at its next renewal.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    }
    return {**_BATCHED, **own, **os.environ, "PREFECT_SERVER_API_AUTH_STRING": login}


def prefect_api() -> str | None:
    """The address of the Prefect API that the environment names."""
    return os.environ.get("PREFECT_API_URL") or None


def prefect_used() -> str | None:
    """The address of the Prefect API that a command talks to: the environment's, or else that of Prefect's own profile."""
    return prefect_api() or _profile().get("PREFECT_API_URL") or None


def _profile() -> Mapping[str, str]:
    """The settings of Prefect's active profile, read without Prefect: what is decided by them must be set before its import."""
    home = Path(os.environ.get("PREFECT_HOME") or "~/.prefect").expanduser()
    found = _toml(Path(os.environ.get("PREFECT_PROFILES_PATH") or home / "profiles.toml"))
    return dict(found.get("profiles", {}).get(os.environ.get("PREFECT_PROFILE") or found.get("active"), {}))


def _toml(path: Path) -> dict[str, Any]:
    """A TOML file; empty where there is none, or none that can be read."""
    try:
        return tomllib.loads(path.read_text())
    except (OSError, ValueError):
        return {}


def prefect_login(home: Path) -> tuple[str, bool]:
    """The login of the Prefect server that Rushes starts, and whether it was made just now.

    It lies in `home`, for its owner's eyes alone, unless the environment sets one.
    """
    if given := _given_login():
        return given, False
    path = home / LOGIN_FILE
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(login := _new_login())
    except FileExistsError:
        return _kept_login(path), False
    return login, True


LOGIN_FILE = "prefect-login"


def _given_login() -> str | None:
    return os.environ.get("PREFECT_SERVER_API_AUTH_STRING") or os.environ.get("PREFECT_API_AUTH_STRING") or None


def _new_login() -> str:
    return f"rushes:{SystemRng().token()}"


def _kept_login(path: Path) -> str:
    """Raises SetupProblem where others may read it, or it holds none."""
    if path.stat().st_mode & 0o077:
        raise SetupProblem(
            f"others may read {path}", f"chmod 600 {path}, or remove it: the next start makes a new one."
        )
    login = path.read_text().strip()
    if not login:
        raise SetupProblem(f"{path} holds no login", "Remove it: the next start makes a new one.")
    return login


def prefect_credentials(home: Path) -> dict[str, str]:
    """What lets a command of this installation into the server that `rushes serve` runs on this machine; {} for any other."""
    path = home / LOGIN_FILE
    if os.environ.get("PREFECT_API_AUTH_STRING") or not on_loopback(prefect_used() or "") or not path.exists():
        return {}
    return {"PREFECT_API_AUTH_STRING": _kept_login(path)}


def prefect_password() -> str | None:
    """The login with which this process asks its Prefect server."""
    return os.environ.get("PREFECT_API_AUTH_STRING") or _profile().get("PREFECT_API_AUTH_STRING") or None


def serving_prefect(api_url: str, login: str | None = None) -> None:
    """Point this process and the flow runs that it starts at a server, before Prefect is imported.

    Results are JSON, never pickles (S23); the heartbeat lets the server tell a dead run from a long one.
    """
    _only_our_prefect()
    os.environ["PREFECT_API_URL"] = api_url
    if login is not None:
        os.environ["PREFECT_API_AUTH_STRING"] = login
    for name, value in {
        "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": HEARTBEAT,
        "DO_NOT_TRACK": "1",
    }.items():
        os.environ.setdefault(name, value)
