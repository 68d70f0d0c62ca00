"""Order slips at one shot: no slip, no request; a slip that lags behind costs nothing; what the store is asked for."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from flows.collect import collect
from tasks.errors import SetupProblem
from tasks.ledger import Intent, IntentState
from tasks.storage.backend import Source
from tests.proof.homes import put_back
from tests.proof.truth import Script
from tests.tasks.stages import Shoot, shooting

S = IntentState
PROVIDERS = ["shortapi", "sjinn"]


def _slip(shoot: Shoot, intent: Intent) -> Any:
    return json.loads((shoot.stage.files / intent.slip).read_text())


@pytest.mark.parametrize("provider", PROVIDERS)
def test_F95_without_its_slip_in_the_store_nothing_is_sent(provider: str, tmp_path: Path) -> None:
    """Never sent: the money comes back, and the store is named. Once the store takes slips, the shot is bought."""
    script = Script("no-slip", provider=provider, slip=("fail",) * 4)
    with shooting(script, tmp_path) as shoot:
        with pytest.raises(SetupProblem, match="the store took no order slip, so nothing was sent"):
            shoot.submit()
        [never] = shoot.production.ledger.intents()
        assert (never.state, never.reserved.micros) == (S.CANCELLED, 0)
        assert shoot.stage.oracle.creates == []
        bought = shoot.submit()
        assert (bought.state, _slip(shoot, bought)["job_id"]) == (S.SUBMITTED, bought.job_id)
        assert len(shoot.stage.oracle.creates) == 1


@pytest.mark.parametrize("provider", PROVIDERS)
def test_F95_a_slip_that_cannot_be_rewritten_loses_no_job_and_is_mended_by_collect(
    provider: str, tmp_path: Path
) -> None:
    """The paid clip is stored; the slip tells the end as soon as the store lets it."""
    with shooting(Script("old-slip", provider=provider, rewrite=("fail",) * 8), tmp_path) as shoot:
        stored = shoot.stored()
        assert stored.state is S.STORED
        assert _slip(shoot, stored)["state"] == "SUBMITTING"
        assert "slip-behind" in shoot.kinds(stored)
        shoot._loop.run_until_complete(collect(shoot.production, "test"))
        told = _slip(shoot, stored)
        assert (told["state"], told["job_id"]) == ("STORED", stored.job_id)
        assert shoot.production.ledger.slips_behind() == []


def test_F95_an_order_that_was_refused_for_certain_says_so(tmp_path: Path) -> None:
    """A void slip; the next attempt of the same ledger takes the next name and leaves the void one alone."""
    with shooting(Script("void", create=("invalid",)), tmp_path) as shoot:
        refused, bought = shoot.submit(), shoot.submit()
        assert (_slip(shoot, refused)["state"], _slip(shoot, bought)["state"]) == ("REJECTED", "SUBMITTED")
        assert bought.slip == refused.slip.replace(".order.json", ".order.2.json")


def test_F95_a_slip_costs_three_writes_a_shot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One exclusive create before the request, one rewrite with the job, one with the clip; nothing is listed."""
    with shooting(Script("ok"), tmp_path) as shoot:
        asked: Counter[str] = Counter()
        backend = shoot.production.store._backend
        for verb in ("create", "replace"):
            plain = getattr(backend, verb)

            def counted(source: Source, path: str, kind: str | None, verb: str = verb, plain: Any = plain) -> None:
                asked[f"{verb} {path.rpartition('/')[2].partition('.')[2]}"] += 1
                plain(source, path, kind)

            monkeypatch.setattr(type(backend), verb, staticmethod(counted))
        shoot.stored()
        assert asked == {"create order.json": 1, "create mp4": 1, "replace order.json": 2, "replace json": 1}


@pytest.mark.parametrize("copy_at", range(8, 64, 8))
@pytest.mark.parametrize("script", ["ok", "sjinn-lost-after"])
def test_F95_a_home_copied_at_any_point_and_put_back_later_buys_nothing_again(
    script: str, copy_at: int, tmp_path: Path
) -> None:
    """In the simulator, by the provider's account: no double purchase, every clip stored or named."""
    assert put_back(script, copy_at, 0, tmp_path).wrong == []
