"""The main job: a storyboard becomes rushes, with no key and no network."""

import csv
import hashlib
import json
import random
import shutil
import signal
import subprocess
import time
from fractions import Fraction
from pathlib import Path

import httpx
import pytest
import yaml

from tests.fixtures.command import ROOT, Installation

pytestmark = [pytest.mark.prefect, pytest.mark.xdist_group("prefect")]

COLUMNS = (
    "run_id,board,shot,take,provider,model,mode,audio,seconds,action,state,quoted,billed,unit,usd,job_id,"
    "submitted_at,finished_at,wait_s,sha256,uri,note"
)
FILES = {
    "plan.json", "costs.csv", "costs.json", "report.html", "contact.jpg", "reel.mp4", "reel.otio", "reel.edl", "reel.fcpxml",
}  # fmt: skip


def test_a_board_becomes_takes_receipts_a_reel_and_a_report(house: Installation, small_board: Path) -> None:
    """Everything that the contract names lies in the store, and the document says where."""
    printed = house.run("render", str(small_board), "--json")
    assert printed.code == 0, printed.err
    document = printed.document
    assert [shot["state"] for shot in document["shots"]] == ["stored"] * 3
    assert document["totals"] | {"created": 3, "reused": 0, "failed": 0} == document["totals"]
    run = Path(document["run_uri"])
    assert {one.name for one in run.iterdir()} >= FILES
    for shot in document["shots"]:
        take = house.store / "COLOURS" / "shots" / shot["id"] / f"{shot['id']}_TK01.mp4"
        assert hashlib.sha256(take.read_bytes()).hexdigest() == shot["sha256"]
        receipt = json.loads(take.with_suffix(".json").read_text())
        assert receipt["clip"]["frames"] == 72
    assert json.loads((house.store / "COLOURS" / "latest.json").read_text())["run_id"] == document["run_id"]
    table = (run / "costs.csv").read_text(encoding="utf-8")
    assert table.splitlines()[0] == COLUMNS
    assert [row["action"] for row in csv.DictReader(table.splitlines())] == ["create"] * 3


def test_the_run_is_shown_in_the_ui_by_name_with_its_artifacts(house: Installation, small_board: Path) -> None:
    """The flow run is called by board and run; summary, costs and a full progress bar are its artifacts."""
    document = house.run("render", str(small_board), "--json").document
    api = house.settings["PREFECT_API_URL"]
    name = f"COLOURS {document['run_id']}"
    (run,) = httpx.post(f"{api}/flow_runs/filter", json={"flow_runs": {"name": {"any_": [name]}}}).json()
    wanted = {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}}
    shown = {one["key"]: one for one in httpx.post(f"{api}/artifacts/filter", json=wanted).json()}
    assert shown.keys() >= {"rushes-colours-summary", "rushes-colours-costs", "rushes-colours-progress"}
    assert float(shown["rushes-colours-progress"]["data"]) == 100.0
    assert run["state"]["name"] == "Completed"


def test_F79_an_unchanged_board_renders_nothing_a_second_time(house: Installation, small_board: Path) -> None:
    """Reuse is by content: nothing is made again, an edit makes one shot, a new name makes none."""
    first = house.run("render", str(small_board), "--json").document
    second = house.run("render", str(small_board), "--json").document
    assert (second["totals"]["created"], second["totals"]["reused"]) == (0, 3)
    assert [shot["sha256"] for shot in second["shots"]] == [shot["sha256"] for shot in first["shots"]]
    text = small_board.read_text()
    small_board.write_text(text.replace("Pan left", "Pan right").replace("SH030", "SH035"))
    third = house.run("render", str(small_board), "--json").document
    assert [shot["action"] for shot in third["shots"]] == ["reuse", "create", "reuse"]
    assert (third["shots"][1]["take"], third["shots"][2]["sha256"]) == (2, first["shots"][2]["sha256"])
    assert (house.store / "COLOURS/shots/SH020/SH020_TK01.mp4").exists(), "takes are immutable"


def test_two_identical_shots_share_one_clip(house: Installation, small_board: Path) -> None:
    """A shot that asks for the same as another is served by its clip, and the plan says so."""
    small_board.write_text(small_board.read_text() + "  - {id: SH040, still: stills/red.jpg, prompt: Push in}\n")
    document = house.run("render", str(small_board), "--json").document
    assert document["exit_code"] == 0
    assert document["shots"][3]["action"] == "reuse"
    assert document["shots"][3]["sha256"] == document["shots"][0]["sha256"]


