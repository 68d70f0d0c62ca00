"""Where a setting comes from decides what it may do: a key goes where its own source says, and a stranger's file says little."""

import json
import os
from pathlib import Path

import pytest

from deployments.sandbox import Sandbox
from specs.money import Money
from tasks.errors import SetupProblem
from tasks.production import Production
from tasks.settings import Settings, calm_prefect, prefect_login, serving_prefect
from tests.fixtures.command import ROOT, Installation
from tests.fixtures.till import paid_board

PROVIDERS = [("SHORTAPI_KEY", "SHORTAPI_BASE_URL"), ("SJINN_API_KEY", "SJINN_BASE_URL")]
EVIL = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder is one that was downloaded."""
    folder = tmp_path / "downloaded"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def _provider(key: str) -> str:
    return key.partition("_")[0].lower()


@pytest.mark.parametrize(("key", "address"), PROVIDERS)
def test_F98_a_key_of_the_environment_never_goes_where_a_file_says(
    downloaded: Path, monkeypatch: pytest.MonkeyPatch, key: str, address: str
) -> None:
    """And the other way round; each is refused with both names and the cure."""
    monkeypatch.setenv(key, "sk-of-the-environment")
    (downloaded / ".env").write_text(f"{address.lower()}={EVIL}\n")
    with pytest.raises(SetupProblem, match=f"{key} comes from the environment and {address} from .env") as refused:
        Settings.load().account(_provider(key))
    assert f"take {address} out of .env" in refused.value.hint
    monkeypatch.delenv(key)
    (downloaded / ".env").write_text(f"{key}=sk-of-the-file\n")
    monkeypatch.setenv(address, EVIL)
    with pytest.raises(SetupProblem, match=f"{key} comes from .env"):
        Settings.load().account(_provider(key))


@pytest.mark.parametrize(("key", "address"), PROVIDERS)
def test_F98_a_key_goes_where_its_own_source_says_or_where_its_provider_is(
    downloaded: Path, monkeypatch: pytest.MonkeyPatch, key: str, address: str
) -> None:
    """Both in the file, both in the environment, the key alone; and the worker's environment beside a Secret block."""
    (downloaded / ".env").write_text(f"{key}=sk-of-the-file\n{address}={EVIL}\n")
    assert Settings.load().account(_provider(key)).base_url == EVIL
    monkeypatch.setenv(key, "sk-of-the-environment")
    monkeypatch.setenv(address, "http://127.0.0.1:8077")
    assert Settings.load().account(_provider(key)).base_url == "http://127.0.0.1:8077"
    monkeypatch.delenv(key)
    (downloaded / ".env").unlink()
    assert Settings.load({key: "sk-of-a-block"}).account(_provider(key)).base_url == "http://127.0.0.1:8077"
    monkeypatch.delenv(address)
    assert Settings.load({key: "sk-of-a-block"}).account(_provider(key)).base_url.startswith("https://")


