"""Each check before a start: what it changes and says, and what it refuses."""

import json
import math
import sys
from types import SimpleNamespace

import huggingface_hub
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets.builtin_meta import COCO_CATEGORIES
from helpers.tiny import TINY, custom
from huggingface_hub import constants

from hrnet_det.config import settings
from hrnet_det.config.load import load_run
from hrnet_det.data.datasets import Splits
from hrnet_det.engine import preflight, start
from hrnet_det.engine.job import Job
from hrnet_det.errors import InputError, MissingInputError

FASTER = "hrnetv2p_faster_rcnn.yaml"
LAZY = "COCO-Detection/faster_rcnn_hrnetv2p_w18_1x.py"


def job(*overrides, config=FASTER, **options):
    return Job(load_run(config, [str(word) for word in overrides]), **options)


def refusal(check, job, kind=InputError):
    with pytest.raises(kind) as error:
        check(job)
    return str(error.value)


def test_every_check_runs_in_one_order():
    names = [check.__name__ for check in preflight.CHECKS]
    assert names[:2] == ["check_output", "check_device"] and len(set(names)) == len(names)
    defined = {name for name in vars(preflight) if name.startswith(("check_", "fit_", "follow_"))}
    imported = {"check_images", "check_labels", "check_evaluator", "check_conventions"}
    imported |= {"check_proposal_files"}
    assert set(names) == defined - imported


# --- device ---


@pytest.mark.parametrize("config", [FASTER, LAZY])
def test_without_a_gpu_the_cpu_takes_its_place(config, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    given = job(config=config)
    preflight.check_device(given)
    assert given.run[settings.DEVICE] == "cpu"
    (note,) = given.run.notes
    assert note in capsys.readouterr().out and note.startswith("No GPU here: running on the CPU")


def test_a_device_that_torch_does_not_know():
    message = refusal(preflight.check_device, job("MODEL.DEVICE", "gpu"))
    assert "MODEL.DEVICE 'gpu'" in message
    message = refusal(preflight.check_device, job("train.device=gpu", config=LAZY))
    assert "train.device 'gpu'" in message


# --- numbers ---


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        (settings.MAX_ITER, 0),
        (settings.MAX_ITER, -5),
        (settings.BASE_LR, -0.1),
        (settings.BASE_LR, math.nan),
        (settings.BASE_LR, math.inf),
        (settings.NUM_WORKERS, -1),
        (settings.CHECKPOINT_PERIOD, 0),
        (settings.CHECKPOINTS_KEPT, -1),
        (settings.EVAL_PERIOD, -1),
    ],
)
@pytest.mark.parametrize("config", [FASTER, LAZY])
def test_numbers_that_cannot_be(setting, value, config):
    given = job(config=config)
    given.run[setting] = value
    message = refusal(preflight.check_numbers, given)
    assert message.startswith(given.run.shown(setting)) and "must be" in message
    preflight.check_numbers(job(config=config))  # as it is shipped


def test_an_evaluation_needs_no_schedule():
    preflight.check_numbers(job("SOLVER.MAX_ITER", 0, trains=False))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("INPUT.MIN_SIZE_TRAIN", "()"),
        ("INPUT.MIN_SIZE_TRAIN", "(1,)"),
        ("INPUT.MIN_SIZE_TRAIN", "(-800,)"),
        ("INPUT.MIN_SIZE_TRAIN", "(800, 0)"),
        ("INPUT.MAX_SIZE_TRAIN", "-1"),
        ("INPUT.MIN_SIZE_TEST", "-1"),
        ("INPUT.MAX_SIZE_TEST", "0"),
    ],
)
def test_image_sizes_that_cannot_be(key, value):
    message = refusal(preflight.check_input, job(key, value))
    assert message.startswith(f"{key} ") and "at least 32" in message


def test_sampling_of_image_sizes():
    words = ["INPUT.MIN_SIZE_TRAIN_SAMPLING", "range", "INPUT.MIN_SIZE_TRAIN"]
    preflight.check_input(job(*words, "(640, 800)"))
    assert "range" in refusal(preflight.check_input, job(*words, "(640,)"))
    preflight.check_input(job("INPUT.MIN_SIZE_TEST", 0))  # images keep their size


# --- batch ---


