"""What is installed and what is loaded: pinned versions without addresses, and no pickle from anywhere."""

import ast
import os
import re
import tomllib
from pathlib import Path

import pytest
import yaml

from tasks.settings import Settings, calm_prefect
from tests.fixtures.command import ROOT
from tests.test_house import SOURCES


def test_S25_every_dependency_is_pinned_and_no_address_is_named() -> None:
    """Each direct dependency has one exact version in the constraints, which hold nothing but names and versions."""
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9._-]+==[0-9][^\s]*( ; .+)?", line) for line in lines)
    pinned = {line.partition("==")[0] for line in lines}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    names = {re.split(r"[\[<>=!~; ]", one)[0].lower() for one in wanted} - {"rushes"}
    assert names - pinned == set()


def test_S23_results_are_json_and_nothing_of_ours_loads_a_pickle(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Prefect is told to write JSON, and no module imports pickle or its kin."""
    monkeypatch.setattr(os, "environ", dict(os.environ))
    calm_prefect(tmp_path)
    assert os.environ["PREFECT_RESULTS_DEFAULT_SERIALIZER"] == "json"
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            assert not {"pickle", "cloudpickle", "dill", "shelve", "marshal"} & set(names), path


def test_every_container_that_buys_keeps_its_home_and_each_setting_that_it_passes_on_exists() -> None:
    """A home that goes with its container takes journals with it; a variable that nothing reads is a typing error."""
    services = yaml.safe_load((ROOT / "deployments/compose.yaml").read_text())["services"]
    ours = {name: one for name, one in services.items() if one.get("image") == "rushes" and name != "server"}
    assert {"worker", "watcher", "callbacks", "deploy", "sandbox"} == set(ours)
    assert all(one["volumes"] == ["home:/srv/rushes/home"] for one in ours.values())
    known = {str(field.validation_alias) for field in Settings.model_fields.values()}
    passed = {name for one in ours.values() for name in one["environment"] if not name.startswith("PREFECT_")}
    example = (ROOT / "deployments/rushes.env.example").read_text()
    passed |= {name for name in re.findall(r"^(?:# )?([A-Z_]+)=", example, re.MULTILINE) if not name.startswith("AWS_")}
    assert passed - known == set()


def test_F97_the_prefect_of_many_machines_asks_for_a_login_and_knows_its_own_page() -> None:
    """One login for server, workers and UI, without which nothing starts; no other web page reads an answer."""
    services = yaml.safe_load((ROOT / "deployments/compose.yaml").read_text())["services"]
    server = services["server"]["environment"]
    assert server["PREFECT_SERVER_API_AUTH_STRING"].startswith("${PREFECT_LOGIN:?")
    assert "*" not in server["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"]
    clients = [one["environment"] for one in services.values() if "PREFECT_API_URL" in one.get("environment", {})]
    assert len(clients) == 5
    assert all(one["PREFECT_API_AUTH_STRING"] == server["PREFECT_SERVER_API_AUTH_STRING"] for one in clients)
