"""The store on a local folder and in memory: once, whole, read back, inside its root."""

import hashlib
import importlib.util
import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tasks.errors import SetupProblem, StorageConflict, Terminal
from tasks.storage import Missing, Put, Store, read_spec
from tasks.storage.folder import rename_once

CLIP = b"\x00\x00\x00\x18ftypmp42" + bytes(range(256)) * 64


@pytest.fixture(params=["folder", "file-url", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty store of each kind that needs no server."""
    urls = {"folder": str(tmp_path), "file-url": tmp_path.as_uri(), "memory": f"memory://{tmp_path.name}-{os.getpid()}"}
    return Store.open(urls[request.param])


def test_a_take_is_put_once_and_read_back(store: Store) -> None:
    """What was put is there, with its size and checksum, and another put of the same bytes changes nothing."""
    first = store.put_once(CLIP, "LIFTOFF/shots/SH010/SH010_TK01.mp4", content_type="video/mp4")
    again = store.put_once(CLIP, "LIFTOFF/shots/SH010/SH010_TK01.mp4")
    assert first == Put(first.uri, hashlib.sha256(CLIP).hexdigest(), len(CLIP), existed=False)
    assert again == Put(first.uri, first.sha256, first.size, existed=True)
    assert store.read("LIFTOFF/shots/SH010/SH010_TK01.mp4", limit=1 << 20) == CLIP
    assert store.sha256("LIFTOFF/shots/SH010/SH010_TK01.mp4") == first.sha256


def test_F67_other_bytes_at_the_path_are_never_overwritten(store: Store) -> None:
    """A path that holds other bytes is a conflict which names it, for bytes of the same and of another length."""
    store.put_once(b"take one", "a/SH010_TK01.mp4")
    for other in (b"take two", b"another length"):
        with pytest.raises(StorageConflict, match=r"SH010_TK01\.mp4 already holds other bytes"):
            store.put_once(other, "a/SH010_TK01.mp4")
    assert store.read("a/SH010_TK01.mp4", limit=100) == b"take one"


@pytest.mark.parametrize("left", [CLIP[:9000], CLIP[:1], b"", CLIP[:9000] + bytes(len(CLIP) - 9000), bytes(len(CLIP))])
def test_F109_what_a_put_of_the_same_bytes_left_unfinished_is_put_in_full(store: Store, left: bytes) -> None:
    """The beginning of our own bytes, or that and the zeros of a crash, needs no person."""
    store.put(left, "a/SH010_TK01.mp4")
    assert store.put_once(CLIP, "a/SH010_TK01.mp4", mend=True).size == len(CLIP)
    assert store.read("a/SH010_TK01.mp4", limit=1 << 20) == CLIP


@pytest.mark.parametrize("other", [CLIP[:9000] + b"x", CLIP + b"x", CLIP + b"\0", b"x", CLIP[:-1] + b"x"])
def test_F109_F67_other_bytes_are_never_taken_for_our_own(store: Store, other: bytes) -> None:
    """Whatever they begin with; and without being asked nothing is mended."""
    store.put(other, "a/SH010_TK01.mp4")
    with pytest.raises(StorageConflict):
        store.put_once(CLIP, "a/SH010_TK01.mp4", mend=True)
    store.put(CLIP[:10], "a/SH020_TK01.mp4")
    with pytest.raises(StorageConflict):
        store.put_once(CLIP, "a/SH020_TK01.mp4")
    assert store.read("a/SH010_TK01.mp4", limit=1 << 20) == other


def test_put_replaces(store: Store) -> None:
    """`put` leaves the newest bytes, and says whether something was there."""
    assert not store.put(b"run 1", "LIFTOFF/latest.json").existed
    assert store.put(b"run 2", "LIFTOFF/latest.json").existed
    assert store.read("LIFTOFF/latest.json", limit=100) == b"run 2"


def test_a_file_is_put_from_a_path_and_fetched_to_one(store: Store, tmp_path: Path) -> None:
    """Local files go in and come out byte for byte."""
    source, copy = tmp_path / "in.mp4", tmp_path / "out.mp4"
    source.write_bytes(CLIP)
    store.put_once(source, "a/b.mp4")
    store.fetch("a/b.mp4", copy)
    assert copy.read_bytes() == CLIP
    assert source.read_bytes() == CLIP


def test_listing_shows_every_file_below_a_folder(store: Store) -> None:
    """Sorted paths from the root; nothing for a folder that is not there."""
    for path in ("a/2.json", "a/b/1.json", "c.json"):
        store.put(b"{}", path)
    assert store.list("a") == ["a/2.json", "a/b/1.json"]
    assert store.list() == ["a/2.json", "a/b/1.json", "c.json"]
    assert store.list("nowhere") == []


def test_what_is_missing_is_named(store: Store, tmp_path: Path) -> None:
    """Reading, hashing and fetching nothing say where nothing was."""
    assert not store.exists("a/none.json")
    with pytest.raises(Missing, match=r"none\.json: nothing there"):
        store.read("a/none.json", limit=10)
    with pytest.raises(Missing):
        store.sha256("a/none.json")
    with pytest.raises(Missing):
        store.fetch("a/none.json", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_is_no_file(store: Store) -> None:
    """`exists` is about files."""
    store.put(b"{}", "a/b/c.json")
    assert not store.exists("a/b")


def test_a_read_is_capped(store: Store) -> None:
    """More bytes than allowed are refused, not cut."""
    store.put(b"123456", "a.txt")
    assert store.read("a.txt", limit=6) == b"123456"
    with pytest.raises(Terminal, match="larger than 5 bytes"):
        store.read("a.txt", limit=5)


def test_F61_many_writers_of_one_take_leave_one_object(store: Store) -> None:
    """Eight threads with the same bytes all succeed; exactly the bytes stand there."""
    gate = threading.Barrier(8)

    def write() -> Put:
        gate.wait()
        return store.put_once(CLIP, "x/SH010_TK01.mp4")

    with ThreadPoolExecutor(8) as pool:
        puts = [future.result() for future in [pool.submit(write) for _ in range(8)]]
    assert {put.sha256 for put in puts} == {hashlib.sha256(CLIP).hexdigest()}
    assert sum(not put.existed for put in puts) == 1
    assert store.list("x") == ["x/SH010_TK01.mp4"]


def test_F67_rivals_with_different_bytes_get_one_winner(store: Store) -> None:
    """Of eight different takes for one path, one lands and seven are told of the conflict."""
    gate = threading.Barrier(8)

    def write(number: int) -> bool:
        gate.wait()
        try:
            store.put_once(b"take %d" % number, "x/SH010_TK01.mp4")
        except StorageConflict:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(write, range(8)))
    assert sum(won) == 1
    assert store.read("x/SH010_TK01.mp4", limit=100) == b"take %d" % won.index(True)


OUTSIDE = [
    "../x", "a/../x", "/etc/passwd", "a//b", "a/./b", "", ".", "..", "a\\b", "a/b\n", "a/\0b", "~/x",
    "x/CON", "nul.txt", "COM1", "a./b", "a /b", "-rf", "x/" + "y" * 129, "a/é.mp4", "s3://b/x",
]  # fmt: skip


@pytest.mark.parametrize("path", OUTSIDE)
def test_S03_names_that_leave_the_root_or_mean_a_device_are_refused(store: Store, path: str) -> None:
    """Nothing is written under such a name."""
    with pytest.raises(Terminal, match="not a path inside the store"):
        store.put_once(b"x", path)
    with pytest.raises(Terminal, match="not a path inside the store"):
        store.put(b"x", path)
    assert store.list() == []


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/etc/passwd", "a//b", "a\\..\\b", "a\0"])
def test_S03_reading_stays_inside_too(store: Store, path: str) -> None:
    """A reader cannot walk out of the root either."""
    with pytest.raises(Terminal, match="not a path inside the store"):
        store.read(path, limit=10)


def test_a_name_given_by_a_person_can_be_read(tmp_path: Path) -> None:
    """Spaces and accents are fine in a file that somebody dropped."""
    (tmp_path / "Début de journée.yaml").write_text("rushes: 1")
    assert Store.open(str(tmp_path)).read("Début de journée.yaml", limit=100) == b"rushes: 1"


def test_S03_a_symbolic_link_out_of_the_store_is_not_followed(tmp_path: Path) -> None:
    """Neither a linked folder nor a linked file leads outside."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "secret").write_text("key")
    root = tmp_path / "store"
    root.mkdir()
    (root / "a").symlink_to(tmp_path / "outside")
    (root / "b.txt").symlink_to(tmp_path / "secret")
    store = Store.open(str(root))
    with pytest.raises(SetupProblem, match="symbolic link"):
        store.put_once(b"x", "a/x.mp4")
    with pytest.raises(SetupProblem, match="symbolic link"):
        store.read("b.txt", limit=10)
    assert list((tmp_path / "outside").iterdir()) == []


def test_no_working_file_is_left_or_listed(tmp_path: Path) -> None:
    """After success and after a conflict the folder holds the takes only; a killed process's leavings are not listed."""
    store = Store.open(str(tmp_path))
    store.put_once(b"one", "s/TK01.mp4")
    with pytest.raises(StorageConflict):
        store.put_once(b"two", "s/TK01.mp4")
    store.put(b"x", "s/latest.json")
    assert sorted(file.name for file in (tmp_path / "s").iterdir()) == ["TK01.mp4", "latest.json"]
    (tmp_path / "s" / ".part-0123").write_bytes(b"half")
    assert store.list() == ["s/TK01.mp4", "s/latest.json"]


def test_F67_a_take_can_come_from_another_device(tmp_path: Path) -> None:
    """The source may lie on another file system than the store."""
    shm = Path("/dev/shm")
    if not os.access(shm, os.W_OK) or shm.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("needs /dev/shm as a second device")
    source = shm / f"rushes-test-{os.getpid()}.mp4"
    source.write_bytes(CLIP)
    try:
        assert Store.open(str(tmp_path)).put_once(source, "a.mp4").size == len(CLIP)
    finally:
        source.unlink()


def test_F67_without_hard_links_the_rename_is_exclusive_too(tmp_path: Path) -> None:
    """The fallback for file systems without links refuses a taken name and leaves both files."""
    ready, final = tmp_path / "ready", tmp_path / "final"
    ready.write_bytes(b"new")
    rename_once(ready, final)
    assert final.read_bytes() == b"new"
    ready.write_bytes(b"newer")
    with pytest.raises(FileExistsError):
        rename_once(ready, final)
    assert (final.read_bytes(), ready.read_bytes()) == (b"new", b"newer")


def test_F67_permission_denied_is_a_set_up_problem() -> None:
    """Where not even root may make a folder, the path is named; nothing is tried four times over."""
    waits: list[float] = []
    with pytest.raises(SetupProblem, match=r"^/sys/rushes/a"):
        Store.open("/sys/rushes", pause=waits.append).put_once(b"x", "a.mp4")
    assert waits == []


def test_a_file_where_a_folder_is_needed_is_a_set_up_problem(tmp_path: Path) -> None:
    """As the root, and on the way to a take."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(SetupProblem, match="is a file"):
        Store.open(str(tmp_path / "file"))
    with pytest.raises(SetupProblem, match="a file stands where a folder is needed"):
        Store.open(str(tmp_path)).put_once(b"x", "file/a.mp4")


@pytest.mark.parametrize(
    "url", ["zip::s3://b/x.zip", "simplecache::https://x/y", "https://x/y", "ftp://h/x", "data://x"]
)
def test_S04_other_protocols_and_chains_are_no_store(url: str) -> None:
    """Only folders and object stores are written to."""
    with pytest.raises(SetupProblem):
        Store.open(url)


@pytest.mark.skipif(importlib.util.find_spec("gcsfs") is not None, reason="needs gcsfs to be absent")
def test_a_missing_extra_is_named() -> None:
    """Where the library of a storage is not installed, the error says what to install."""
    with pytest.raises(SetupProblem) as caught:
        Store.open("gs://bucket/rushes")
    assert caught.value.diagnostics() == 'pip install "rushes[gcs]"'


def test_uris_of_a_folder_are_plain_paths(tmp_path: Path) -> None:
    """Reports show a path that can be opened."""
    store = Store.open(tmp_path.as_uri())
    assert store.uri("a/b.mp4") == str(tmp_path / "a" / "b.mp4")
    assert store.uri() == str(tmp_path)


def test_a_folder_signs_no_links(store: Store) -> None:
    """There is no link to a local file or to memory."""
    store.put(b"x", "a.txt")
    assert store.link("a.txt", seconds=60) is None


def test_the_probe_finds_nothing_wrong_and_leaves_nothing(store: Store) -> None:
    """A usable store has no problems, and no probe file afterwards."""
    assert store.probe() == []
    assert store.list() == []


def test_the_probe_tells_what_is_wrong(tmp_path: Path) -> None:
    """A folder that cannot be made is a problem in words."""
    store = Store.open(str(tmp_path / "store"))
    shutil.rmtree(tmp_path / "store", ignore_errors=True)
    (tmp_path / "store").write_text("in the way")
    (problem,) = store.probe()
    assert "a file stands where a folder is needed" in problem


def test_a_spec_is_read_from_a_path_a_file_url_or_a_store(tmp_path: Path) -> None:
    """Through links too: the person on the command line may point anywhere."""
    (tmp_path / "board.yaml").write_text("rushes: 1")
    (tmp_path / "link.yaml").symlink_to(tmp_path / "board.yaml")
    Store.open("memory://specs").put(b"rushes: 1", "board.yaml")
    for url in (str(tmp_path / "board.yaml"), str(tmp_path / "link.yaml"), (tmp_path / "board.yaml").as_uri()):
        assert read_spec(url) == b"rushes: 1"
    assert read_spec("memory://specs/board.yaml") == b"rushes: 1"


def test_a_spec_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    """Missing, too large, a folder, or from nowhere."""
    (tmp_path / "big.yaml").write_bytes(b"x" * 11)
    with pytest.raises(Missing, match=r"none\.yaml: nothing there"):
        read_spec(str(tmp_path / "none.yaml"))
    with pytest.raises(Terminal, match="larger than 10 bytes"):
        read_spec(str(tmp_path / "big.yaml"), limit=10)
    with pytest.raises(SetupProblem):
        read_spec(str(tmp_path))
    with pytest.raises(SetupProblem):
        read_spec("https://example.com/board.yaml")
