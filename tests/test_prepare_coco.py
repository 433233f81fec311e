"""datasets/prepare_coco.py against a loopback server with tiny zips."""

import ast
import dataclasses
import importlib.util
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "datasets" / "prepare_coco.py"
TRAIN_URL, VAL_URL = "/zips/train2017.zip", "/zips/val2017.zip"
ANNOTATIONS_URL = "/annotations/annotations_trainval2017.zip"


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("prepare_coco", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_zip(files: dict[str, bytes], *, compression: int = zipfile.ZIP_STORED) -> bytes:
    """The bytes of a zip with a folder entry, as COCO's zips have one, and the files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        archive.writestr(next(iter(files)).split("/")[0] + "/", b"")
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def pictures(folder: str, count: int) -> dict[str, bytes]:
    """{path in the zip: bytes}; 2000 bytes each, all different."""
    return {f"{folder}/{i:012d}.jpg": bytes([i]) * 2000 for i in range(1, count + 1)}


ANNOTATIONS = {
    f"annotations/{kind}_{split}2017.json": json.dumps({"info": f"{kind} {split}"}).encode()
    for kind in ("instances", "person_keypoints", "captions")
    for split in ("train", "val")
}
FILES = pictures("train2017", 7) | pictures("val2017", 3) | ANNOTATIONS
ZIPS = {
    TRAIN_URL: make_zip(pictures("train2017", 7)),
    VAL_URL: make_zip(pictures("val2017", 3)),
    ANNOTATIONS_URL: make_zip(ANNOTATIONS, compression=zipfile.ZIP_DEFLATED),
}


@dataclass
class Site:
    """What the server serves, how it misbehaves, and what it was asked."""

    files: dict[str, bytes] = field(default_factory=lambda: dict(ZIPS))
    cut_after: list[int] = field(default_factory=list)  # bytes; one is used up by each answer
    ignore_range: bool = False
    send_length: bool = True
    content_range: str | None = None  # sent instead of the true one
    statuses: list[int] = field(default_factory=list)  # one is used up by each answer
    hang: threading.Event | None = None  # after a cut, hold the connection until it is set
    requests: list[tuple[str, str | None]] = field(default_factory=list)  # (path, Range)
    url: str = ""


def make_handler(site: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            site.requests.append((self.path, asked))
            if site.statuses or self.path not in site.files:
                self.send_error(site.statuses.pop(0) if site.statuses else 404)
                return
            data = site.files[self.path]
            start = 0
            if asked and not site.ignore_range:
                start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
                if start >= len(data):
                    self.send_error(416)
                    return
                self.send_response(206)
                truth = f"bytes {start}-{len(data) - 1}/{len(data)}"
                self.send_header("Content-Range", site.content_range or truth)
            else:
                self.send_response(200)
            if site.send_length:
                self.send_header("Content-Length", str(len(data) - start))
            self.end_headers()
            limit = site.cut_after.pop(0) if site.cut_after else len(data)
            self.wfile.write(data[start : start + limit])
            if site.hang and limit < len(data):
                site.hang.wait(10)

    return Handler


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    site = Site()
    server = ThreadingHTTPServer(("127.0.0.1", 0), make_handler(site))
    site.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield site
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a fresh module, without waits between tries."""
    module = load_script()
    monkeypatch.setattr(module, "BACKOFF_SECONDS", 0.0)
    monkeypatch.delenv("DETECTRON2_DATASETS", raising=False)
    return module


def tiny_parts(script: ModuleType) -> tuple:
    """The script's own table with the counts and sizes of the tiny zips."""
    made = []
    for part in script.PARTS:
        inside = {n: d for n, d in FILES.items() if n.startswith(f"{part.folder}/")}
        made.append(
            script.Part(
                name=part.name,
                url_path=part.url_path,
                zip_bytes=len(ZIPS[f"/{part.url_path}"]),
                unpacked_bytes=sum(map(len, inside.values())),
                folder=part.folder,
                suffix=part.suffix,
                count=len(inside),
                names=part.names,
            )
        )
    return tuple(made)


Run = Callable[..., int]


@pytest.fixture
def run(script: ModuleType, site: Site, tmp_path: Path) -> Run:
    """run(*words) -> exit code, with the loopback server and `tmp_path` as root."""

    def call(*words: str) -> int:
        argv = ["--root", str(tmp_path), "--base-url", site.url, *words]
        return script.main(argv, parts=tiny_parts(script))

    return call


def tree(root: Path) -> dict[str, bytes]:
    """{path below coco/: bytes} of all files but the script's own state."""
    coco = root / "coco"
    paths = [p for p in coco.rglob("*") if p.is_file() and ".prepare_coco" not in p.parts]
    return {p.relative_to(coco).as_posix(): p.read_bytes() for p in paths}


def state(root: Path) -> list[str]:
    """Names of the files that the script keeps for itself."""
    return sorted(p.name for p in (root / "coco" / ".prepare_coco").iterdir())


def identities(root: Path) -> dict[str, tuple[int, int]]:
    """What changes when a file is written again: inode and time of change."""
    coco = root / "coco"
    return {n: ((coco / n).stat().st_ino, (coco / n).stat().st_mtime_ns) for n in tree(root)}


MANIFESTS = ["annotations.json", "train.json", "val.json"]


# ---- Whole runs ---------------------------------------------------------------------------------


def test_full_run_lays_out_exactly_the_files(run: Run, site: Site, tmp_path: Path) -> None:
    assert run() == 0
    assert tree(tmp_path) == FILES
    assert state(tmp_path) == MANIFESTS
    assert site.requests == [(TRAIN_URL, None), (VAL_URL, None), (ANNOTATIONS_URL, None)]


def test_manifest_has_name_size_and_crc(run: Run, tmp_path: Path) -> None:
    assert run("--parts", "val") == 0
    record = json.loads((tmp_path / "coco/.prepare_coco/val.json").read_text())
    data = FILES["val2017/000000000002.jpg"]
    crc = zipfile.crc32(data)
    assert len(record["files"]) == 3
    assert record["files"][1] == {"name": "000000000002.jpg", "size": 2000, "crc": crc}


def test_second_run_requests_and_writes_nothing(run: Run, site: Site, tmp_path: Path) -> None:
    assert run() == 0
    before = identities(tmp_path)
    site.requests.clear()
    assert run() == 0
    assert site.requests == []
    assert identities(tmp_path) == before


def test_only_missing_parts_are_fetched(run: Run, site: Site, tmp_path: Path) -> None:
    assert run("--parts", "val") == 0
    assert site.requests == [(VAL_URL, None)]
    assert run("--parts", "annotations", "val") == 0
    assert site.requests == [(VAL_URL, None), (ANNOTATIONS_URL, None)]
    assert not (tmp_path / "coco/train2017").exists()


@pytest.mark.parametrize("damage", ["deleted", "shortened"])
def test_a_part_that_lost_a_file_is_mended(
    damage: str, run: Run, site: Site, tmp_path: Path
) -> None:
    assert run() == 0
    before = identities(tmp_path)
    broken = tmp_path / "coco/train2017/000000000004.jpg"
    broken.unlink() if damage == "deleted" else broken.write_bytes(b"short")
    site.requests.clear()
    assert run("--check") == 1
    assert run() == 0
    assert site.requests == [(TRAIN_URL, None)]
    assert tree(tmp_path) == FILES
    after = identities(tmp_path)
    assert {n for n in FILES if after[n] != before[n]} == {"train2017/000000000004.jpg"}


def test_keep_zips(run: Run, site: Site, tmp_path: Path) -> None:
    assert run("--keep-zips") == 0
    kept = tmp_path / "coco/.prepare_coco"
    for url, data in ZIPS.items():
        assert (kept / Path(url).name).read_bytes() == data
    site.requests.clear()
    assert run() == 0
    assert site.requests == []
    assert len(state(tmp_path)) == 6


def test_zip_put_there_by_hand_is_used(run: Run, site: Site, tmp_path: Path) -> None:
    folder = tmp_path / "coco/.prepare_coco"
    folder.mkdir(parents=True)
    (folder / "val2017.zip").write_bytes(ZIPS[VAL_URL])
    assert run("--parts", "val") == 0
    assert site.requests == []
    assert state(tmp_path) == ["val.json"]


def test_coco_unpacked_by_hand_is_accepted(
    run: Run, site: Site, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    for name, data in FILES.items():
        path = tmp_path / "coco" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (tmp_path / "coco/annotations/mine.json").write_text("{}")
    assert run() == 0
    assert site.requests == []
    line = "val: present, 3 files, 6.0 kB (no record of the zip: files counted only)"
    assert line in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "content"),
    [("train2017/000000000004.jpg", b""), ("annotations/captions_val2017.json", b'{"info": [1, 2')],
)
def test_half_made_files_by_hand_are_not_accepted(
    name: str, content: bytes, run: Run, tmp_path: Path
) -> None:
    for each, data in (FILES | {name: content}).items():
        path = tmp_path / "coco" / each
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    assert run("--check") == 1
    assert run() == 0
    assert tree(tmp_path) == FILES


