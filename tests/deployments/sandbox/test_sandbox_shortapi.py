"""The ShortAPI dialect, field by field."""

import base64
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from deployments.sandbox import Sandbox
from deployments.sandbox.shelf import PLAIN

WEB = httpx.Client(verify=PLAIN, headers={"Connection": "close"}, timeout=120)
"""On a fresh connection each time; loading certificates would cost 40 ms a client."""
SHOTS = [{"duration": 2, "prompt": "Drift"}, {"duration": 3, "prompt": "Push in"}]


def test_a_create_is_answered_with_the_two_documented_fields(shortapi: Any) -> None:
    """`code` 0, and `data` with a string amount and a string job id, as the page prints them."""
    reply = shortapi.create()
    body = reply.json()
    [job] = shortapi.sandbox.account().jobs
    assert reply.status_code == 200
    assert body == {"code": 0, "data": {"amount": "0.715", "job_id": job.job_id}}


@pytest.mark.parametrize(
    ("mode", "audio", "seconds", "amount"),
    [
        ("std", False, "5", "0.715"),
        ("std", True, "5", "1.07"),
        ("pro", False, "5", "0.95"),
        ("pro", True, "5", "1.43"),
        ("pro", True, "15", "4.29"),
        ("std", False, "3", "0.429"),
    ],
)
def test_the_amount_is_mode_times_audio_times_seconds(
    shortapi: Any, mode: str, audio: bool, seconds: str, amount: str
) -> None:
    """The listed prices per second, as text without idle zeros, are what the account bills."""
    job = shortapi.buy(mode=mode, generate_audio=audio, duration=seconds)
    assert job.billed == Decimal(amount)
    assert shortapi.query(job.job_id).json()["data"]["credit"] == amount


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"mode": ...}, "mode is required"),
        ({"mode": "standard"}, "invalid mode"),
        ({"duration": ...}, "duration is required"),
        ({"duration": 5}, "invalid duration"),
        ({"duration": "2"}, "invalid duration"),
        ({"duration": "16"}, "invalid duration"),
        ({"duration": "05"}, "invalid duration"),
        ({"duration": "5.5"}, "invalid duration"),
        ({"multi_shot": ...}, "multi_shot is required"),
        ({"multi_shot": "false"}, "invalid multi_shot"),
        ({"multi_shot": 0}, "invalid multi_shot"),
        ({"generate_audio": "true"}, "invalid generate_audio"),
        ({"shot_type": "auto"}, "invalid shot_type"),
        ({"prompt": ...}, "prompt is required"),
        ({"prompt": " "}, "prompt is required"),
        ({"prompt": 7}, "invalid prompt"),
        ({"negative_prompt": ["text"]}, "invalid negative_prompt"),
        ({"multi_shot": True, "prompt": ""}, "prompt is required"),
        ({"image": ...}, "image is required"),
        ({"image": ""}, "image is required"),
        ({"image": "data:image/png;base64,AAAA"}, "invalid image"),
        ({"image": "not base64!"}, "invalid image"),
        ({"image": base64.b64encode(b"no picture").decode()}, "invalid image"),
        ({"image_tail": "https://example.org/end.jpg", "multi_shot": True}, "invalid image_tail"),
        ({"image_tail": ""}, "invalid image_tail"),
        ({"multi_prompt": SHOTS}, "invalid multi_prompt"),
        ({"multi_shot": True, "shot_type": "customize"}, "invalid multi_prompt"),
        ({"multi_shot": True, "shot_type": "customize", "multi_prompt": SHOTS[:1]}, "sum of shot durations"),
        ({"multi_shot": True, "shot_type": "customize", "multi_prompt": [SHOTS[0]] * 7}, "1 to 6 shots"),
        ({"multi_shot": True, "shot_type": "customize", "multi_prompt": [{"duration": "5", "prompt": "x"}]}, "integer"),
        ({"multi_shot": True, "shot_type": "customize", "multi_prompt": [{"duration": 5}]}, "each prompt"),
        ({"elements": [{"frontal_image_url": "https://example.org/a.jpg"}] * 4}, "at most 3"),
        ({"elements": [{"reference_image_urls": []}]}, "frontal_image_url is required"),
        (
            {"elements": [{"frontal_image_url": "https://e.org/a", "reference_image_urls": ["https://e.org/b"] * 4}]},
            "at most 3 reference_image_urls",
        ),
    ],
)
def test_what_the_page_calls_wrong_is_refused_inside_http_200(
    shortapi: Any, changes: dict[str, Any], words: str
) -> None:
    """A refusal has a code that is not 0 and a text; nothing is accepted or billed."""
    reply = shortapi.create(**changes)
    account = shortapi.sandbox.account()
    assert (reply.status_code, reply.json()["code"]) == (200, 1)
    assert words in reply.json()["info"]
    assert "data" not in reply.json()
    assert (account.jobs, [create.outcome for create in account.creates]) == ((), ["refused"])


