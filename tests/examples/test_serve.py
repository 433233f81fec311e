"""The serving example against a real server on this machine."""

import asyncio
import importlib.util
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from helpers.exported import weights
from helpers.tiny import CLASSES, REPO
from PIL import Image
from pycocotools import mask as coco_mask

from hrnet_det import Detector
from hrnet_det.detector.run_lengths import coco_rows
from hrnet_det.errors import InputError

LIMITS = ["--max-bytes", "40000", "--max-pixels", "20000"]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return weights("mask", tmp_path_factory.mktemp("served") / "weights.pth")


@pytest.fixture(scope="module")
def client(file):
    """An HTTP client of a server, which ends with the tests."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, REPO / "examples/serve.py", file, "--port", port, *LIMITS]
    environment = {**os.environ, "PYTHONPATH": str(REPO), "CUDA_VISIBLE_DEVICES": ""}
    server = subprocess.Popen([*map(str, command)], env=environment, stderr=subprocess.PIPE)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as made:
        for _ in range(600):
            assert server.poll() is None, server.stderr.read().decode()
            try:
                made.get("/health")
                break
            except httpx.ConnectError:
                time.sleep(0.1)
        yield made
    server.send_signal(signal.SIGTERM)
    said = server.communicate(timeout=30)[1].decode()
    assert "Traceback" not in said and "Application shutdown complete" in said


def send(client, content, **query):
    return client.post("/detect", files={"image": ("street.jpg", content)}, params=query)


def test_health(client):
    answer = client.get("/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "classes": CLASSES})


def test_objects_are_those_of_the_detector(client, file, coco):
    made = Detector.from_pretrained(file, device="cpu")
    path = coco / "images" / "1.png"
    right = coco_rows(made(path, score=0.1), 0)
    assert len(right) > 1
    answer = send(client, path.read_bytes(), score=0.1, masks=True).json()
    assert (answer["width"], answer["height"]) == (96, 64)
    assert len(answer["objects"]) == len(right)
    for found, expected in zip(answer["objects"], right, strict=True):
        assert found.keys() == {"category", *expected} - {"image_id"}
        assert found["category"] == CLASSES[expected["category_id"]]
        assert found["bbox"] == pytest.approx(expected["bbox"], abs=1e-2)
        assert found["score"] == pytest.approx(expected["score"], abs=1e-4)
        both = [found["segmentation"], expected["segmentation"]]
        assert coco_mask.iou(both[:1], both[1:], [0])[0, 0] > 0.98
    plain = send(client, path.read_bytes(), score=0.1).json()["objects"]
    assert [
        {k: v for k, v in row.items() if k != "segmentation"} for row in answer["objects"]
    ] == plain
    assert send(client, path.read_bytes(), score=1.0).json()["objects"] == []


def test_requests_at_the_same_time_get_their_own_answers(client, coco):
    paths = sorted((coco / "images").iterdir())[:4]
    alone = [send(client, path.read_bytes(), score=0).json() for path in paths]
    assert len({json.dumps(answer) for answer in alone}) == len(paths)
    with ThreadPoolExecutor(8) as threads:
        answers = threads.map(
            lambda path: send(client, path.read_bytes(), score=0).json(), 3 * paths
        )
        assert list(answers) == 3 * alone


def png(*size):
    file = io.BytesIO()
    Image.new("RGB", size).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "status", "said"),
    [
        (b"hello", 400, "the image is not an image that Pillow can read"),
        (b"", 400, "the image is not an image that Pillow can read"),
        (png(150, 130)[:-40], 400, "the image is truncated"),
        (png(200, 101), 400, "the image has 200x101 pixels, more than INPUT.MAX_PIXELS 20000: ra"),
        (bytes(40_000), 413, "the request has 40"),
    ],
    ids=["text", "nothing", "cut", "large", "heavy"],
)
def test_what_is_no_image_is_refused(client, content, status, said):
    answer = send(client, content)
    assert answer.status_code == status
    assert answer.json()["detail"].startswith(said)


def test_requests_that_are_none(client):
    assert client.post("/detect", data={"other": "x"}).status_code == 422
    assert send(client, png(9, 9), score=1.5).status_code == 422
    parts = client.post("/detect", content=iter([b"a", b"b"]))
    assert (parts.status_code, parts.json()) == (
        411,
        {"detail": "the request does not say its length (Content-Length)"},
    )
    assert client.get("/health").status_code == 200  # it goes on


@pytest.fixture(scope="module")
def serve():
    spec = importlib.util.spec_from_file_location("serve", REPO / "examples" / "serve.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["serve"] = module  # where FastAPI looks for what annotations name
    spec.loader.exec_module(module)
    yield module
    del sys.modules["serve"]


def test_who_comes_when_too_many_wait_is_told_so(serve):
    here, go_on = threading.Event(), threading.Event()

    class Busy:
        class_names = CLASSES

        def read(self, image, form):
            here.set()
            go_on.wait(20)
            raise InputError("the image is of the test")

    async def both():
        transport = httpx.ASGITransport(serve.make_app(Busy(), waiting=1))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as made:
            image = {"image": ("a.png", png(9, 9))}
            first = asyncio.create_task(made.post("/detect", files=image))
            await asyncio.to_thread(here.wait, 20)
            second = await made.post("/detect", files=image)
            go_on.set()
            return await first, second

    first, second = asyncio.run(both())
    assert (first.status_code, first.json()) == (400, {"detail": "the image is of the test"})
    assert (second.status_code, second.headers["retry-after"]) == (503, "1")


def test_a_model_that_is_not_there_is_one_line(serve, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["serve.py", str(tmp_path / "no.onnx")])
    assert serve.main() == 2
    assert capsys.readouterr().err == (
        f"error: weights {tmp_path / 'no.onnx'} are not there: give a file, or the address of one "
        "(hrnet-det checkpoints lists those that are published)\n"
    )
