"""How a job that was properly accepted and billed can end."""

from collections.abc import Iterator

from deployments.sandbox.faults.kinds import Fault, JobFault
from deployments.sandbox.orders import Outcome

__all__ = ["job_faults"]

NASTY = "\x1b[31mFATAL\x1b[0m\r\nINFO all is well <script>alert(1)</script> =cmd|' /C calc'!A0 {{7*7}}"
ENDS: tuple[tuple[str, tuple[str, ...], Outcome, str], ...] = (
    ("stuck", ("F35",), Outcome(end="stuck"), "running for ever"),
    ("failed-refunded", ("F36",), Outcome(end="failed", refund="at-once", word="refunded", error="generation failed"), "failed, and the money comes back at once"),
    ("failed-billed", ("F37",), Outcome(end="failed", word="billed", error="generation failed"), "failed, and the money is kept (ShortAPI says refunded: false)"),
    ("failed-silent", ("F38",), Outcome(end="failed"), "failed, without a word about money; it is kept"),
    ("failed-late-refund", ("F38",), Outcome(end="failed", refund="late"), "failed; the money comes back one more job time later"),
    ("moderation-output", ("F40",), Outcome(end="failed", error="output violates the content policy: risk control"), "the finished clip is withheld by moderation; the money is kept"),
    ("failed-negative", ("F32", "F37"), Outcome(end="failed", status=-7, error="generation failed"), "failed with the status number -7"),
    ("failed-nasty-text", ("F37",), Outcome(end="failed", error=NASTY), "failed with control codes, markup and a formula in the error text (S13, S14, S15, S24)"),
)  # fmt: skip
FLAWED: tuple[tuple[str, str, str], ...] = (
    ("clip-short", "short", "the clip is two seconds shorter than ordered"),
    ("clip-long", "long", "the clip is three seconds longer than ordered"),
    ("clip-turned", "turned", "width and height of the clip change places"),
    ("clip-tiny", "tiny", "the clip has 32 x 32 pixels"),
    ("clip-without-frames", "empty", "the clip is an MP4 file without a picture"),
    ("clip-black", "black", "the clip is black from end to end"),
    ("clip-frozen", "frozen", "the clip is one picture that never moves"),
    ("clip-without-audio", "soundless", "the clip has no audio track though sound was paid for"),
    ("clip-mute", "mute", "the audio track of the clip is silent"),
)


def job_faults() -> Iterator[Fault]:
    """Every wrong end of a job."""
    for name, ids, outcome, text in ENDS:
        yield JobFault(name=name, ids=ids, outcome=outcome, text=text)
    yield JobFault(
        name="failed-two",
        ids=("F32", "F37"),
        provider="sjinn",
        outcome=Outcome(end="failed", status=2, error="generation failed"),
        text="failed with the disputed status number 2 and an error text",
    )
    for name, flaw, text in FLAWED:
        yield JobFault(name=name, ids=("F58",), outcome=Outcome(clip=flaw), text=text)