# ---- Download -----------------------------------------------------------------------------------


def test_cut_connection_is_resumed_in_the_same_run(run: Run, site: Site, tmp_path: Path) -> None:
    half = len(ZIPS[TRAIN_URL]) // 2
    site.cut_after = [half]
    assert run("--parts", "train", "--keep-zips") == 0
    assert site.requests == [(TRAIN_URL, None), (TRAIN_URL, f"bytes={half}-")]
    assert (tmp_path / "coco/.prepare_coco/train2017.zip").read_bytes() == ZIPS[TRAIN_URL]


def test_failed_download_is_resumed_by_the_next_run(
    run: Run,
    script: ModuleType,
    site: Site,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    whole = len(ZIPS[TRAIN_URL])
    half = whole // 2
    monkeypatch.setattr(script, "RETRIES", 0)
    site.cut_after = [half]
    assert run("--keep-zips") == 1
    assert capsys.readouterr().err == (
        f"error: {site.url}{TRAIN_URL}: the connection ended early; {half} of {whole} bytes so "
        "far. When the network is back, run the same command again to go on.\n"
    )
    partial = tmp_path / "coco/.prepare_coco/train2017.zip.part"
    assert partial.read_bytes() == ZIPS[TRAIN_URL][:half]
    assert run("--check") == 1
    assert f"0 of 7 files; {script.human(whole - half)} of" in capsys.readouterr().out
    assert run("--keep-zips") == 0
    assert site.requests[1] == (TRAIN_URL, f"bytes={half}-")
    assert (tmp_path / "coco/.prepare_coco/train2017.zip").read_bytes() == ZIPS[TRAIN_URL]
    assert not partial.exists()
    assert tree(tmp_path) == FILES


def test_many_cuts_are_survived_while_bytes_arrive(run: Run, site: Site, tmp_path: Path) -> None:
    site.cut_after = [1000] * 12  # more than RETRIES
    assert run("--parts", "train") == 0
    assert [r for _, r in site.requests[1:]] == [f"bytes={1000 * i}-" for i in range(1, 13)]


def test_server_without_range_is_fetched_whole(
    run: Run, site: Site, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    site.ignore_range = True
    site.cut_after = [5000]
    assert run("--parts", "train") == 0
    assert site.requests == [(TRAIN_URL, None), (TRAIN_URL, "bytes=5000-")]
    assert len(tree(tmp_path)) == 7
    assert "train2017.zip: the server cannot resume; starting from byte 0" in (
        capsys.readouterr().out
    )


def test_server_without_range_that_always_cuts_ends(
    run: Run, script: ModuleType, site: Site, capsys: pytest.CaptureFixture
) -> None:
    site.ignore_range = True
    site.cut_after = [5000] * 100
    assert run("--parts", "train") == 1
    # The first try brings bytes, the RETRIES after it bring none beyond those.
    assert len(site.requests) == 1 + script.RETRIES
    assert "the connection ended early; 5000 of" in capsys.readouterr().err


def test_page_without_length_does_not_cost_the_bytes_that_are_there(
    run: Run, site: Site, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    partial = tmp_path / "coco/.prepare_coco/train2017.zip.part"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(ZIPS[TRAIN_URL][:5000])
    site.ignore_range, site.send_length = True, False
    assert run("--parts", "train") == 1
    assert "the server has an unknown number of bytes" in capsys.readouterr().err
    assert partial.read_bytes() == ZIPS[TRAIN_URL][:5000]


def test_waits_double_and_end_with_one_error(
    run: Run,
    script: ModuleType,
    site: Site,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    waits = []
    monkeypatch.setattr(script, "BACKOFF_SECONDS", 1.0)
    monkeypatch.setattr(script.time, "sleep", waits.append)
    site.statuses = [503] * 6
    assert run("--parts", "val") == 1
    assert waits == [1, 2, 4, 8, 16]
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"{site.url}{VAL_URL}: HTTP 503 Service Unavailable; 0 of" in error


def test_server_error_is_tried_again(run: Run, site: Site) -> None:
    site.statuses = [503, 429]
    assert run("--parts", "val") == 0
    assert len(site.requests) == 3


def test_no_server_at_all(
    script: ModuleType, site: Site, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    argv = ["--root", str(tmp_path), "--base-url", "http://127.0.0.1:1", "--parts", "val"]
    assert script.main(argv, parts=tiny_parts(script)) == 1
    error = capsys.readouterr().err
    assert "http://127.0.0.1:1/zips/val2017.zip: " in error
    assert "run the same command again to go on" in error


def test_404_is_not_tried_again(
    run: Run, site: Site, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    del site.files[VAL_URL]
    assert run() == 1
    assert capsys.readouterr().err == (
        f"error: {site.url}{VAL_URL}: the server answers 404 Not Found. "
        "Check --base-url: it is the address before /zips and /annotations.\n"
    )
    assert [path for path, _ in site.requests] == [TRAIN_URL, VAL_URL]
    assert state(tmp_path) == ["train.json"]


@pytest.mark.parametrize("change", [-100, +100])
@pytest.mark.parametrize("resumed", [False, True])
def test_wrong_size_is_refused(
    change: int,
    resumed: bool,
    run: Run,
    site: Site,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    whole = len(ZIPS[VAL_URL])
    site.files[VAL_URL] = (ZIPS[VAL_URL] + bytes(100))[: whole + change]
    if resumed:
        partial = tmp_path / "coco/.prepare_coco/val2017.zip.part"
        partial.parent.mkdir(parents=True)
        partial.write_bytes(ZIPS[VAL_URL][:500])
    assert run("--parts", "val") == 1
    assert capsys.readouterr().err == (
        f"error: {site.url}{VAL_URL} has the wrong size: the server has {whole + change} bytes, "
        f"expected {whole} bytes. Name a server that has the original zip with --base-url.\n"
    )
    assert len(site.requests) == 1
    assert tree(tmp_path) == {}
    assert run("--check", "--parts", "val") == 1


def test_server_without_a_content_length(run: Run, site: Site, tmp_path: Path) -> None:
    site.send_length = False
    assert run() == 0
    assert tree(tmp_path) == FILES


def test_longer_page_without_a_content_length(
    run: Run, site: Site, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    site.send_length = False
    site.files[VAL_URL] = b"<html>" + bytes(len(ZIPS[VAL_URL]))
    assert run("--parts", "val") == 1
    assert "val2017.zip is not a good copy of zips/val2017.zip" in capsys.readouterr().err
    assert tree(tmp_path) == {}
    assert state(tmp_path) == []


def test_server_whose_file_ends_before_the_partial_one(
    run: Run, site: Site, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    partial = tmp_path / "coco/.prepare_coco/val2017.zip.part"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(ZIPS[VAL_URL][:500])
    site.files[VAL_URL] = b"short"
    assert run("--parts", "val") == 1
    assert "wrong size: the server has no byte beyond 500, expected" in capsys.readouterr().err


def test_content_range_from_another_byte_is_refused(
    run: Run, site: Site, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    partial = tmp_path / "coco/.prepare_coco/val2017.zip.part"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(ZIPS[VAL_URL][:500])
    site.content_range = f"bytes 400-{len(ZIPS[VAL_URL]) - 1}/{len(ZIPS[VAL_URL])}"
    assert run("--parts", "val") == 1
    assert f"answers with Content-Range {site.content_range!r}" in capsys.readouterr().err
    assert partial.read_bytes() == ZIPS[VAL_URL][:500]


def test_partial_zip_that_is_too_long_is_fetched_anew(run: Run, site: Site, tmp_path: Path) -> None:
    partial = tmp_path / "coco/.prepare_coco/val2017.zip.part"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(bytes(len(ZIPS[VAL_URL]) + 1))
    assert run("--parts", "val") == 0
    assert site.requests == [(VAL_URL, None)]


# ---- Unpack -------------------------------------------------------------------------------------


def test_truncated_zip_on_disk_is_refused(
    run: Run, site: Site, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    path = tmp_path / "coco/.prepare_coco/val2017.zip"
    path.parent.mkdir(parents=True)
    path.write_bytes(ZIPS[VAL_URL][:-10])
    whole = len(ZIPS[VAL_URL])
    assert run("--parts", "val") == 1
    assert capsys.readouterr().err == (
        f"error: {path} has the wrong size: {whole - 10} bytes, expected {whole} bytes. "
        "Delete it and run the same command again to fetch it.\n"
    )
    assert tree(tmp_path) == {} and site.requests == []


def test_damaged_picture_is_caught_by_its_crc(
    run: Run, site: Site, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    good = ZIPS[TRAIN_URL]
    at = good.index(bytes([4]) * 2000) + 1000
    site.files[TRAIN_URL] = good[:at] + b"\xff" + good[at + 1 :]
    assert run() == 1
    error = capsys.readouterr().err
    assert "train2017.zip is not a good copy of zips/train2017.zip: Bad CRC-32 for file" in error
    assert "'train2017/000000000004.jpg'. It has been deleted; run the same command" in error
    assert error.count("\n") == 1
    # What came before it stays; nothing of the damaged one is left, and nothing passes as whole.
    assert tree(tmp_path) == pictures("train2017", 3)
    assert state(tmp_path) == []
    assert run("--check") == 1
    site.files = dict(ZIPS)
    before = identities(tmp_path)
    assert run() == 0
    assert tree(tmp_path) == FILES
    assert {n: i for n, i in identities(tmp_path).items() if n in before} == before


def test_damaged_file_does_not_pass_when_the_zip_is_damaged_too(
    run: Run, site: Site, tmp_path: Path
) -> None:
    """All names are there, one in the right size with wrong bytes, and no zip can mend it."""
    for name, data in pictures("val2017", 3).items():
        path = tmp_path / "coco" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data if name != "val2017/000000000002.jpg" else bytes(2000))
    damaged = ZIPS[VAL_URL].replace(bytes([2]) * 2000, bytes([9]) * 2000)
    (tmp_path / "coco/.prepare_coco").mkdir()
    (tmp_path / "coco/.prepare_coco/val2017.zip").write_bytes(damaged)
    assert run("--parts", "val") == 1
    assert run("--check", "--parts", "val") == 1
    assert run("--parts", "val") == 0
    assert site.requests == [(VAL_URL, None)]
    assert tree(tmp_path) == pictures("val2017", 3)


def test_damaged_deflate_stream_is_caught(
    run: Run, site: Site, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    data = bytearray(ZIPS[ANNOTATIONS_URL])
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        member = archive.getinfo("annotations/instances_train2017.json")
    body = member.header_offset + 30 + len(member.filename)
    data[body : body + member.compress_size] = b"\xff" * member.compress_size
    site.files[ANNOTATIONS_URL] = bytes(data)
    assert run("--parts", "annotations") == 1
    assert "is not a good copy of annotations/" in capsys.readouterr().err
    assert tree(tmp_path) == {}


def test_page_of_the_right_size_is_no_zip(
    run: Run, site: Site, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    site.files[VAL_URL] = b"<html>" + bytes(len(ZIPS[VAL_URL]) - 6)
    assert run("--parts", "val") == 1
    assert "is not a good copy of zips/val2017.zip: File is not a zip file" in (
        capsys.readouterr().err
    )
    assert state(tmp_path) == []


class StopAfter:
    """Stands for script.extract and raises `error` instead of the call after `calls` calls."""

    def __init__(self, extract: Callable, *, calls: int, error: BaseException) -> None:
        self.extract, self.calls, self.error = extract, calls, error

    def __call__(self, *args: object, **kwargs: object) -> None:
        if self.calls == 0:
            raise self.error
        self.calls -= 1
        self.extract(*args, **kwargs)


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (KeyboardInterrupt(), 130, "stopped; what is there is kept, run the same command again"),
        (OSError(28, "No space left on device"), 1, "No space left on device. When that is solved"),
    ],
)
def test_interrupted_unpacking_is_finished(
    error: BaseException,
    code: int,
    message: str,
    run: Run,
    script: ModuleType,
    site: Site,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(script, "extract", StopAfter(script.extract, calls=4, error=error))
        assert run() == code
    captured = capsys.readouterr().err
    assert message in captured and captured.count("\n") == 1
    assert tree(tmp_path) == pictures("train2017", 4)
    assert state(tmp_path) == ["train2017.zip"]
    assert run("--check") == 1
    before = identities(tmp_path)
    assert run() == 0
    assert [path for path, _ in site.requests] == [TRAIN_URL, VAL_URL, ANNOTATIONS_URL]
    assert tree(tmp_path) == FILES
    assert {n: i for n, i in identities(tmp_path).items() if n in before} == before


def test_stopped_before_the_manifest_is_not_whole(
    run: Run,
    script: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stop(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(script, "write_manifest", stop)
        assert run("--parts", "val") == 130
    # All three are there; one is damaged (same size) before the next run: the CRC tells.
    (tmp_path / "coco/val2017/000000000002.jpg").write_bytes(bytes(2000))
    assert run("--check", "--parts", "val") == 1
    assert run("--parts", "val") == 0
    assert tree(tmp_path) == pictures("val2017", 3)
    assert state(tmp_path) == ["val.json"]


def test_half_written_file_of_a_killed_run_is_not_taken(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "coco/val2017"
    folder.mkdir(parents=True)
    (folder / ".unpacking.part").write_bytes(b"half")
    assert run("--parts", "val") == 0
    assert tree(tmp_path) == pictures("val2017", 3)


@pytest.mark.parametrize(
    "name",
    [
        "val2017/../../../outside.jpg",
        "../outside.jpg",
        "/tmp/outside.jpg",
        "val2017/sub/outside.jpg",
        "val2017\\..\\outside.jpg",
        "val2017/C:outside.jpg",
        "train2017/outside.jpg",
        "val2017/outside.exe",
    ],
)
def test_path_that_leaves_the_folder_is_refused(
    name: str,
    script: ModuleType,
    site: Site,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    root = tmp_path / "a" / "b"
    evil = make_zip(pictures("val2017", 2) | {name: b"evil"})
    site.files[VAL_URL] = evil
    val = dataclasses.replace(tiny_parts(script)[1], zip_bytes=len(evil))
    argv = ["--root", str(root), "--base-url", site.url]
    assert script.main(argv, parts=(val,)) == 1
    error = capsys.readouterr().err
    assert f"holds {name!r}; allowed is val2017/NAME.jpg only" in error
    assert tree(root) == {}
    assert list(tmp_path.rglob("*outside*")) == []


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (pictures("val2017", 2), "holds 2 files, expected 3"),
        (pictures("val2017", 4), "holds 4 files, expected 3"),
    ],
)
def test_wrong_number_of_pictures_is_refused(
    files: dict[str, bytes],
    message: str,
    script: ModuleType,
    site: Site,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    data = make_zip(files)
    site.files[VAL_URL] = data
    val = dataclasses.replace(tiny_parts(script)[1], zip_bytes=len(data))
    argv = ["--root", str(tmp_path), "--base-url", site.url]
    assert script.main(argv, parts=(val,)) == 1
    assert message in capsys.readouterr().err
    assert tree(tmp_path) == {}


# ---- Check, disk, command line ------------------------------------------------------------------


@pytest.mark.parametrize("option", ["--check", "--dry-run"])
def test_check_says_what_is_there(
    option: str,
    run: Run,
    script: ModuleType,
    site: Site,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(9, 1, 8e9))
    assert run("--parts", "val") == 0
    site.requests.clear()
    capsys.readouterr()
    assert run(option) == 1
    train, _, notes = tiny_parts(script)
    size = {part.name: script.human(part.zip_bytes) for part in (train, notes)}
    # The most is taken at the end: train unpacked, then the zip of the annotations and its files.
    needed = train.unpacked_bytes + notes.zip_bytes + notes.unpacked_bytes + 13 * 4096
    assert capsys.readouterr().out.splitlines() == [
        f"COCO 2017 in {tmp_path / 'coco'}",
        f"train: missing, 0 of 7 files; {size['train']} of {size['train']} to download",
        "val: present, 3 files, 6.0 kB",
        f"annotations: missing, 0 of 6 files; {size['annotations']} of {size['annotations']} "
        "to download",
        f"disk: {script.human(needed)} needed at most, 8.0 GB free",
    ]
    assert site.requests == []
    assert run() == 0
    assert run(option) == 0


def test_check_makes_nothing(run: Run, tmp_path: Path) -> None:
    assert run("--check") == 1
    assert list(tmp_path.iterdir()) == []


def test_not_enough_disk(
    run: Run,
    site: Site,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(9, 1, 2000))
    assert run() == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: not enough disk space in {tmp_path / 'coco'}: ")
    assert "needed, 2.0 kB free. Make room, name another folder with --root" in error
    assert site.requests == []


@pytest.mark.parametrize(("keep_zips", "gigabytes"), [(False, 39.2), (True, 42.0)])
def test_disk_needed_for_the_real_parts(
    keep_zips: bool, gigabytes: float, script: ModuleType, tmp_path: Path
) -> None:
    places = [script.Place(part=part, coco=tmp_path) for part in script.PARTS]
    surveys = {place: script.survey(place) for place in places}
    assert script.disk_needed(surveys, keep_zips=keep_zips) / 1e9 == pytest.approx(
        gigabytes, abs=0.05
    )


def test_real_table(script: ModuleType) -> None:
    rows = {p.name: (p.url_path, p.zip_bytes, p.count, p.folder) for p in script.PARTS}
    assert rows == {
        "train": ("zips/train2017.zip", 19336861798, 118287, "train2017"),
        "val": ("zips/val2017.zip", 815585330, 5000, "val2017"),
        "annotations": (
            "annotations/annotations_trainval2017.zip",
            252907541,
            6,
            "annotations",
        ),
    }
    assert script.BASE_URL == "http://images.cocodataset.org"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--parts", "test"], "invalid choice: 'test'"),
        (["--base-url", "ftp://x"], "--base-url is 'ftp://x', but has to begin with http://"),
        (["--root", "s3://x"], "the root is 's3://x', but has to be a local folder"),
    ],
)
def test_wrong_words(
    argv: list[str], message: str, script: ModuleType, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit) as stop:
        script.main(argv)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_root_that_cannot_be_made_is_one_line(
    script: ModuleType, site: Site, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "coco").write_text("a file where the folder should be")
    argv = ["--root", str(tmp_path), "--base-url", site.url]
    assert script.main(argv, parts=tiny_parts(script)) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1


@pytest.mark.parametrize("given", ["variable", "default", "option"])
def test_root(
    given: str,
    script: ModuleType,
    site: Site,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    argv = ["--base-url", site.url, "--parts", "val"]
    if given != "default":
        monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "variable"))
    if given == "option":
        argv += ["--root", "option"]
    assert script.main(argv, parts=tiny_parts(script)) == 0
    root = tmp_path / {"default": "datasets"}.get(given, given)
    assert [p.name for p in tmp_path.iterdir()] == [root.name]
    assert tree(root) == pictures("val2017", 3)


def test_bars_on_a_terminal(
    run: Run, script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert run("--parts", "val") == 0
    assert "val2017.zip: 100%" in terminal.getvalue()
    assert "3/3" in terminal.getvalue()


def test_lines_where_there_is_no_terminal(
    run: Run,
    script: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.setattr(script, "LOG_SECONDS", 0.0)
    assert run("--parts", "val") == 0
    size = script.human(len(ZIPS[VAL_URL]))
    out, err = capsys.readouterr()
    assert f"val2017.zip: {size} of {size}\n" in out
    assert "val2017: 2 of 3 files\n" in out
    assert err == ""


# ---- As a program, and with Detectron2 ----------------------------------------------------------


def test_runs_as_a_program(tmp_path: Path) -> None:
    words = [sys.executable, str(SCRIPT), "--check", "--root", str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert "train: missing, 0 of 118287 files; 19.3 GB of 19.3 GB to download" in done.stdout
    assert done.stderr == ""


def test_needs_only_the_standard_library_and_tqdm() -> None:
    nodes = list(ast.walk(ast.parse(SCRIPT.read_text(encoding="utf-8"))))
    names = {a.name.split(".")[0] for n in nodes if isinstance(n, ast.Import) for a in n.names}
    names |= {n.module.split(".")[0] for n in nodes if isinstance(n, ast.ImportFrom)}
    assert names - set(sys.stdlib_module_names) == {"tqdm"}


@pytest.mark.skipif(os.name == "nt", reason="SIGINT cannot be sent to one process on Windows")
def test_ctrl_c_while_downloading_leaves_a_resumable_state(
    run: Run, site: Site, tmp_path: Path
) -> None:
    site.hang = threading.Event()
    site.cut_after = [5000]
    program = (
        "import importlib.util, sys\n"
        f"spec = importlib.util.spec_from_file_location('prepare_coco', {str(SCRIPT)!r})\n"
        "module = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(module)\n"
        f"part = module.Part('val', 'zips/val2017.zip', {len(ZIPS[VAL_URL])}, 6000,"
        " 'val2017', '.jpg', 3)\n"
        f"words = ['--root', {str(tmp_path)!r}, '--base-url', {site.url!r}]\n"
        "sys.exit(module.main(words, parts=(part,)))\n"
    )
    child = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True)
    partial = tmp_path / "coco/.prepare_coco/val2017.zip.part"
    while not partial.exists() and child.poll() is None:
        time.sleep(0.01)
    time.sleep(0.3)  # let it take the bytes that come, and wait for the one that does not
    child.send_signal(signal.SIGINT)
    error = child.communicate(timeout=10)[1]
    site.hang.set()
    assert error == "stopped; what is there is kept, run the same command again to go on\n"
    assert child.returncode == 130
    got = partial.read_bytes()
    assert 0 < len(got) <= 5000
    assert got == ZIPS[VAL_URL][: len(got)]
    assert run("--parts", "val") == 0
    assert site.requests[-1] == (VAL_URL, f"bytes={len(got)}-")
    assert tree(tmp_path) == pictures("val2017", 3)


@pytest.mark.parametrize(
    "dataset",
    [
        "coco_2017_train",
        "coco_2017_val",
        "keypoints_coco_2017_train",
        "keypoints_coco_2017_val",
    ],
)
def test_paths_are_those_of_detectron2(dataset: str, run: Run, tmp_path: Path) -> None:
    builtin = pytest.importorskip("detectron2.data.datasets.builtin")
    splits = {k: v for group in builtin._PREDEFINED_SPLITS_COCO.values() for k, v in group.items()}
    images, annotations = splits[dataset]
    assert run() == 0
    split, count = ("train2017", 7) if "train" in dataset else ("val2017", 3)
    assert images == f"coco/{split}"
    assert len(list((tmp_path / images).glob("*.jpg"))) == count
    data = (tmp_path / annotations).read_bytes()
    assert data == ANNOTATIONS[annotations.removeprefix("coco/")]