def test_F68_a_render_killed_at_any_moment_completes_and_repeats_nothing(
    house: Installation, small_board: Path, tmp_path: Path
) -> None:
    """Kill -9 at random moments, then a run to the end: every finished take is the same file as before."""
    dice = random.Random(20)
    kept: dict[Path, tuple[int, str]] = {}
    for _ in range(4):
        process = house.start("render", str(small_board))
        time.sleep(dice.uniform(3.0, 7.0))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        for take, fact in kept.items():
            assert (take.stat().st_ino, _sha(take)) == fact, "a finished take was made again"
        kept |= {take: (take.stat().st_ino, _sha(take)) for take in house.store.glob("COLOURS/shots/*/*_TK*.mp4")}
    printed = house.run("render", str(small_board), "--json")
    assert printed.code == 0, printed.err
    takes = sorted(one.name for one in house.store.glob("COLOURS/shots/*/*.mp4"))
    assert takes == ["SH010_TK01.mp4", "SH020_TK01.mp4", "SH030_TK01.mp4"]
    assert not list(house.store.glob("COLOURS/shots/*/.*")), "no half-written file is left"


def test_F70_ctrl_c_keeps_what_is_done_and_says_how_to_go_on(house: Installation, small_board: Path) -> None:
    """Interrupted: exit code 130, a sentence, and the next run picks up."""
    with house.start("render", str(small_board)) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "stored (1/" in line:
                process.send_signal(signal.SIGINT)
                break
        out = process.stdout.read()
        assert process.wait(240) == 130, out
    assert "goes on from here" in out
    assert "Traceback" not in out
    document = house.run("render", str(small_board), "--json").document
    assert document["exit_code"] == 0
    assert document["totals"]["reused"] >= 1, "what was stored is kept"


@pytest.mark.ffprobe
@pytest.mark.slow
@pytest.mark.parametrize("name", ["liftoff.yaml", "multishot.yaml", "vertical.yaml", "shotlist.csv", "thirty.yaml"])
def test_every_example_renders_exactly_as_ordered(house: Installation, name: str) -> None:
    """Ffprobe agrees with every ordered length, frame count, size and sound; the reel is as long as its parts.

    Of the thirty shots, which are all of one kind, every fifth is made.
    """
    spec = ROOT / "specs/examples" / name
    if name == "thirty.yaml":
        board = yaml.safe_load(spec.read_text(encoding="utf-8"))
        board["shots"] = board["shots"][::5]
        (house.folder / "stills").symlink_to(spec.with_name("stills"))
        spec = house.folder / name
        spec.write_text(json.dumps(board), encoding="utf-8")
    printed = house.run("render", str(spec), "--provider", "animatic", "--json")
    assert printed.code == 0, printed.err
    document = printed.document
    with (Path(document["run_uri"]) / "costs.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        probe = _ffprobe(Path(row["uri"]))
        video = next(one for one in probe["streams"] if one["codec_type"] == "video")
        seconds = int(row["seconds"])
        assert (int(video["nb_read_frames"]), Fraction(video["avg_frame_rate"])) == (24 * seconds, 24)
        assert (video["codec_name"], video["pix_fmt"]) == ("h264", "yuv420p")
        assert max(video["width"], video["height"]) == 1280
        assert abs(float(probe["format"]["duration"]) - seconds) <= 1 / 24
        sound = [one["codec_name"] for one in probe["streams"] if one["codec_type"] == "audio"]
        assert sound == (["aac"] if row["audio"] == "true" else [])
    reel = _ffprobe(Path(document["run_uri"]) / "reel.mp4")
    frames = next(int(one["nb_read_frames"]) for one in reel["streams"] if one["codec_type"] == "video")
    assert frames == 24 * sum(int(row["seconds"]) for row in rows)


def _sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _ffprobe(path: Path) -> dict[str, list[dict[str, str]]]:
    words = ["-v", "error", "-count_frames", "-show_streams", "-show_format", "-of", "json", str(path)]
    done = subprocess.run([shutil.which("ffprobe") or "ffprobe", *words], capture_output=True, text=True, check=True)
    found: dict[str, list[dict[str, str]]] = json.loads(done.stdout)
    return found
