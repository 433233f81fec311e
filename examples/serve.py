#!/usr/bin/env python3
"""A detector behind HTTP: python examples/serve.py MODEL [--port 8000].

MODEL is whatever `Detector.from_pretrained` takes: weights, or an exported file such as model.onnx.

    curl -F image=@street.jpg http://127.0.0.1:8000/detect     objects as JSON
    curl http://127.0.0.1:8000/health                          whether it runs, and its classes

http://127.0.0.1:8000/docs tries it in a browser. It needs pip install 'hrnet_det[serve]'. It has
neither passwords nor TLS: let others reach it through a proxy that has.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import uvicorn
from fastapi import FastAPI, HTTPException, Query, Request, Response, UploadFile
from fastapi.responses import JSONResponse

from hrnet_det import Detector
from hrnet_det.data.images import DAMAGE, open_image, problem_of
from hrnet_det.detector.run_lengths import coco_rows
from hrnet_det.errors import InputError, SetupError, tell

MOST_BYTES = 20_000_000  # of a request
MOST_PIXELS = 25_000_000  # of an image
WAITING = 32  # requests at most, of which others are being answered


class Service:
    """One detector for all requests.

    Threads decode images and encode masks at the same time; the detector has all cores, and takes
    one image after the other.
    """

    def __init__(self, detector: Detector) -> None:
        self.detector = detector
        self._one_at_a_time = threading.Lock()

    def detect(self, content: bytes, score: float, masks: bool) -> dict:
        """The objects in the bytes of an image file, best first, in the form of COCO results.

        Raises: InputError if it is no image, damaged or too large, or the score is not allowed.
        """
        try:
            with open_image(io.BytesIO(content)) as image:
                pixels = self.detector.read(image, "RGB")
        except InputError:
            raise
        except DAMAGE as error:
            raise InputError(f"the image {problem_of(error)}") from error
        with self._one_at_a_time:
            objects = self.detector(pixels, score=score or None)
        if objects.has("pred_masks") and not masks:
            objects.remove("pred_masks")
        names = self.detector.class_names
        rows = []
        for row in coco_rows(objects, 0):
            del row["image_id"]
            rows.append({"category": names[row["category_id"]], **row})
        height, width = objects.image_size
        return {"width": width, "height": height, "objects": rows}


def make_app(
    detector: Detector, *, most_bytes: int = MOST_BYTES, threads: int = 4, waiting: int = WAITING
) -> FastAPI:
    """The application, for uvicorn or another ASGI server."""
    app, service = FastAPI(title="hrnet_det"), Service(detector)
    pool, places = ThreadPoolExecutor(threads), asyncio.Semaphore(waiting)

    @app.middleware("http")
    async def limit_size(request: Request, then) -> Response:
        """Refuse what is too large before it is read."""
        length = request.headers.get("content-length", "")
        if request.method == "POST" and not length.isdecimal():
            return _refused(411, "the request does not say its length (Content-Length)")
        if length and int(length) > most_bytes:
            return _refused(413, f"the request has {length} bytes, more than {most_bytes}")
        return await then(request)

    @app.exception_handler(InputError)
    async def bad_input(_: Request, error: InputError) -> Response:
        return _refused(400, str(error))

    @app.get("/health")
    async def health() -> dict:
        """That it runs, and what it detects."""
        return {"status": "ok", "classes": detector.class_names}

    @app.post("/detect")
    async def detect(
        image: UploadFile,
        score: Annotated[float, Query(ge=0, le=1)] = 0.5,
        masks: bool = False,
    ) -> dict:
        """The objects of an image that score at least so much; masks as COCO's run lengths."""
        if places.locked():
            raise HTTPException(503, "too many images are waiting: try again", {"Retry-After": "1"})
        async with places:
            work = (service.detect, await image.read(), score, masks)
            return await asyncio.get_running_loop().run_in_executor(pool, *work)

    return app


def _refused(status: int, reason: str) -> Response:
    return JSONResponse({"detail": reason}, status)


def main() -> int:
    parser = argparse.ArgumentParser(description="Serve a detector over HTTP.")
    parser.add_argument("model", help="weights, or an exported file such as model.onnx")
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0: all networks (%(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="(%(default)s)")
    parser.add_argument("--threads", type=int, default=4, help="that decode (%(default)s)")
    parser.add_argument("--max-bytes", type=int, default=MOST_BYTES, help="(%(default)s)")
    parser.add_argument("--max-pixels", type=int, default=MOST_PIXELS, help="(%(default)s)")
    options = parser.parse_args()
    try:
        detector = Detector.from_pretrained(options.model, max_pixels=options.max_pixels)
    except (InputError, SetupError) as error:
        return tell(error)
    print(f"serving {Path(options.model).name}: {', '.join(detector.class_names[:6])} ...")
    app = make_app(detector, most_bytes=options.max_bytes, threads=options.threads)
    uvicorn.run(app, host=options.host, port=options.port)
    return 0


if __name__ == "__main__":
    sys.exit(main())
