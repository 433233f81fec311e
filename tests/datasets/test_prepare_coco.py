"""datasets/prepare_coco.py against a server on loopback with small zips."""

import http.client
import importlib.util
import io
import re
import shutil
import subprocess
import sys
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest
from detectron2.data.datasets.builtin import _PREDEFINED_SPLITS_COCO

SCRIPT = Path(__file__).resolve().parents[2] / "datasets" / "prepare_coco.py"
ANNOTATIONS_URL = "/annotations/annotations_trainval2017.zip"
VAL_URL, TRAIN_URL = "/zips/val2017.zip", "/zips/train2017.zip"
MAPS_URL = "/stuffthingmaps_trainval2017.zip"


def images(folder, number):
    """{path in the zip: bytes}; 2000 bytes each, all different."""
    return {f"{folder}/{i:012d}.jpg": bytes([i]) * 2000 for i in range(1, number + 1)}


def make_zip(files, compression=zipfile.ZIP_STORED):
    """The bytes of a zip with an entry of its folder, as COCO's have one, and the files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        archive.writestr(next(iter(files)).split("/")[0] + "/", b"")
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


VAL, TRAIN = images("val2017", 3), images("train2017", 7)
ANNOTATIONS = {
    f"annotations/{kind}_{split}2017.json": f'{{"info": "{kind} {split}"}}'.encode()
    for kind in ("instances", "person_keypoints", "captions")
    for split in ("train", "val")
}
FILES = ANNOTATIONS | VAL | TRAIN
MAPS = {
    f"{split}2017/{i:012d}.png": bytes([i]) * 500
    for split, number in (("train", 4), ("val", 2))
    for i in range(1, number + 1)
}
ZIPS = {ANNOTATIONS_URL: make_zip(ANNOTATIONS, zipfile.ZIP_DEFLATED)}
ZIPS |= {VAL_URL: make_zip(VAL), TRAIN_URL: make_zip(TRAIN)}
ZIPS |= {MAPS_URL: make_zip(MAPS)}
SIZE = len(ZIPS[VAL_URL])


@pytest.fixture
def server(monkeypatch):
    """What it serves, how it misbehaves (one number per answer), and what it was asked."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    state = SimpleNamespace(files=dict(ZIPS), cut_after=[], statuses=[], ranges=True, requests=[])
    state.says_length = True

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def do_GET(self):
            start = int(re.fullmatch(r"bytes=(\d+)-", self.headers["Range"])[1])
            state.requests.append((self.path, start))
            if state.statuses or self.path not in state.files:
                return self.send_error(state.statuses.pop(0) if state.statuses else 404)
            data = state.files[self.path]
            start = start if state.ranges else 0
            self.send_response(206 if state.ranges else 200)
            if state.ranges:
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            if state.says_length:
                self.send_header("Content-Length", str(len(data) - start))
            self.end_headers()
            limit = state.cut_after.pop(0) if state.cut_after else len(data)
            self.wfile.write(data[start : start + limit])

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http_server:
        state.url = f"http://127.0.0.1:{http_server.server_port}"
        threading.Thread(target=http_server.serve_forever, args=(0.01,), daemon=True).start()
        yield state
        http_server.shutdown()


