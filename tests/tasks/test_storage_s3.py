"""The store against a real S3 server, and against one that fails the way S3 does (F66)."""

import hashlib
import threading
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from s3fs import S3FileSystem

from tasks.errors import SetupProblem, StorageConflict, Transient
from tasks.storage import Missing, Put, Store, read_spec
from tasks.storage.bucket import Bucket
from tests.fixtures.s3 import S3Server
from tests.fixtures.s3_proxy import Fault, S3Proxy, s3_proxy

pytestmark = pytest.mark.s3

CLIP = b"\x00\x00\x00\x18ftypmp42" + bytes(range(256)) * 64
PATH = "LIFTOFF/shots/SH010/SH010_TK01.mp4"


def at_once(_seconds: float) -> None:
    """No pause between two tries."""


@pytest.fixture
def store(s3_server: S3Server, s3_url: str) -> Store:
    """An empty prefix on the server."""
    return Store.open(s3_url, options=s3_server.options(), pause=at_once)


@pytest.fixture
def proxy(s3_server: S3Server) -> Iterator[S3Proxy]:
    """A proxy that fails on demand."""
    with s3_proxy(s3_server.endpoint) as running:
        yield running


@pytest.fixture
def shaky(s3_server: S3Server, s3_url: str, proxy: S3Proxy) -> Store:
    """The same prefix as `store`, reached through the proxy."""
    return Store.open(s3_url, options=s3_server.options(proxy.endpoint), pause=at_once)


def test_a_take_is_put_once_on_s3(store: Store, s3_url: str) -> None:
    """Read back, found again, and never overwritten."""
    first = store.put_once(CLIP, PATH, content_type="video/mp4")
    assert first == Put(f"{s3_url}/{PATH}", hashlib.sha256(CLIP).hexdigest(), len(CLIP), existed=False)
    assert store.put_once(CLIP, PATH).existed
    with pytest.raises(StorageConflict, match=r"SH010_TK01\.mp4 already holds other bytes"):
        store.put_once(b"another take", PATH)
    assert store.read(PATH, limit=1 << 20) == CLIP


def test_F67_the_server_itself_refuses_a_second_create(store: Store, s3_server: S3Server, s3_url: str) -> None:
    """Two writers that both saw nothing: the second create is refused by the storage, not by our look before it."""
    bucket = Bucket(s3_url, s3_server.options())
    bucket.create(b"first", PATH, None)
    with pytest.raises(FileExistsError):
        bucket.create(b"second", PATH, None)
    assert store.read(PATH, limit=100) == b"first"


def test_F67_a_multipart_create_is_exclusive_and_whole(
    store: Store, s3_server: S3Server, s3_url: str, tmp_path: Path
) -> None:
    """An object of several parts appears once and whole; the second upload leaves it alone."""
    source, copy = tmp_path / "long.mp4", tmp_path / "copy.mp4"
    source.write_bytes(CLIP * 800)
    small_parts = Bucket(s3_url, s3_server.options(), part_bytes=5 << 20)
    put = Store(small_parts, pause=at_once).put_once(source, PATH)
    assert (put.size, put.existed) == (source.stat().st_size, False)
    with pytest.raises(FileExistsError):
        small_parts.create(b"x" * (11 << 20), PATH, None)
    store.fetch(PATH, copy)
    assert copy.read_bytes() == source.read_bytes()


def test_F67_rivals_on_s3_get_one_winner(store: Store) -> None:
    """Of six different takes for one path, one lands and five are told."""
    gate = threading.Barrier(6)

    def write(number: int) -> bool:
        gate.wait()
        try:
            store.put_once(b"take %d" % number, PATH)
        except StorageConflict:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        won = list(pool.map(write, range(6)))
    assert sum(won) == 1
    assert store.read(PATH, limit=100) == b"take %d" % won.index(True)


def test_put_list_exists_and_missing_on_s3(store: Store) -> None:
    """The small things behave as on a folder."""
    assert not store.put(b"run 1", "LIFTOFF/latest.json").existed
    assert store.put(b"run 2", "LIFTOFF/latest.json").existed
    assert store.read("LIFTOFF/latest.json", limit=9) == b"run 2"
    assert store.list() == store.list("LIFTOFF") == ["LIFTOFF/latest.json"]
    assert store.list("nowhere") == []
    assert (store.exists("LIFTOFF/latest.json"), store.exists("LIFTOFF"), store.exists("none")) == (True, False, False)
    with pytest.raises(Missing, match="nothing there"):
        store.read("none.json", limit=9)