@pytest.mark.parametrize(
    ("batch", "steps", "gpus", "named"),
    [
        (3, 1, 2, settings.BATCH_SIZE),
        (0, 1, 1, settings.BATCH_SIZE),
        (8, 3, 1, settings.ACCUMULATION_STEPS),
        (8, 8, 2, settings.ACCUMULATION_STEPS),
        (8, 0, 1, settings.ACCUMULATION_STEPS),
    ],
)
@pytest.mark.parametrize("config", [FASTER, LAZY])
def test_batches_that_cannot_be_shared(batch, steps, gpus, named, config):
    given = job(config=config, num_gpus=gpus)
    given.run[settings.BATCH_SIZE], given.run[settings.ACCUMULATION_STEPS] = batch, steps
    assert refusal(preflight.check_batch, given).startswith(given.run.shown(named))


def test_a_batch_that_is_scaled_is_shared_by_the_gpus_of_the_recipe():
    words = ["SOLVER.IMS_PER_BATCH", 16, "SOLVER.REFERENCE_WORLD_SIZE", 8]
    preflight.check_batch(job(*words, num_gpus=3))


# --- datasets: only those that the run uses ---


@pytest.fixture
def val_alone(tmp_path, monkeypatch):
    """COCO's val2017 with its json; nothing of train2017."""
    folder = tmp_path / "coco"
    (folder / "annotations").mkdir(parents=True)
    (folder / "val2017").mkdir()
    things = [row for row in COCO_CATEGORIES if row["isthing"]]
    (folder / "annotations" / "instances_val2017.json").write_text(
        json.dumps({"categories": things})
    )
    for name in ("coco_2017_val", "coco_2017_train", "coco_2017_train_stuffthing"):
        metadata = MetadataCatalog.get(name)
        for key in ("json_file", "image_root", "panoptic_json", "panoptic_root", "sem_seg_root"):
            if path := metadata.get(key):
                moved = str(tmp_path / path.partition("datasets/")[2])
                monkeypatch.setitem(metadata.__dict__, key, moved)
    return folder


@pytest.mark.parametrize(
    "config", [FASTER, LAZY, "htc_hrnetv2p_w18_20e", "htc_hrnetv2p_w18_20e.py"]
)
def test_an_evaluation_looks_at_its_own_split_alone(config, val_alone):
    given = job(config=config, trains=False)
    preflight.check_datasets(given)
    preflight.check_learning(given)
    assert given.splits == Splits((), ("coco_2017_val",))
    message = refusal(preflight.check_datasets, job(config=config), MissingInputError)
    assert "train2017" in message and "val2017  (found)" in message


def test_a_published_htc_with_183_classes_is_evaluated(val_alone):
    words = ["MODEL.SEM_SEG_HEAD.NUM_CLASSES", 183, "MODEL.CONVENTIONS", "mmdet"]
    given = job(*words, config="htc_hrnetv2p_w18_20e", trains=False)
    preflight.check_datasets(given)
    assert given.run.cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES == 183


def test_nothing_to_train_or_test_on():
    assert "DATASETS.TRAIN is empty" in refusal(
        preflight.check_datasets, job("DATASETS.TRAIN", "()", "DATASETS.TEST", "()")
    )
    assert "DATASETS.TEST is empty" in refusal(
        preflight.check_datasets, job("DATASETS.TEST", "()", trains=False)
    )


# --- classes: what a shipped config states is not the user's statement ---


def test_classes_follow_the_data_past_a_shipped_base(coco, capsys):
    two = json.loads((coco / "keypoints.json").read_text())
    two["categories"].append({**two["categories"][0], "id": 9, "name": "bar"})
    path = coco / "two_kinds_of_keypoints.json"
    path.write_text(json.dumps(two))
    words = [*TINY, *custom(coco, path.name), "TEST.KEYPOINT_OKS_SIGMAS", "[0.1, 0.1, 0.1]"]
    given = job(*words, config="Base-Keypoint-RCNN-HRNetV2p.yaml")
    preflight.check_datasets(given)
    assert given.run.cfg.MODEL.ROI_HEADS.NUM_CLASSES == 2
    assert "MODEL.ROI_HEADS.NUM_CLASSES 2, as custom_train has." in given.run.notes
    assert given.run.notes[0] in capsys.readouterr().out


def test_a_stated_number_of_classes_that_contradicts_the_data(coco, tmp_path):
    words = [*TINY, *custom(coco, "boxes.json")]
    typed = job(*words, "MODEL.ROI_HEADS.NUM_CLASSES", 7)
    message = refusal(preflight.check_datasets, typed)
    assert message.startswith("MODEL.ROI_HEADS.NUM_CLASSES is 7, but custom_train has 3 classes")
    own = tmp_path / "own.yaml"
    own.write_text("_BASE_: hrnetv2p.yaml\n".replace("hrnetv2p.yaml", str(config_path(FASTER))))
    preflight.check_datasets(job(*words, config=str(own)))
    own.write_text(own.read_text() + "MODEL: {ROI_HEADS: {NUM_CLASSES: 7}}\n")
    assert "is 7, but" in refusal(preflight.check_datasets, job(*words, config=str(own)))