@pytest.fixture
def script(monkeypatch):
    """The script as a fresh module, with the counts and sizes of the small zips and no waits."""
    spec = importlib.util.spec_from_file_location("prepare_coco", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    small = {"annotations": ANNOTATIONS, "val": VAL, "train": TRAIN, "stuffthingmaps": MAPS}
    module.REAL_PARTS, module.waits = module.PARTS, []
    module.PARTS = tuple(
        part._replace(
            zip_bytes=len(ZIPS[f"/{part.url}"]),
            disk_bytes=sum(map(len, small[part.name].values())),
            count=len(small[part.name]),
        )
        for part in module.PARTS
    )
    monkeypatch.setattr(module.time, "sleep", module.waits.append)
    monkeypatch.delenv("DETECTRON2_DATASETS", raising=False)
    return module


@pytest.fixture
def run(script, server, tmp_path):
    """run(*words) -> exit status, with the server on loopback and `tmp_path` as root."""
    return lambda *words: script.main(["--root", str(tmp_path), "--base-url", server.url, *words])


@pytest.fixture
def last_line(capsys):
    """The last line of stderr: the error below the progress bars."""
    return lambda: re.split(r"[\r\n]", capsys.readouterr().err.rstrip("\n"))[-1]


def tree(root):
    """{path below coco/: bytes} of the files that end in .jpg or .json."""
    paths = [p for p in (root / "coco").rglob("*") if p.suffix in (".jpg", ".json")]
    return {p.relative_to(root / "coco").as_posix(): p.read_bytes() for p in paths}


def write(folder, files):
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def test_fetches_all_where_detectron2_looks_and_then_nothing(run, server, tmp_path):
    assert run() == 0
    assert tree(tmp_path) == FILES
    assert list((tmp_path / "coco/zips").iterdir()) == []
    assert server.requests == [(ANNOTATIONS_URL, 0), (VAL_URL, 0), (TRAIN_URL, 0)]
    assert run() == run("--check") == 0
    assert len(server.requests) == 3
    splits = _PREDEFINED_SPLITS_COCO["coco"] | _PREDEFINED_SPLITS_COCO["coco_person"]
    for name in ("coco_2017_train", "coco_2017_val", "keypoints_coco_2017_train"):
        assert all((tmp_path / path).exists() for path in splits[name])


def test_only_missing_parts_are_fetched_and_only_missing_files_unpacked(run, server, tmp_path):
    assert run("--parts", "val", "--keep-zips") == 0
    assert server.requests == [(VAL_URL, 0)]
    assert (tmp_path / "coco/zips/val2017.zip").read_bytes() == ZIPS[VAL_URL]
    first, second = (tmp_path / "coco/val2017" / f"{i:012d}.jpg" for i in (1, 2))
    before = first.stat().st_ino, first.stat().st_mtime_ns
    second.unlink()
    assert run() == 0
    assert server.requests == [(VAL_URL, 0), (ANNOTATIONS_URL, 0), (TRAIN_URL, 0)]
    assert tree(tmp_path) == FILES
    assert (first.stat().st_ino, first.stat().st_mtime_ns) == before


def test_check_accepts_what_is_unpacked_and_makes_nothing(
    run, server, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=8e9))
    assert run("--check") == 1
    assert list(tmp_path.iterdir()) == []
    write(tmp_path / "coco", ANNOTATIONS | images("val2017", 2) | {"val2017/mine.jpg": b"x"})
    write(tmp_path / "coco", {"val2017/000000000003.jpg": b""})
    capsys.readouterr()
    assert run("--check") == 1
    assert capsys.readouterr().out.splitlines() == [
        f"annotations: present, 6 of 6 files in {tmp_path}/coco/annotations",
        f"val: missing, 2 of 3 files in {tmp_path}/coco/val2017",
        f"train: missing, 0 of 7 files in {tmp_path}/coco/train2017",
        f"disk: 0.00 GB needed, 8.00 GB free in {tmp_path}/coco",
    ]
    assert run("--check", "--parts", "annotations") == 0
    assert server.requests == []


def test_cut_connection_is_resumed_while_bytes_arrive(run, script, server, tmp_path):
    server.statuses, server.cut_after = [503, 429], [1000] * 7  # more than RETRIES
    assert run("--parts", "train") == 0
    assert [start for _, start in server.requests] == [0, 0, 0, *range(1000, 8000, 1000)]
    assert script.waits == [1, 2] + [1] * 7
    assert tree(tmp_path) == TRAIN


def test_failed_download_is_resumed_by_the_next_run(run, script, server, tmp_path, last_line):
    server.cut_after = [5000, 0, 0, 0, 0, 0]
    assert run("--parts", "val") == 1
    assert script.waits == [1, 2, 4, 8, 16]
    assert f"{VAL_URL}: the connection ended early; 5000 of {SIZE} bytes here" in last_line()
    assert run("--parts", "val") == 0
    assert server.requests[-1] == (VAL_URL, 5000)
    assert tree(tmp_path) == VAL


def test_server_without_ranges_is_read_again_from_its_first_byte(run, server, tmp_path):
    server.ranges, server.cut_after = False, [5000, 2000]
    assert run("--parts", "val") == 0
    assert server.requests == [(VAL_URL, 0), (VAL_URL, 5000), (VAL_URL, 5000)]
    assert tree(tmp_path) == VAL