@pytest.mark.parametrize(
    "changes",
    [
        {"multi_shot": True, "shot_type": "customize", "prompt": ..., "multi_prompt": SHOTS},
        {"image_tail": "https://example.org/end.jpg"},
        {"elements": [{"frontal_image_url": "https://e.org/a", "reference_image_urls": ["https://e.org/b"] * 3}] * 3},
        {"multi_shot": True},
        {"shot_type": ..., "negative_prompt": ..., "generate_audio": ...},
    ],
)
def test_what_the_page_allows_is_accepted(shortapi: Any, changes: dict[str, Any]) -> None:
    """Custom shots that sum up, an end frame, three elements, automatic cuts and left-out options pass."""
    assert shortapi.create(**changes).json()["code"] == 0


def test_another_model_is_refused(shortapi: Any) -> None:
    """The words are those that public clients have seen."""
    assert shortapi.post({"model": "kling", "args": {}}).json() == {"code": 1, "info": "invalid model"}


def test_a_body_that_is_no_object_is_a_bad_request(shortapi: Any) -> None:
    """HTTP 400 with the same envelope."""
    assert shortapi.post([]).status_code == 400


def test_fields_that_the_page_does_not_know_are_ignored_and_noted(shortapi: Any) -> None:
    """As real servers do; the account says which, so that a typing error comes to light."""
    shortapi.create(durations="5", aspect_ratio="16:9")
    [create] = shortapi.sandbox.account().creates
    assert create.ignored == ("aspect_ratio", "durations")


def test_a_job_is_queued_then_running_then_done(slow_sandbox: Sandbox, customer_of: Any) -> None:
    """0, 1 and 2 by the sandbox's clock; the clip stands in result.videos."""
    shortapi = customer_of(slow_sandbox, "shortapi")
    job = shortapi.buy()
    seen = []
    for step in (0, 50, 51):
        slow_sandbox.advance(step)
        seen.append(shortapi.query(job.job_id).json())
    assert seen[0] == {"code": 0, "data": {"id": job.job_id, "status": 0}}
    assert seen[1] == {"code": 0, "data": {"id": job.job_id, "status": 1}}
    [video] = seen[2]["data"].pop("result")["videos"]
    assert seen[2] == {"code": 0, "data": {"id": job.job_id, "status": 2, "credit": "0.715"}}
    assert video == {"url": f"{slow_sandbox.url}/files/clips/{job.job_id}.mp4?{video['url'].split('?')[1]}"}


def test_a_failed_job_has_status_3_and_no_result(shortapi: Any) -> None:
    """With `refunded` true where the money went back."""
    shortapi.sandbox.fault("failed-refunded")
    job = shortapi.buy()
    assert shortapi.query(job.job_id).json() == {
        "code": 0,
        "data": {"id": job.job_id, "status": 3, "result": None, "error": "generation failed", "refunded": True},
    }


def test_a_job_that_nobody_ordered_is_not_found(shortapi: Any) -> None:
    """Also when it belongs to the other provider."""
    assert shortapi.query("undefined").json() == {"code": 1, "info": "job not found"}


@pytest.mark.parametrize("path", ["/api/v1/job/x", "/api/v1/job/status?id=x", "/v1/generate"])
def test_addresses_that_clients_guessed_wrong_do_not_exist(shortapi: Any, path: str) -> None:
    """404, so that a wrong adapter cannot pass here."""
    assert WEB.get(shortapi.sandbox.url + path).status_code == 404


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer"}, {"Authorization": "Basic abc"}])
def test_a_key_is_required(shortapi: Any, headers: dict[str, str]) -> None:
    """Any non-empty bearer key will do when none is set; without one both calls answer 401."""
    assert shortapi.post(shortapi.order(), headers=headers).status_code == 401
    assert shortapi.query("x", headers=headers).status_code == 401
    assert [create.outcome for create in shortapi.sandbox.account().creates] == ["unauthorized"]


def test_a_key_that_is_set_is_the_only_one_and_can_be_rotated(customer_of: Any) -> None:
    """After the rotation the old key is refused."""
    with Sandbox(job_seconds=0, key="canary-key-7f3a") as running:
        shortapi = customer_of(running, "shortapi")
        assert shortapi.create().json()["code"] == 0
        running.set_key("another")
        assert shortapi.create().status_code == 401


def test_the_callback_carries_what_a_query_would_say(shortapi: Any, listener: Any) -> None:
    """Unsigned JSON, POSTed to the address in the order when the job ends."""
    shortapi.create(callback_url=listener.url)
    shortapi.sandbox.settle()
    [job] = shortapi.sandbox.account().jobs
    [(path, body)] = listener.seen
    assert path == "/cb/01J/secret-token"
    assert body == shortapi.query(job.job_id).content
    assert [call.status for call in shortapi.sandbox.account().callbacks] == [204]


def test_callbacks_go_to_this_machine_only(shortapi: Any) -> None:
    """Any other address is booked as not sent."""
    shortapi.create(callback_url="https://example.org/cb")
    shortapi.sandbox.settle()
    [call] = shortapi.sandbox.account().callbacks
    assert call.status == 0
    assert "loopback" in call.error


def test_an_inline_still_gives_the_clip_its_aspect(shortapi: Any, tmp_path: Path) -> None:
    """Base64 without a prefix is taken as an image; the longer side of the clip is 320."""
    Image.new("RGB", (600, 1000), "teal").save(tmp_path / "still.png")
    job = shortapi.buy(image=base64.b64encode((tmp_path / "still.png").read_bytes()).decode())
    assert (job.width, job.height) == (192, 320)
