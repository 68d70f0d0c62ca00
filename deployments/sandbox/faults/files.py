"""What can go wrong with one download of a clip."""

from collections.abc import Iterator

from deployments.sandbox import clips
from deployments.sandbox.faults import lies
from deployments.sandbox.faults.kinds import Fault, FileFault, Lie
from deployments.sandbox.wire import Reply, html_reply

__all__ = ["file_faults"]

METADATA = "http://169.254.169.254/latest/meta-data/"


def _to(address: str) -> Lie:
    return lies.answer(html_reply("", 302, ("Location", address)))


TABLE: tuple[tuple[str, tuple[str, ...], Lie, str], ...] = (
    ("file-403", ("F54",), lies.page(403), "HTTP 403"),
    ("file-404", ("F54",), lies.page(404), "HTTP 404"),
    ("file-410", ("F54",), lies.page(410), "HTTP 410"),
    ("file-500", ("F55",), lies.page(500), "HTTP 500"),
    ("file-hang", ("F59",), lies.hang, "no answer"),
    ("file-reset", ("F55",), lies.reset, "the connection is reset"),
    ("file-cut-length", ("F55",), lies.cut_length, "half the bytes that Content-Length promised"),
    ("file-cut-chunked", ("F55",), lies.chunk_cut, "a chunked body without its end"),
    ("file-cut-close", ("F55",), lies.cut_close, "half the bytes, no length, the connection closes: a clean 200"),
    ("file-cut-box", ("F55",), lies.cut_at_pictures, "as file-cut-close, cut where the box with the pictures begins"),
    ("file-length-small", ("F56",), lies.length_is(1000), "Content-Length says 1000, more follows"),
    ("file-length-huge", ("F56",), lies.length_is(10**12), "Content-Length says 1 TB"),
    ("file-length-negative", ("F56",), lies.length_is("-1"), "Content-Length says -1"),
    ("file-length-twice", ("F56",), lies.double_length, "two Content-Length headers that disagree"),
    ("file-endless", ("F56",), lies.endless, "the clip and then zeros without end"),
    ("file-gzip-bomb", ("F56",), lies.gzip_bomb, "50 KB of gzip that inflate to 50 MB"),
    ("file-wrong-type", ("F57",), lies.retyped("text/plain"), "the clip is called text/plain"),
    ("file-html", ("F57",), lies.answer(html_reply("<!doctype html><title>Sign in</title>")), "an HTML page in place of the clip"),
    ("file-html-as-mp4", ("F57",), lies.answer(Reply(200, b"<!doctype html><title>Sign in</title>", "video/mp4")), "an HTML page that is called video/mp4"),
    ("file-json-as-mp4", ("F57",), lies.answer(Reply(200, b'{"error": "not ready"}', "video/mp4")), "a JSON error that is called video/mp4"),
    ("file-image-as-mp4", ("F57",), lies.answer(Reply(200, clips.png(), "video/mp4")), "a PNG image that is called video/mp4"),
    ("file-empty", ("F57",), lies.answer(Reply(200, b"", "video/mp4")), "0 bytes"),
    ("file-slow", ("F59",), lies.slow, "1 KiB a lag"),
    ("file-stalled", ("F59",), lies.stall, "half the bytes, then silence on an open connection"),
    ("file-to-metadata", ("F60",), _to(METADATA), "302 to a metadata address"),
    ("file-to-file", ("F60",), _to("file:///etc/passwd"), "302 to file:///etc/passwd"),
    ("file-to-private", ("F60",), _to("http://10.0.0.1/clip.mp4"), "302 to a private address"),
    ("file-to-other-host", ("F60",), _to("https://cdn.example.org/clip.mp4"), "302 to another public host"),
    ("file-loop", ("F60",), lies.loop, "307 to itself, for ever"),
)  # fmt: skip


def file_faults() -> Iterator[Fault]:
    """Every fault of a download."""
    for name, ids, lie, text in TABLE:
        yield FileFault(name=name, ids=ids, lie=lie, text=text)
    yield FileFault(
        name="file-expired",
        ids=("F54",),
        lie=lies.page(403),
        revokes=True,
        text="HTTP 403 from now on at this address; the next query gives another",
    )