def config_path(name):
    from hrnet_det.config.files import find_config

    return find_config(name)


@pytest.fixture
def semantic_labels(tmp_path):
    """Two registered datasets with four semantic classes."""
    (tmp_path / "labels").mkdir()
    names = ("mine_train", "mine_val")
    for name in names:
        DatasetCatalog.register(name, lambda: [])
        MetadataCatalog.get(name).set(
            evaluator_type="sem_seg",
            image_root=str(tmp_path),
            sem_seg_root=str(tmp_path / "labels"),
            stuff_classes=["a", "b", "c", "d"],
            ignore_label=255,
        )
    yield names
    for name in names:
        DatasetCatalog.remove(name)
        MetadataCatalog.pop(name)


def test_semantic_classes_and_their_weights_follow_the_data(semantic_labels):
    train, test = semantic_labels
    words = ["DATASETS.TRAIN", f"('{train}',)", "DATASETS.TEST", f"('{test}',)"]
    given = job(*words, config="Cityscapes/semantic_hrnetv2_w48.yaml")
    assert len(given.run.cfg.MODEL.SEM_SEG_HEAD.CLASS_WEIGHTS) == 19
    preflight.check_datasets(given)
    preflight.check_learning(given)
    head = given.run.cfg.MODEL.SEM_SEG_HEAD
    assert (head.NUM_CLASSES, head.CLASS_WEIGHTS) == (4, [])
    assert len(given.run.notes) == 2 and "CLASS_WEIGHTS []" in given.run.notes[1]
    stated = job(*words, "MODEL.SEM_SEG_HEAD.CLASS_WEIGHTS", "[1.0, 2.0]",
                 config="Cityscapes/semantic_hrnetv2_w48.yaml")  # fmt: skip
    assert "CLASS_WEIGHTS has 2 values" in refusal(preflight.check_datasets, stated)


# --- norms and weights ---


@pytest.mark.parametrize(
    "key", ["MODEL.HRNET.NORM", "MODEL.HRFPN.NORM", "MODEL.SEM_SEG_HEAD.NORM", "MODEL.FCOS.NORM"]
)
def test_torchs_syncbn_needs_gpus(key):
    words = ["MODEL.DEVICE", "cpu", key, "SyncBN", "MODEL.HRNET.NORM_EVAL", False]
    message = refusal(preflight.check_norms, job(*words, num_gpus=2))
    assert message.startswith(f"{key} SyncBN") and f"{key} naiveSyncBN" in message
    preflight.check_norms(job(*words))  # one process
    preflight.check_norms(job(*words[:2], key, "naiveSyncBN", *words[4:], num_gpus=2))


@pytest.mark.parametrize(
    ("config", "weights"),
    [
        ("faster_rcnn_hrnetv2p_w18_1x", "timm://hrnet_w18"),
        (FASTER, "timm://hrnet_w32"),
        ("faster_rcnn_hrnetv2p_w48_1x", "timm://hrnet_w48"),
        (LAZY, "timm://hrnet_w18"),
    ],
)
def test_without_weights_the_variants_own_are_named(config, weights):
    given = job(config=config)
    start.check_weights(given)
    assert given.run[settings.NORM_EVAL] is False
    (note,) = given.run.notes
    assert given.run.name(settings.WEIGHTS) in note and weights in note
    assert given.run.shown(settings.NORM_EVAL, False) in note


@pytest.fixture
def hub(monkeypatch):
    """Hugging Face's hub within reach, which has every file; returns what it is asked for."""
    asked = []
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    session = SimpleNamespace(head=lambda url, timeout: asked.append((url, timeout)))
    monkeypatch.setattr(huggingface_hub, "get_session", lambda: session)
    monkeypatch.setattr(
        huggingface_hub, "hf_hub_download", lambda *words: asked.append(words) or "/local"
    )
    return asked


@pytest.mark.parametrize("variant", ["w18", "w32"])
def test_imagenet_weights_are_those_of_the_variant(hub, variant):
    given = job("MODEL.HRNET.VARIANT", variant, config="custom/faster_rcnn.yaml")
    start.check_weights(given)
    assert hub[0] == ("https://huggingface.co", 5)
    assert hub[1] == (f"timm/hrnet_{variant}.ms_in1k", "model.safetensors")
    assert given.run[settings.WEIGHTS] == f"timm://hrnet_{variant}.ms_in1k"
    assert given.run[settings.NORM_EVAL] is True
    (note,) = given.run.notes
    assert note == f"MODEL.WEIGHTS timm://hrnet_{variant}.ms_in1k: ImageNet weights of the variant."


