"""How fast `hrnet-det predict` is on many images, and what it holds in memory.

`python -m tools.predict_many --images 5000` generates small JPEG images and predicts on them with a
small mask detector of random weights, which finds a few objects in each; of every 1,000 images it
prints how many were done in a second, and the memory of the process. That varies with the images
that wait to be drawn, of which there is a bound; the status is 1 if the most of the second half
is 5 % or more above the most of the first.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from detectron2.modeling import build_model

from hrnet_det.analysis.tables import parse_size
from hrnet_det.config.files import find_config
from hrnet_det.config.yaml import load_config
from hrnet_det.detector import Detector
from hrnet_det.predict import check_request, predictions
from tools.coco_size import SMALL, make_dataset
from tools.soak import TINY, Sample, held

CONFIG = "hrnetv2p_mask_rcnn.yaml"
FOUND = 3  # objects in each image
MOST = 0.05  # growth of memory that is allowed
STEP = 1000  # images between lines
SAMPLES = 200  # of memory, over all images


def random_detector(device: str) -> Detector:
    """A mask detector of random weights that finds FOUND objects in any image."""
    words = [*TINY, "MODEL.DEVICE", device, "TEST.DETECTIONS_PER_IMAGE", str(FOUND)]
    words += ["MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.0", "MODEL.ROI_MASK_HEAD.CONV_DIM", "16"]
    cfg = load_config(find_config(CONFIG), words)
    return Detector(build_model(cfg).eval(), cfg, [f"class {number}" for number in range(80)])


def measured(detector: Detector, folder: Path, output: Path, batch: int) -> Iterator[Sample]:
    """Predict on a folder, and say what the process holds from time to time."""
    plan = check_request([folder], output, score=0)
    total, begin, last = len(plan.sources), time.perf_counter(), time.perf_counter()
    for done, _ in enumerate(predictions(detector, plan, batch=batch), 1):
        if done % STEP == 0 or done == total:
            now, images = time.perf_counter(), (done - 1) % STEP + 1
            memory, files = held(os.getpid()), len(os.listdir("/proc/self/fd"))
            speed = f"{images / (now - last):6.1f} images/s"
            line = f"{done:8,} images {speed} {memory / 1e6:8.1f} MB {files:4} open files"
            print(line, flush=True)
            last = now
        if done % max(1, total // SAMPLES) == 0:
            yield Sample(done, held(os.getpid()), len(os.listdir("/proc/self/fd")))
    print(f"all: {total / (time.perf_counter() - begin):.1f} images/s")


def growth(samples: Sequence[Sample]) -> float:
    """The most memory in the second half over the most in the first, less 1."""
    memory, half = [sample.memory for sample in samples], len(samples) // 2
    return max(memory[half:]) / max(memory[:half]) - 1


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--images", type=int, default=5000, help="(%(default)s)")
    parser.add_argument("--size", default=SMALL, metavar="HxW", help="of them (%(default)s)")
    parser.add_argument("--batch", type=int, default=1, help="images at once (%(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (%(default)s)")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        folder, output = Path(name), Path(name, "output")
        make_dataset(folder, arguments.images, parse_size(arguments.size))
        detector = random_detector(arguments.device)
        samples = list(measured(detector, folder / "images", output, arguments.batch))
        rows = len(json.loads((output / "predictions.json").read_text()))
        drawings = len(list(output.glob("*.png")))
    print(f"{drawings:,} drawings, {rows:,} rows of predictions.json")
    grown = growth(samples)
    print(f"most memory of the second half beside the first: {grown:+.2%}")
    if grown >= MOST:
        sys.exit(1)


if __name__ == "__main__":
    main()