@pytest.mark.parametrize("ranges", [True, False])
def test_wrong_size_on_the_server_is_refused(ranges, run, server, tmp_path, last_line):
    server.ranges, server.files[VAL_URL] = ranges, ZIPS[VAL_URL] + b"more"
    write(tmp_path / "coco/zips", {"val2017.zip": ZIPS[VAL_URL][:500]})
    assert run("--parts", "val") == 2
    has = f"bytes 500-{SIZE + 3}/{SIZE + 4}" if ranges else SIZE + 4
    assert f"expected bytes 500-{SIZE - 1}/{SIZE}, the server has {has}. Name" in last_line()
    assert (tmp_path / "coco/zips/val2017.zip").read_bytes() == ZIPS[VAL_URL][:500]


def test_missing_zip_is_asked_for_once_and_a_missing_server_again(run, script, server, last_line):
    del server.files[VAL_URL]
    assert run("--parts", "val") == 2
    assert "the server answers 404 Not Found. Check --base-url" in last_line()
    assert len(server.requests) == 1
    assert run("--parts", "val", "--base-url", "http://127.0.0.1:1") == 1
    assert "http://127.0.0.1:1/zips/val2017.zip: " in last_line()
    assert len(script.waits) == script.RETRIES


@pytest.mark.parametrize(
    ("damaged", "message"),
    [
        (ZIPS[VAL_URL].replace(bytes([3]) * 2000, bytes([9]) * 2000), "Bad CRC-32 for file"),
        (b"<html>" + bytes(SIZE - 6), "File is not a zip file"),
        (ZIPS[VAL_URL] + b"more", f"{SIZE + 4} bytes, expected {SIZE}"),
    ],
    ids=["crc", "no zip", "too long"],
)
def test_damaged_zip_is_refused_and_fetched_anew(
    damaged, message, run, server, tmp_path, last_line
):
    write(tmp_path / "coco/zips", {"val2017.zip": damaged})
    assert run("--parts", "val") == 2
    assert re.search(f"{message}.*It has been deleted; run the same command again", last_line())
    assert tree(tmp_path).items() <= images("val2017", 2).items()
    assert run("--parts", "val") == 0
    assert server.requests == [(VAL_URL, 0)]
    assert tree(tmp_path) == VAL


@pytest.mark.parametrize(
    ("more", "message"),
    [({}, "2 files, expected 3"), ({"val2017/../../../x.jpg": b"x"}, "unexpected file 'val2017/.")],
)
def test_zip_of_other_files_is_refused(more, message, run, script, server, tmp_path, last_line):
    server.files[VAL_URL] = make_zip(images("val2017", 2) | more)
    script.PARTS = (script.PARTS[1]._replace(zip_bytes=len(server.files[VAL_URL])),)
    assert run("--parts", "val") == 2
    assert message in last_line()
    assert tree(tmp_path) == {}


@pytest.mark.parametrize(
    ("owner", "name", "error", "status", "message"),
    [
        (http.client.HTTPResponse, "read1", KeyboardInterrupt(), 130, "stopped; run the same"),
        (shutil, "copyfileobj", KeyboardInterrupt(), 130, "stopped; run the same command"),
        (shutil, "copyfileobj", OSError(28, "Disk full"), 2, "Disk full. When that is solved"),
    ],
)
def test_interrupted_run_is_finished(
    owner, name, error, status, message, run, script, server, tmp_path, last_line, monkeypatch
):
    original, calls = getattr(owner, name), count()

    def stop_at_third(*args):
        if next(calls) == 2:
            raise error
        return original(*args)

    monkeypatch.setattr(script, "CHUNK_BYTES", 1000)
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, stop_at_third)
        assert run("--parts", "val") == status
    assert message in last_line()
    assert run("--check", "--parts", "val") == 1
    downloading = name == "read1"
    if not downloading:  # damaged, but of the right size: as after a power cut
        write(tmp_path / "coco", {"val2017/000000000001.jpg": bytes(2000)})
    assert run("--parts", "val") == 0
    assert server.requests == [(VAL_URL, 0)] + [(VAL_URL, 2000)] * downloading
    assert tree(tmp_path) == VAL


def test_disk_space_is_checked_first(run, script, server, tmp_path, last_line, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=2000))
    assert run() == 2
    assert last_line().startswith("error: not enough disk space: 0.00 GB needed, 0.00 GB free in")
    assert server.requests == [] and list(tmp_path.iterdir()) == []
    write(tmp_path / "coco/zips", {"val2017.zip": bytes(SIZE - 10)})
    assert script.disk_space({script.PARTS[1]: 1}, tmp_path / "coco") == (10 + 2000, 2000)
    everything = {part: part.count for part in script.REAL_PARTS[:3]}
    assert script.disk_space(everything, tmp_path)[0] == pytest.approx(41.99e9, abs=0.01e9)