@pytest.mark.parametrize("lacking", ["connection", "package", "file"])
def test_imagenet_weights_that_cannot_be_had_are_named(hub, monkeypatch, lacking):
    def fail(*_, **__):
        raise OSError("no route to host")

    if lacking == "connection":
        monkeypatch.setattr(huggingface_hub, "get_session", fail)
    elif lacking == "file":
        monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
    else:
        monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    given = job(config="custom/faster_rcnn.yaml")
    start.check_weights(given)
    assert given.run[settings.WEIGHTS] == "" and given.run[settings.NORM_EVAL] is False
    named, trained = given.run.notes
    assert named.startswith("ImageNet weights cannot be fetched (") and "\n" not in named
    assert "https://huggingface.co/timm/hrnet_w18.ms_in1k/resolve/main/model.safetensors" in named
    assert named.endswith("and set MODEL.WEIGHTS model.safetensors.")
    assert trained == (
        "MODEL.WEIGHTS is empty: training from random weights, so norm statistics are trained too "
        "(MODEL.HRNET.NORM_EVAL False)."
    )


def test_a_recipe_starts_from_imagenet_weights_or_not_at_all(hub, monkeypatch):
    name, recipe = "faster_rcnn_hrnetv2p_w18_1x", ("SOLVER.RECIPE", "mmdet")
    given = job(*recipe, config=name)
    start.check_weights(given)
    assert given.run[settings.WEIGHTS] == "timm://hrnet_w18.ms_in1k"
    assert given.run.notes[0] == (
        "SOLVER.RECIPE mmdet: optimiser and schedule of its training on COCO, and the rules of "
        "MODEL.CONVENTIONS mmdet."
    )
    changed = job(*recipe, "SOLVER.MAX_ITER", 9, "MODEL.CONVENTIONS", "detectron2", config=name)
    start.check_weights(changed)
    assert changed.run.notes[0].endswith(
        "and the rules of MODEL.CONVENTIONS detectron2; yours are SOLVER.MAX_ITER 9."
    )
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    message = refusal(start.check_weights, job(*recipe, config=name))
    assert message.startswith("SOLVER.RECIPE mmdet starts from ImageNet weights, which cannot be ")
    assert message.endswith("random weights, which are not as published: MODEL.WEIGHTS ''")
    assert "elsewhere and set MODEL.WEIGHTS model.safetensors" in message
    random = job(*recipe, "MODEL.WEIGHTS", "", config=name)
    start.check_weights(random)
    assert random.run[settings.NORM_EVAL] is False


def test_no_imagenet_weights_are_fetched_to_resume_or_evaluate(hub, tmp_path):
    torch.save({"model": {"w": torch.zeros(1)}}, tmp_path / "model_0000009.pth")
    (tmp_path / "last_checkpoint").write_text("model_0000009.pth")
    words = ("OUTPUT_DIR", tmp_path, "MODEL.HRNET.NORM_EVAL", False)
    for options in ({"resume": True}, {"trains": False}):
        given = job(*words, config="custom/faster_rcnn.yaml", **options)
        start.check_weights(given)
        assert given.run[settings.WEIGHTS] == "" and not hub and not given.run.notes


def test_frozen_stages_without_weights():
    message = refusal(start.check_weights, job("MODEL.BACKBONE.FREEZE_AT", 2))
    assert message.startswith("MODEL.BACKBONE.FREEZE_AT 2")


# --- evaluation ---


def test_augmentation_that_detectron2_would_not_follow():
    words = ["TEST.AUG.ENABLED", True, "MODEL.DEVICE", "cpu"]
    for config in ("keypoint_rcnn_hrnetv2p_w18_1x", "fcos_hrnetv2p_w18_1x"):
        message = refusal(preflight.check_evaluation, job(*words, config=config))
        assert message.startswith("TEST.AUG.ENABLED")
    mmdet = job(*words, "MODEL.CONVENTIONS", "mmdet")
    assert "with mmdet" in refusal(preflight.check_evaluation, mmdet)
    preflight.check_evaluation(job(*words))


def test_forms_of_evaluation_that_contradict_each_other():
    words = ["MODEL.DEVICE", "cpu", "TEST.DTYPE", "bfloat16", "TEST.OPTIMIZED", False]
    assert refusal(preflight.check_evaluation, job(*words)).startswith("TEST.DTYPE bfloat16")
    lazy = job("train.device=cpu", "train.test.dtype=int4", config=LAZY)
    assert "train.test.dtype 'int4'" in refusal(preflight.check_evaluation, lazy)
