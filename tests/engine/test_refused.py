"""What is refused before anything runs, and what an earlier run has left."""

import re

import pytest
import timm
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from helpers.tiny import (
    TINY,
    custom,
    metrics_rows,
    train_net,
)
from helpers.training import FASTER, words

from hrnet_det.config.yaml import load_config
from hrnet_det.engine import preflight
from hrnet_det.engine.train import build_parser as train_parser
from hrnet_det.engine.train import load_job
from hrnet_det.errors import InputError


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--num-gpus=2", "SOLVER.IMS_PER_BATCH", 3], "SOLVER.IMS_PER_BATCH 3: so many images "
         "cannot be shared equally among 2 processes: take a positive multiple of 2"),
        (["SOLVER.IMS_PER_BATCH", 0], "SOLVER.IMS_PER_BATCH 0: so many images cannot be shared"),
        (["--num-gpus=0"], "--num-gpus 0: give at least 1 (without GPUs: processes on the CPU)"),
        (["--num-gpus=2", "MODEL.HRNET.NORM", "SyncBN"], "MODEL.HRNET.NORM SyncBN: torch's SyncBN "
         "needs GPUs; on the CPU take MODEL.HRNET.NORM naiveSyncBN"),
        (["--num-gpus=2", "MODEL.HRFPN.NORM", "SyncBN"], "MODEL.HRFPN.NORM SyncBN: torch's SyncBN "
         "needs GPUs"),
        (["MODEL.HRNET.NORM", "SyncBN", "MODEL.WEIGHTS", "w.pth"], "MODEL.HRNET.NORM SyncBN with "
         "MODEL.HRNET.NORM_EVAL True has fixed statistics"),
        (["SOLVER.REFERENCE_WORLD_SIZE", -1], "SOLVER.REFERENCE_WORLD_SIZE -1: must be the "
         "GPUs of the recipe, or 0 for no scaling"),
        (["SOLVER.MAX_ITER", "None"], "command line: SOLVER.MAX_ITER needs a value, not None"),
        (["TEST.AUG.ENABLED", "True", "INPUT.RESIZE", "opencv"], "TEST.AUG.ENABLED: Detectron2's "
         "test-time augmentation resizes with INPUT.RESIZE pillow, not opencv"),
        (["MODEL.DEVICE", "gpu"], "MODEL.DEVICE 'gpu' is not a device of torch: cuda, cpu, ..."),
        (["MODEL.BACKBONE.FREEZE_AT", 2], "MODEL.BACKBONE.FREEZE_AT 2 without MODEL.WEIGHTS would "
         "freeze random weights: give weights, or set it to 0"),
        (["--eval-only"], "--eval-only without weights would evaluate random ones: add "
         "MODEL.WEIGHTS path/to/model_final.pth, or --resume for the last checkpoint of"),
        (["--eval-only", "MODEL.WEIGHTS", "no.pth"], "weights no.pth are not there"),
        (["MODEL.WEIGHTS", "no.pth"], "weights no.pth are not there"),
        (["MODEL.HRNET.VARIANT", "w33"], "the model of this config cannot be built: unknown HRNet "
         "variant 'w33'; known: w18_small_v1"),
        (["SOLVER.CLIP_GRADIENTS.CLIP_TYPE", "all"], "SOLVER.CLIP_GRADIENTS.CLIP_TYPE 'all': "
         "value, norm or full_model"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused(coco, tmp_path, more, message):
    outcome = train_net(*words(coco, tmp_path / "out", *more))
    assert outcome.code == 2
    assert outcome.err.count("error: ") == 1
    assert f"error: {message}" in outcome.err
    assert not list((tmp_path / "out").glob("*.pth"))


def test_a_side_of_the_data_that_is_not_there(coco, tmp_path):
    outcome = train_net(*words(coco, tmp_path, splits=["TEST"]))
    assert outcome.err == "error: DATASETS.TRAIN is empty: name a dataset to train on\n"
    outcome = train_net(*words(coco, tmp_path, "--eval-only", splits=["TRAIN"]))
    assert outcome.err == ("error: DATASETS.TEST is empty: name a dataset to test on\n")


def test_an_evaluator_that_is_not_here_is_refused_before_training(coco, tmp_path):
    DatasetCatalog.register("tiny_own", list)
    MetadataCatalog.get("tiny_own").set(evaluator_type="own", thing_classes=["a"])
    try:
        sets = ["DATASETS.TRAIN", "('tiny_own',)", "DATASETS.TEST", "('tiny_own',)"]
        outcome = train_net("--config-file", FASTER, *TINY, "OUTPUT_DIR", tmp_path, *sets)
    finally:
        DatasetCatalog.remove("tiny_own")
        MetadataCatalog.remove("tiny_own")
    assert (outcome.code, outcome.err) == (
        2, "error: dataset tiny_own wants the evaluator 'own'; there are coco, lvis, pascal_voc, "
        "sem_seg, coco_panoptic_seg, coco_panoptic_standard, cityscapes_panoptic_seg, "
        "cityscapes_instance, cityscapes_sem_seg (its metadata's evaluator_type)\n"
    )  # fmt: skip


def test_no_gpu_is_one_line(coco, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    outcome = train_net(*words(coco, tmp_path, "MODEL.DEVICE", "cuda", "SOLVER.MAX_ITER", 1,
                               splits=["TRAIN"]))  # fmt: skip
    assert outcome.code == 0
    line = "No GPU here: running on the CPU instead of MODEL.DEVICE cuda."
    assert [text for text in outcome.out.splitlines() if "GPU" in text][:1] == [line]
    assert outcome.out.count(line) == 1
    assert load_config(tmp_path / "config.yaml").MODEL.DEVICE == "cpu"


# --- what an earlier run has left ---


@pytest.mark.parametrize("name", ["metrics.json", "model_final.safetensors"])
def test_a_folder_in_the_place_of_a_file_of_the_run(name, coco, tmp_path):
    (tmp_path / "output" / name).mkdir(parents=True)
    outcome = train_net(*words(coco, tmp_path / "output"))
    assert (outcome.code, outcome.err) == (
        2,
        f"error: OUTPUT_DIR {tmp_path}/output: a run writes a file {tmp_path}/output/{name}, which "
        "is a folder: give another OUTPUT_DIR\n",
    )


def test_an_earlier_run_is_set_aside_and_evaluation_keeps_the_config(coco, tmp_path):
    output = tmp_path / "output"
    assert train_net(*words(coco, output, "SOLVER.MAX_ITER", 1)).code == 0
    before = {
        name: (output / name).read_bytes()
        for name in ("metrics.json", "results.json", "last_checkpoint", "model_final.pth")
    }
    own = ["MODEL.WEIGHTS", output / "model_final.pth"]
    outcome = train_net(*words(coco, output, *own))  # which it would rename before it reads them
    assert outcome.code == 2 and "model_final.pth is of an earlier run in OUTPUT_DIR" in outcome.err
    for wrong in (["MODEL.WEIGHTS", coco / "boxes.json"], ["MODEL.ROI_BOX_HEAD.NAME", "None"]):
        outcome = train_net(*words(coco, output, *wrong))
        assert outcome.code != 0
        assert not list(output.glob("*.previous"))
        assert before == {name: (output / name).read_bytes() for name in before}
    outcome = train_net(*words(coco, output, "SOLVER.MAX_ITER", 2, splits=["TRAIN"]))
    assert outcome.code == 0
    assert "DATASETS.TEST is empty: the detector is trained, but never evaluated" in outcome.out
    for name, content in before.items():
        assert (output / f"{name}.previous").read_bytes() == content
    assert not (output / "results.json").exists() and not (output / "model_best.pth").exists()
    assert [row["iteration"] for row in metrics_rows(output)] == [1]
    config = (output / "config.yaml").read_text()
    weights = ["MODEL.WEIGHTS", output / "model_final.pth"]
    outcome = train_net(
        *words(coco, output, "--eval-only", *weights, "TEST.DETECTIONS_PER_IMAGE", 5)
    )
    assert outcome.code == 0
    assert (output / "config.yaml").read_text() == config


def test_evaluating_an_imagenet_backbone_is_refused(coco, tmp_path):
    weights = tmp_path / "imagenet.pth"
    torch.save(timm.create_model("hrnet_w18_small").state_dict(), weights)
    outcome = train_net(*words(coco, tmp_path / "o", "--eval-only", "MODEL.WEIGHTS", weights))
    assert outcome.code == 2
    assert "--eval-only, but a part of the detector would be random" in outcome.err
    assert (
        f"{weights}: ImageNet classification (official or timm): HRNet w18_small_v1" in outcome.err
    )
    assert re.search(r"^box head +0 of 8 +missing in the file: random$", outcome.err, re.MULTILINE)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--num-gpus=2", "MODEL.DEVICE", "cuda:1"],
            "MODEL.DEVICE cuda:1 is one GPU, but there are 2",
        ),
        (
            ["MODEL.DEVICE", "cuda:2"],
            "MODEL.DEVICE cuda:2, but this machine's GPUs are cuda:0 to cuda:1",
        ),
        (["--num-gpus=3", "MODEL.DEVICE", "cuda"], "--num-gpus 3, but this machine has 2"),
        (
            ["--num-machines=2", "--dist-url=tcp://host:1", "MODEL.DEVICE", "cpu"],
            "the processes would be started for GPUs",
        ),
        (
            ["MODEL.DEVICE", "mps", "SOLVER.AMP.ENABLED", "True"],
            "SOLVER.AMP.ENABLED True is for cuda and",
        ),
    ],
)
def test_devices_that_do_not_fit(coco, tmp_path, monkeypatch, words, message):
    """As on a machine of two GPUs."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    options = [word for word in words if word.startswith("--")]
    data = custom(coco, "boxes.json")
    overrides = [*TINY, *data, "OUTPUT_DIR", str(tmp_path), *words[len(options) :]]
    args = train_parser().parse_args(["--config-file", FASTER, *options, *overrides])
    with pytest.raises(InputError) as error:
        preflight.preflight(load_job(args))
    assert message in str(error.value)