def test_wrong_words_and_files_are_one_error(run, tmp_path, last_line):
    for words, message in (
        (["--parts", "test"], "invalid choice: 'test'"),
        (["--base-url", "ftp://x"], "--base-url is 'ftp://x', but has to begin with http://"),
    ):
        with pytest.raises(SystemExit, match="2"):
            run(*words)
        assert message in last_line()
    (tmp_path / "coco").write_text("a file where the folder should be")
    assert run() == 2
    assert str(tmp_path / "coco") in last_line()


@pytest.mark.parametrize("root", ["variable", "datasets"])
def test_default_root(root, script, server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if root == "variable":
        monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / root))
    assert script.main(["--base-url", server.url, "--parts", "val"]) == 0
    assert tree(tmp_path / root) == VAL


def test_runs_as_a_program(tmp_path):
    words = [sys.executable, str(SCRIPT), "--check", "--root", str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (1, "")
    assert "train: missing, 0 of 118287 files" in done.stdout


# --- COCO-stuff's maps ---

STUFF = ("--parts", "stuffthingmaps")


def maps_there(root):
    """{path: bytes} below coco/stuffthingmaps/."""
    folder = root / "coco" / "stuffthingmaps"
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.png")}


def test_maps_are_fetched_on_demand_with_the_size_that_the_server_has(
    run, server, tmp_path, capsys
):
    assert run(*STUFF) == 0
    assert maps_there(tmp_path) == MAPS
    assert server.requests == [(MAPS_URL, 0), (MAPS_URL, 0)]  # its size; its bytes
    assert list((tmp_path / "coco/zips").iterdir()) == []
    assert run(*STUFF) == run("--check", *STUFF) == 0
    assert len(server.requests) == 2
    (tmp_path / "coco/stuffthingmaps/val2017/000000000002.png").unlink()
    assert run("--check", *STUFF) == 1
    assert "stuffthingmaps: missing, 5 of 6 files in" in capsys.readouterr().out
    assert run(*STUFF) == 0
    assert maps_there(tmp_path) == MAPS


def test_the_download_of_maps_goes_on_where_it_ended(run, script, server, tmp_path):
    server.cut_after = [10_000, 700, 0]  # of the question for the size, and of two tries
    assert run(*STUFF) == 0
    assert server.requests == [(MAPS_URL, 0), (MAPS_URL, 0), (MAPS_URL, 700), (MAPS_URL, 700)]
    assert maps_there(tmp_path) == MAPS


def test_a_zip_of_maps_that_is_there_needs_no_server(run, server, tmp_path):
    other = {f"stuffthingmaps/{name}": data for name, data in MAPS.items()} | {"README": b"x"}
    write(tmp_path / "coco/zips", {"stuffthingmaps_trainval2017.zip": make_zip(other)})
    assert run(*STUFF, "--base-url", "http://127.0.0.1:1", "--keep-zips") == 0
    assert maps_there(tmp_path) == MAPS
    assert server.requests == []


def test_a_zip_without_all_maps_is_kept_and_refused(run, tmp_path, last_line):
    few = dict(list(MAPS.items())[1:])
    path = tmp_path / "coco/zips/stuffthingmaps_trainval2017.zip"
    write(path.parent, {path.name: make_zip(few)})
    assert run(*STUFF) == 2
    assert last_line() == f"error: {path}: 5 files, expected 6"
    assert path.is_file() and maps_there(tmp_path) == {}


def test_a_server_that_does_not_say_how_long_the_maps_are(run, server, last_line):
    server.ranges = server.says_length = False
    assert run(*STUFF) == 2
    assert "the server does not say its length. Name another by --base-url." in last_line()


def test_the_published_address_of_the_maps(script):
    (part,) = script.REAL_PARTS[3:]
    assert f"{part.server}/{part.url}" == (
        "http://calvin.inf.ed.ac.uk/wp-content/uploads/data/cocostuffdataset/"
        "stuffthingmaps_trainval2017.zip"
    )
    assert part.count == 118_287 + 5_000
