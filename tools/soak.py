"""A long training of a tiny detector, and a large json: what they hold in memory, and open files.

`python -m tools.soak` trains 2,000 iterations with data workers, evaluations and checkpoints; the
status is 1 if memory grows by 1 % or more in the second half, or open files do. `--json 100000`
reads the json of as many images into a loader with workers, and says what each process holds.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from detectron2.data import DatasetCatalog
from detectron2.engine import HookBase

from hrnet_det.config.files import find_config
from hrnet_det.config.yaml import load_config
from hrnet_det.data import prepare_datasets
from hrnet_det.data.registration import register_coco
from hrnet_det.data.sampling import build_train_loader
from hrnet_det.engine import Trainer
from tools.coco_size import CLASSES, make_dataset, write_json

CONFIG = "hrnetv2p_faster_rcnn.yaml"
SIZE = (64, 64)  # of images, pixels
MOST = 0.01  # growth of memory that is allowed
PERIOD = 20  # iterations between samples
TINY = """
MODEL.DEVICE cpu MODEL.HRNET.VARIANT w18_small_v1 MODEL.HRFPN.OUT_CHANNELS 16
MODEL.RPN.PRE_NMS_TOPK_TRAIN 50 MODEL.RPN.POST_NMS_TOPK_TRAIN 20 MODEL.RPN.BATCH_SIZE_PER_IMAGE 16
MODEL.RPN.PRE_NMS_TOPK_TEST 50 MODEL.RPN.POST_NMS_TOPK_TEST 20
MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE 8 MODEL.ROI_BOX_HEAD.FC_DIM 16 TEST.DETECTIONS_PER_IMAGE 10
INPUT.MIN_SIZE_TRAIN (64,) INPUT.MAX_SIZE_TRAIN 64 INPUT.MIN_SIZE_TEST 64 INPUT.MAX_SIZE_TEST 64
SOLVER.IMS_PER_BATCH 1 SOLVER.OPTIMIZER SGD SOLVER.BASE_LR 0.001 SOLVER.STEPS ()
SOLVER.CHECKPOINTS_KEPT 2 SEED 1
""".split()  # noqa: SIM905


class Sample(NamedTuple):
    """What a training holds after an iteration: bytes of it and its workers, open files of it."""

    iteration: int
    memory: int
    files: int


class Watch(HookBase):
    """Takes a Sample from time to time."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []

    def after_step(self) -> None:
        if (self.trainer.iter + 1) % PERIOD == 0:
            memory = sum(held(pid) for pid in (os.getpid(), *children()))
            files = len(os.listdir("/proc/self/fd"))
            self.samples.append(Sample(self.trainer.iter + 1, memory, files))


def held(pid: int, kinds: tuple[str, ...] = ("Pss:",)) -> int:
    """Bytes of a process; by default pages that it shares are divided among those who do (PSS)."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(kinds))


def children() -> list[int]:
    return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]


def growth(samples: Sequence[Sample]) -> float:
    """Of memory in the second half: the median of its last quarter over its first one's, less 1."""
    second = [sample.memory for sample in samples[len(samples) // 2 :]]
    quarter = max(1, len(second) // 4)
    return statistics.median(second[-quarter:]) / statistics.median(second[:quarter]) - 1


def files_are_constant(samples: Sequence[Sample]) -> bool:
    """Whether the median of open files is the same in both parts of the second half."""
    second = [sample.files for sample in samples[len(samples) // 2 :]]
    quarter = max(1, len(second) // 4)
    return statistics.median(second[-quarter:]) == statistics.median(second[:quarter])


def train(folder: Path, iterations: int, workers: int) -> list[Sample]:
    """A training in this process, evaluated and saved four times."""
    path = make_dataset(folder, 16, SIZE)
    words = [*TINY, "OUTPUT_DIR", str(folder / "out"), "SOLVER.MAX_ITER", str(iterations)]
    words += ["DATALOADER.NUM_WORKERS", str(workers)]
    for split in ("TRAIN", "TEST"):
        words += [f"DATASETS.CUSTOM.{split}_JSON", str(path)]
        words += [f"DATASETS.CUSTOM.{split}_IMAGES", str(folder / "images")]
    for key in ("SOLVER.CHECKPOINT_PERIOD", "TEST.EVAL_PERIOD"):
        words += [key, str(max(1, iterations // 4))]
    cfg = load_config(find_config(CONFIG), words)
    cfg.MODEL.HRNET.NORM_EVAL = False
    prepare_datasets(cfg)
    (folder / "out").mkdir()
    trainer, watch = Trainer(cfg), Watch()
    trainer.register_hooks([watch])
    trainer.train()
    return watch.samples


def read_json(folder: Path, images: int, workers: int) -> None:
    """Print what a loader of as many images holds, in this process and its workers."""
    path = write_json(folder / "large.json", images, (480, 640))
    print(f"{images:,} images: a json of {path.stat().st_size / 1e6:,.0f} MB")
    start = time.perf_counter()
    classes = [f"class {number}" for number in range(1, CLASSES + 1)]
    register_coco("soak_large", json_file=path, image_root=folder, classes=classes)
    rows = DatasetCatalog.get("soak_large")
    print(f"{len(rows):,} rows read in {time.perf_counter() - start:.0f} s")
    loader = build_train_loader(rows, mapper=dict, total_batch_size=2, num_workers=workers)
    del rows
    batches, others = iter(loader), set(children())
    for _ in range(500):
        next(batches)
    own = set(children()) - others
    everyone = held(os.getpid()) + sum(map(held, own))
    alone = [held(pid, ("Private_",)) for pid in own]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(f"all processes hold {everyone / 1e6:,.0f} MB, while reading {peak / 1e6:,.0f} MB")
    print(f"{len(alone)} workers, MB of each alone: {', '.join(f'{x / 1e6:,.0f}' for x in alone)}")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--iterations", type=int, default=2000, help="(%(default)s)")
    parser.add_argument("--workers", type=int, default=1, help="data workers (%(default)s)")
    parser.add_argument("--json", type=int, metavar="IMAGES", help="read a json instead")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        if arguments.json:
            read_json(Path(name), arguments.json, arguments.workers)
            return
        samples = train(Path(name), arguments.iterations, arguments.workers)
    step = max(1, len(samples) // 20)
    for sample in samples[step - 1 :: step]:
        print(f"{sample.iteration:6} {sample.memory / 1e6:8.1f} MB {sample.files:4} open files")
    grown, constant = growth(samples), files_are_constant(samples)
    print(f"memory over the second half: {grown:+.2%}; open files constant: {constant}")
    if grown >= MOST or not constant:
        sys.exit(1)


if __name__ == "__main__":
    main()
