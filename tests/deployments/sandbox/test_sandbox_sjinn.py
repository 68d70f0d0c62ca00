"""The SJinn dialect, field by field."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx
import pytest

from deployments.sandbox import Sandbox
from deployments.sandbox.shelf import PLAIN

WEB = httpx.Client(verify=PLAIN, headers={"Connection": "close"}, timeout=120)
"""On a fresh connection each time; loading certificates would cost 40 ms a client."""
KEY = {"Authorization": "Bearer canary-key-7f3a"}


def _usage(sandbox: Sandbox, **asked: Any) -> dict[str, Any]:
    reply = WEB.get(f"{sandbox.url}/api/un-api/query_credits_usage", params=asked, headers=KEY)
    data: dict[str, Any] = reply.json()["data"]
    return data


def test_a_create_is_answered_with_the_documented_envelope(sjinn: Any) -> None:
    """success, errorMsg, error_code, and a task id that is a UUID."""
    reply = sjinn.create()
    [job] = sjinn.sandbox.account().jobs
    assert reply.status_code == 200
    assert reply.json() == {"success": True, "errorMsg": "", "error_code": 0, "data": {"task_id": job.job_id}}


@pytest.mark.parametrize(
    ("ordered", "seconds"),
    [(5, 5), (1, 3), (-4, 3), (99, 15), ("7", 7), ("40", 15), (3.0, 3), (..., 5)],
)
def test_F29_the_duration_is_clamped_without_a_word_and_billed_so(sjinn: Any, ordered: Any, seconds: int) -> None:
    """200 credits a second of what is made, not of what was ordered."""
    job = sjinn.buy(duration=ordered)
    assert (job.seconds, job.billed, job.unit) == (seconds, Decimal(200 * seconds), "credits")


def test_pro_costs_300_credits_a_second(sjinn: Any) -> None:
    """As the page lists it."""
    assert sjinn.buy(model_mode="pro", duration=10).billed == Decimal(3000)


def test_what_is_left_out_has_the_page_s_defaults(sjinn: Any) -> None:
    """Multi-shot is on, the mode is standard, five seconds."""
    job = sjinn.buy(multi_shot=..., model_mode=..., duration=...)
    assert (job.multi_shot, job.pro, job.seconds) == (True, False, 5)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"prompt": ...}, "prompt is required"),
        ({"prompt": ""}, "prompt is required"),
        ({"image": ...}, "image is required"),
        ({"image": ""}, "image is required"),
        ({"image": "start.jpg"}, "image is invalid"),
        ({"tail_image_url": "end.jpg"}, "tail_image_url is invalid"),
        ({"model_mode": "std"}, "model_mode is invalid"),
        ({"multi_shot": "false"}, "multi_shot is invalid"),
        ({"duration": 4.5}, "duration is invalid"),
        ({"duration": "five"}, "duration is invalid"),
        ({"duration": True}, "duration is invalid"),
    ],
)
def test_what_the_page_calls_wrong_is_error_400_inside_http_200(
    sjinn: Any, changes: dict[str, Any], words: str
) -> None:
    """The refusal has no data; nothing is accepted or billed."""
    reply = sjinn.create(**changes)
    assert reply.status_code == 200
    assert reply.json() == {"success": False, "errorMsg": words, "error_code": 400}
    assert sjinn.sandbox.account().jobs == ()


def test_another_tool_is_refused(sjinn: Any) -> None:
    """Only the image-to-video tool exists here."""
    assert sjinn.post({"tool_type": "veo3", "input": {}}).json()["error_code"] == 400


def test_a_task_runs_and_is_done(slow_sandbox: Sandbox, customer_of: Any) -> None:
    """0 is running and 1 is done: what ShortAPI calls running."""
    sjinn = customer_of(slow_sandbox, "sjinn")
    job = sjinn.buy()
    running = sjinn.query(job.job_id).json()
    slow_sandbox.advance(100)
    done = sjinn.query(job.job_id).json()
    assert running["data"] == {"task_id": job.job_id, "status": 0, "task_type": "tool_kling3-image-to-video-api"}
    [url] = done["data"].pop("output_urls")
    assert done["data"] == {"task_id": job.job_id, "status": 1}
    assert url.startswith(f"{slow_sandbox.url}/files/clips/{job.job_id}.mp4?")


def test_a_task_can_also_be_asked_for_by_get(sjinn: Any) -> None:
    """One public client does so."""
    job = sjinn.buy()
    reply = WEB.get(f"{sjinn.sandbox.url}/api/un-api/query_tool_task_status?task_id={job.job_id}", headers=KEY)
    assert reply.json()["data"]["status"] == 1


def test_a_failed_task_has_status_minus_1_and_an_error(sjinn: Any) -> None:
    """The envelope still says success."""
    sjinn.sandbox.fault("failed-billed")
    job = sjinn.buy()
    assert sjinn.query(job.job_id).json() == {
        "success": True,
        "errorMsg": "",
        "error_code": 0,
        "data": {"task_id": job.job_id, "status": -1, "error": "generation failed"},
    }


def test_an_unknown_task_is_404_inside_http_200(sjinn: Any) -> None:
    """`success: false` on a query."""
    reply = sjinn.query("x")
    assert (reply.status_code, reply.json()) == (200, {"success": False, "errorMsg": "not found", "error_code": 404})


def test_a_wrong_key_is_401_inside_http_200(sjinn: Any) -> None:
    """For creates, queries and the balance alike."""
    for reply in (
        sjinn.post(sjinn.order(), headers={}),
        sjinn.query("x", headers={}),
        WEB.get(f"{sjinn.sandbox.url}/api/un-api/query_account_status"),
        WEB.get(f"{sjinn.sandbox.url}/api/un-api/query_credits_usage"),
    ):
        assert (reply.status_code, reply.json()["error_code"]) == (200, 401)


def test_the_balance_falls_by_what_is_billed_and_rises_by_a_refund(sjinn: Any) -> None:
    """A number of credits, by GET and by POST."""
    sjinn.buy(duration=5)
    sjinn.sandbox.fault("failed-refunded")
    sjinn.buy(duration=15)
    address = f"{sjinn.sandbox.url}/api/un-api/query_account_status"
    for reply in (WEB.get(address, headers=KEY), WEB.post(address, headers=KEY, json={})):
        assert reply.json()["data"] == {
            "email": "sandbox@example.org",
            "name": "Sandbox",
            "balances": 99_999_000,
            "subscription": None,
        }


def test_an_empty_balance_refuses_with_code_100(customer_of: Any) -> None:
    """Before anything is accepted."""
    with Sandbox(job_seconds=0, balance=1999) as running:
        sjinn = customer_of(running, "sjinn")
        assert sjinn.create(duration=5).json()["success"] is True
        assert sjinn.create(duration=5).json()["error_code"] == 100
        assert len(running.account().jobs) == 1


def test_the_credit_ledger_is_read_page_by_page(sjinn: Any) -> None:
    """Newest first; the cursor leads on until it is null."""
    jobs = [sjinn.buy(duration=seconds).job_id for seconds in (3, 4, 5)]
    first = _usage(sjinn.sandbox, limit=2)
    rest = _usage(sjinn.sandbox, limit=2, cursor=first["next_cursor"])
    assert [row["task_id"] for row in first["records"] + rest["records"]] == jobs[::-1]
    assert [row["cost_credits"] for row in first["records"]] == [1000, 800]
    assert rest["next_cursor"] is None


def test_the_credit_ledger_is_searched_by_time_and_task_type(slow_sandbox: Sandbox, customer_of: Any) -> None:
    """Both times are inclusive, the type is exact: how a task is found whose create reply was lost."""
    sjinn = customer_of(slow_sandbox, "sjinn")
    jobs = []
    for _ in range(3):
        jobs.append(sjinn.buy())
        slow_sandbox.advance(60)
    second = datetime.fromtimestamp(jobs[1].accepted_at, UTC).isoformat()
    kind = "tool_kling3-image-to-video-api"
    found = _usage(slow_sandbox, start_time=second, end_time=second, task_type=kind)
    assert [row["task_id"] for row in found["records"]] == [jobs[1].job_id]
    assert _usage(slow_sandbox, task_type="tool_veo3")["records"] == []


def test_F82_somebody_else_s_spending_shows_in_the_ledger_but_not_in_the_jobs(sjinn: Any) -> None:
    """Two rows of the same price, one job: no ledger may settle a doubt by guessing."""
    sjinn.sandbox.fault("foreign-spend")
    sjinn.buy()
    assert [row["cost_credits"] for row in _usage(sjinn.sandbox)["records"]] == [1000, 1000]
    assert sjinn.sandbox.account().total("credits").billed == Decimal(1000)