def test_F98_a_file_fills_in_no_key_of_the_environment(downloaded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`${NAME}` in a stranger's file would send any secret of the environment to his address."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-of-another-house")
    (downloaded / ".env").write_text(f"SHORTAPI_KEY=${{AWS_SECRET_ACCESS_KEY}}\nSHORTAPI_BASE_URL={EVIL}\n")
    key = Settings.load().account("shortapi").key
    assert key is not None
    assert key.get_secret_value() == "${AWS_SECRET_ACCESS_KEY}"


def test_F98_credits_are_worth_what_the_environment_says(downloaded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rate of next to nothing would let a hostile board pass every cap in USD."""
    monkeypatch.setenv("SJINN_API_KEY", "sk-of-the-environment")
    (downloaded / ".env").write_text("SJINN_USD_PER_CREDIT=0.0000001\n")
    with pytest.raises(SetupProblem, match=r"SJINN_USD_PER_CREDIT from \.env"):
        Settings.load().account("sjinn")


@pytest.mark.parametrize("books", ["RUSHES_HOME", "RUSHES_LEDGER"])
def test_F98_a_cap_is_counted_in_a_ledger_of_its_own_source(
    downloaded: Path, monkeypatch: pytest.MonkeyPatch, books: str
) -> None:
    """A file that names an empty ledger would forget what was spent today."""
    monkeypatch.delenv("RUSHES_HOME")
    monkeypatch.setenv("RUSHES_DAY_CAP", "5.00")
    value = downloaded / "home" if books == "RUSHES_HOME" else f"sqlite:///{downloaded}/empty.db"
    (downloaded / ".env").write_text(f"{books}={value}\n")
    assert Settings.load().day_cap == Money.of("5.00")
    with pytest.raises(SetupProblem, match=f"RUSHES_DAY_CAP comes from the environment and {books} from .env"):
        _ = Settings.load().ledger_url
    (downloaded / ".env").write_text(f"{books}={value}\nRUSHES_DAY_CAP=5.00\n")
    monkeypatch.delenv("RUSHES_DAY_CAP")
    assert Settings.load().ledger_url.startswith("sqlite")


async def test_F98_a_ledger_sends_no_key_to_an_address_that_the_settings_do_not_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A job of the ledger is asked after where it was ordered, but a prepared ledger must not get the key that way."""
    monkeypatch.setenv("SHORTAPI_KEY", "sk-of-the-environment")
    async with Production.open(Settings.load()) as production:
        assert production.auth("shortapi", "https://API.shortapi.ai:443/") == "Bearer sk-of-the-environment"
        for other in ("https://evil.example", "http://api.shortapi.ai", "http://127.0.0.1:9"):
            with pytest.raises(SetupProblem, match=r"the key is for https://api\.shortapi\.ai"):
                production.auth("shortapi", other)


@pytest.mark.parametrize("provider", ["shortapi", "sjinn"])
def test_F98_a_downloaded_board_gets_no_key_and_the_refusal_is_exit_7(downloaded: Path, provider: str) -> None:
    """The stranger's stand-in gets no request at all, from `render` as from `doctor`; `.env` alone still works as documented."""
    from PIL import Image

    Image.new("RGB", (480, 320), (90, 60, 30)).save(downloaded / "still.jpg")
    (downloaded / "board.yaml").write_text(paid_board(provider=provider))
    house = Installation(downloaded.parent, {"SJINN_USD_PER_CREDIT": "0.0007"})
    key, address = next(one for one in PROVIDERS if _provider(one[0]) == provider)
    with Sandbox(key="sk-canary-51") as evil:
        urls = {"shortapi": evil.shortapi_url, "sjinn": evil.sjinn_url}
        (downloaded / ".env").write_text(f"{address}={urls[provider]}\nRUSHES_STORE={downloaded}/theirs\n")
        said = _run(house, downloaded, "render", "board.yaml", "--yes", **{key: "sk-canary-51"})
        assert said[0] == 7, said
        assert f"take {address} out of .env" in said[1]
        found = json.loads(_run(house, downloaded, "doctor", "--json", **{key: "sk-canary-51"})[2])
        assert [one["subject"] for one in found if not one["ok"]] == [provider]
        assert not evil.account().jobs
        (downloaded / ".env").write_text(f"{address}={urls[provider]}\n{key}=sk-canary-51\n")
        assert json.loads(_run(house, downloaded, "plan", "board.yaml", "--json")[2])["warnings"] == []
        (downloaded / ".env").write_text("RUSHES_CALLBACK_URL=https://evil.example\n")
        document = json.loads(_run(house, downloaded, "plan", "board.yaml", "--json", **{key: "sk-canary-51"})[2])
        assert any("sets RUSHES_CALLBACK_URL: is it yours?" in one for one in document["warnings"]), document


def _run(house: Installation, folder: Path, *words: str, **more: str) -> tuple[int, str, str]:
    import subprocess

    done = subprocess.run(
        house.command(*words),
        cwd=folder,
        env=house.environment(**more) | {"PYTHONPATH": str(ROOT)},
        input="",
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stderr, done.stdout


def test_F97_the_login_of_our_own_prefect_is_made_once_and_is_for_its_owner(tmp_path: Path) -> None:
    """Mode 0600, long, the same at every start; a file that others can read, or an empty one, is refused."""
    home = tmp_path / "fresh"
    login, new = prefect_login(home)
    kept = home / "prefect-login"
    assert (new, kept.stat().st_mode & 0o777, prefect_login(home)) == (True, 0o600, (login, False))
    assert login.startswith("rushes:")
    assert len(login) > 40
    kept.chmod(0o644)
    with pytest.raises(SetupProblem, match="others may read"):
        prefect_login(home)
    kept.chmod(0o600)
    kept.write_text("")
    with pytest.raises(SetupProblem, match="holds no login"):
        prefect_login(home)


def test_F97_the_temporary_server_of_a_render_by_hand_has_a_login_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Server and client share it, no page reads an answer; a server that the environment names gets nothing of the kind."""
    monkeypatch.setattr(os, "environ", dict(os.environ) | {"PREFECT_HOME": str(tmp_path / "prefect")})
    calm_prefect(tmp_path)
    assert len(os.environ["PREFECT_SERVER_API_AUTH_STRING"]) > 40
    assert os.environ["PREFECT_API_AUTH_STRING"] == os.environ["PREFECT_SERVER_API_AUTH_STRING"]
    assert "*" not in os.environ["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"]
    kept, _ = prefect_login(tmp_path / "other")
    for name in ("PREFECT_API_AUTH_STRING", "PREFECT_SERVER_API_AUTH_STRING"):
        del os.environ[name]
    login, _ = prefect_login(tmp_path)
    assert kept != login
    for url, sent in (("http://127.0.0.1:4200/api", login), ("https://prefect.example/api", None)):
        os.environ["PREFECT_API_URL"] = url
        calm_prefect(tmp_path)
        assert os.environ.pop("PREFECT_API_AUTH_STRING", None) == sent


@pytest.mark.parametrize(
    ("file", "text"),
    [
        (".env", "prefect_api_url=https://evil.example/api\n"),
        ("prefect.toml", '[api]\nurl = "https://evil.example/api"\n'),
        ("pyproject.toml", '[tool.prefect.api]\nurl = "https://evil.example/api"\n'),
    ],
)
def test_F98_no_file_of_the_folder_says_where_prefect_is(
    downloaded: Path, tmp_path: Path, file: str, text: str
) -> None:
    """Prefect reads these by itself: runs, plans and the login would go to a stranger."""
    (downloaded / file).write_text(text)
    with pytest.raises(SetupProblem, match="in this folder would tell Prefect") as refused:
        calm_prefect(tmp_path)
    assert refused.value.message.startswith(file)
    with pytest.raises(SetupProblem, match="in this folder would tell Prefect"):
        serving_prefect("http://127.0.0.1:4200/api")