def test_the_keys_come_from_the_environment(s3_server: S3Server, s3_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`AWS_ENDPOINT_URL` and the AWS key variables are enough: no option of ours is needed, for stores and for specs."""
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    S3FileSystem.clear_instance_cache()  # earlier tests of this process had other keys in the same environment
    Store.open(s3_url, options={"skip_instance_cache": True}).put(b"rushes: 1", "board.yaml")
    assert read_spec(f"{s3_url}/board.yaml") == b"rushes: 1"


def test_a_link_is_presigned_and_opens_without_keys(store: Store) -> None:
    """Anybody who has the link gets the bytes; the link has a version 4 signature and its life in seconds."""
    store.put_once(CLIP, PATH, content_type="video/mp4")
    link = store.link(PATH, seconds=7200)
    assert link is not None
    assert "X-Amz-Algorithm=AWS4-HMAC-SHA256" in link
    assert "X-Amz-Expires=7200" in link
    with urllib.request.urlopen(link, timeout=60) as reply:
        assert reply.read() == CLIP
        assert reply.headers["Content-Type"] == "video/mp4"


def test_the_probe_is_content_with_the_server(store: Store) -> None:
    """Write, read and exclusive create work, and nothing stays behind."""
    assert store.probe() == []
    assert store.list() == []


def test_a_missing_bucket_is_a_set_up_problem(s3_server: S3Server) -> None:
    """It is named by a put and by the probe; nothing is there to be listed."""
    store = Store.open("s3://no-such-bucket/x", options=s3_server.options(), pause=at_once)
    with pytest.raises(SetupProblem, match="s3://no-such-bucket/x: no such bucket"):
        store.put_once(CLIP, PATH)
    assert "no such bucket" in store.probe()[0]
    assert (store.list(), store.exists("a.txt")) == ([], False)


@pytest.mark.parametrize("wrong", [{"secret": "wrong"}, {"key": "nobody"}])
def test_F66_wrong_keys_are_a_set_up_problem_that_shows_no_key(
    s3_server: S3Server, s3_url: str, wrong: dict[str, str]
) -> None:
    """A bad signature or an unknown key says so, without the secret."""
    store = Store.open(s3_url, options={**s3_server.options(), **wrong}, pause=at_once)
    with pytest.raises(SetupProblem, match="not allowed") as caught:
        store.put_once(CLIP, PATH)
    assert s3_server.secret not in repr(caught.value)
    assert caught.value.__cause__ is None
    assert len(store.probe()) == 1


def test_F66_an_unreachable_endpoint_is_transient(s3_server: S3Server, s3_url: str) -> None:
    """Nothing listens there now; it may later."""
    with s3_proxy(s3_server.endpoint) as gone:
        pass
    with pytest.raises(Transient, match="the storage failed"):
        Store.open(s3_url, options=s3_server.options(gone.endpoint), pause=at_once).put_once(CLIP, PATH)


@pytest.mark.parametrize("forward", [False, True], ids=["refused", "after-it-was-written"])
@pytest.mark.parametrize("failure", [(500, "InternalError"), (503, "SlowDown"), (503, "ServiceUnavailable")])
def test_F66_an_error_on_a_put_ends_with_the_object_there_once(
    shaky: Store, store: Store, proxy: S3Proxy, failure: tuple[int, str], forward: bool
) -> None:
    """Whether or not the failed request had written the object, the put succeeds and the bytes stand."""
    proxy.faults = [Fault("PUT", *failure, forward)]
    put = shaky.put_once(CLIP, PATH)
    assert proxy.faults == []
    assert put.sha256 == hashlib.sha256(CLIP).hexdigest()
    assert store.list() == [PATH]
    assert store.read(PATH, limit=1 << 20) == CLIP


def test_F66_a_reply_lost_after_the_object_was_written_is_a_success(shaky: Store, store: Store, proxy: S3Proxy) -> None:
    """The connection breaks with the object written: it is found by size and checksum and counts."""
    proxy.faults = [Fault("PUT", None, forward=True)]
    put = shaky.put_once(CLIP, PATH)
    assert put.existed
    assert store.read(PATH, limit=1 << 20) == CLIP


def test_F66_a_request_lost_before_the_server_is_sent_again(shaky: Store, store: Store, proxy: S3Proxy) -> None:
    """The connection breaks and nothing was written."""
    proxy.faults = [Fault("PUT", None)] * 2
    shaky.put_once(CLIP, PATH)
    assert store.read(PATH, limit=1 << 20) == CLIP


def test_F109_an_object_that_was_cut_is_put_in_full(store: Store) -> None:
    """A server that kept the beginning of our bytes alone: the next try mends it, and leaves other bytes alone."""
    store.put(CLIP[:100], PATH)
    assert store.put_once(CLIP, PATH, mend=True).size == len(CLIP)
    assert store.read(PATH, limit=1 << 20) == CLIP
    with pytest.raises(StorageConflict):
        store.put_once(CLIP + b"another take", PATH, content_type="video/mp4")


def test_F66_a_409_is_tried_again(shaky: Store, store: Store, proxy: S3Proxy) -> None:
    """Two conditional creates met: AWS says to try again."""
    proxy.faults = [Fault("PUT", 409, "ConditionalRequestConflict")]
    assert not shaky.put_once(CLIP, PATH).existed
    assert store.read(PATH, limit=1 << 20) == CLIP


def test_F66_a_412_is_an_answer_only_with_the_object_there(shaky: Store, store: Store, proxy: S3Proxy) -> None:
    """A 412 without an object is tried again; with our bytes there it is a success, with others a conflict."""
    proxy.faults = [Fault("PUT", 412, "PreconditionFailed")]
    assert shaky.put_once(CLIP, PATH).sha256 == store.sha256(PATH)
    proxy.faults = [Fault("HEAD", 404, "NoSuchKey")]
    with pytest.raises(StorageConflict):
        shaky.put_once(b"another take", PATH)
    assert store.read(PATH, limit=1 << 20) == CLIP


def test_F66_a_403_is_a_set_up_problem_and_the_source_stays(
    shaky: Store, store: Store, proxy: S3Proxy, tmp_path: Path
) -> None:
    """Rights are missing: nothing was written, the local copy is untouched, and a later put succeeds."""
    source = tmp_path / "clip.mp4"
    source.write_bytes(CLIP)
    proxy.faults = [Fault("PUT", 403, "AccessDenied")]
    with pytest.raises(SetupProblem, match="not allowed"):
        shaky.put_once(source, PATH)
    assert (store.list(), source.read_bytes()) == ([], CLIP)
    assert not shaky.put_once(source, PATH).existed


def test_F66_tries_are_bounded(shaky: Store, store: Store, proxy: S3Proxy) -> None:
    """A server that only fails ends in Transient, and nothing half-written stands."""
    proxy.faults = [Fault("PUT", 500, "InternalError")] * 50
    with pytest.raises(Transient):
        shaky.put_once(CLIP, PATH)
    assert proxy.sends() == [500] * 4
    assert store.list() == []


def test_F66_a_200_with_an_error_inside_does_not_complete_a_multipart_upload(
    s3_server: S3Server, s3_url: str, proxy: S3Proxy, store: Store
) -> None:
    """CompleteMultipartUpload may fail after its 200; the upload is made again and read back."""
    proxy.faults = [Fault("POST", 200, "InternalError", target="uploadId=")]
    bucket = Bucket(s3_url, s3_server.options(proxy.endpoint), part_bytes=5 << 20)
    put = Store(bucket, pause=at_once).put_once(CLIP * 800, PATH)
    assert proxy.faults == []
    assert store.sha256(PATH) == put.sha256


def test_F66_reading_survives_a_bad_moment(shaky: Store, store: Store, proxy: S3Proxy, tmp_path: Path) -> None:
    """A 500 and a cut connection during reads are tried again."""
    store.put_once(CLIP, PATH)
    proxy.faults = [Fault("GET", 500, "InternalError"), Fault("HEAD", 500, "InternalError"), Fault("GET", None)]
    assert shaky.read(PATH, limit=1 << 20) == CLIP
    shaky.fetch(PATH, tmp_path / "copy.mp4")
    assert (tmp_path / "copy.mp4").read_bytes() == CLIP
    assert proxy.faults == []
