"""Commands of configs' headers and of pages, and what runs print under "Next:", run to their end.

Outside of a checkout, on data that is laid out as COCO and Cityscapes are and with weights from a
stand-in of Hugging Face's hub. Only sizes, heads, iterations and the numbers of blocks, modules and
GPUs are smaller, and the least score is 0, as what has learnt for one iteration is sure of nothing.
"""

import json
import shlex
import shutil
from pathlib import Path

import pytest
import torch
from detectron2.data.datasets.pascal_voc import CLASS_NAMES as VOC_CLASSES
from helpers.coco_shape import (
    datasets_at,
    stand_in_hub,
    write_cityscapes,
    write_coco,
    write_semantic_labels,
)
from helpers.commands import all_shown, header_of
from helpers.finds import noise
from helpers.stand_ins import write_voc
from helpers.tiny import make_coco, train_net
from helpers.videos import write_video
from safetensors.torch import load_file

from hrnet_det import model_zoo
from hrnet_det.checkpoint.addresses import SECOND_SET, find_weights
from hrnet_det.checkpoint.convert import convert
from hrnet_det.cli import main
from hrnet_det.config.load import load_run
from hrnet_det.engine.preflight import check_device, preflight
from hrnet_det.engine.train import build_parser as train_parser
from hrnet_det.engine.train import load_job
from hrnet_det.modeling.backbone.variants import IMAGENET_WEIGHTS
from hrnet_det.modeling.kinds import KINDS, kind_of

SMALL = """
MODEL.RPN.POST_NMS_TOPK_TRAIN 50
MODEL.RPN.POST_NMS_TOPK_TEST 20
MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE 16
MODEL.ROI_HEADS.SCORE_THRESH_TEST 0.0
MODEL.RETINANET.SCORE_THRESH_TEST 0.0
MODEL.FCOS.SCORE_THRESH_TEST 0.0
TEST.DETECTIONS_PER_IMAGE 5
INPUT.MIN_SIZE_TRAIN (96,)
INPUT.MIN_SIZE_TEST 96
INPUT.SCALES_TRAIN []
INPUT.CROP_TRAIN []
INPUT.CROP.ENABLED False
SOLVER.IMS_PER_BATCH 1
SOLVER.MAX_ITER 1
SOLVER.STEPS ()
DATALOADER.NUM_WORKERS 0
""".split()  # noqa: SIM905
SMALL_HEADS = """
MODEL.HRFPN.OUT_CHANNELS 64
MODEL.ROI_BOX_HEAD.FC_DIM 32
MODEL.ROI_MASK_HEAD.CONV_DIM 16
MODEL.ROI_KEYPOINT_HEAD.CONV_DIMS [16]
""".split()  # noqa: SIM905
SMALL_LAZY = """
model.proposal_generator.post_nms_topk=[50,20]
model.roi_heads.batch_size_per_image=16
model.roi_heads.box_head.fc_dims=[32]
model.roi_heads.box_predictor.input_shape.channels=32
model.roi_heads.box_predictor.test_score_thresh=0.0
+model.roi_heads.box_predictor.test_topk_per_image=5
dataloader.train.mapper.augmentations.0.short_edge_length=96
dataloader.test.mapper.augmentations.0.short_edge_length=96
dataloader.train.total_batch_size=1
dataloader.train.num_workers=0
dataloader.test.num_workers=0
train.max_iter=1
train.device=cpu
""".split()  # noqa: SIM905
# A config of each kind, and the results that its evaluation ends with.
RUNS = {
    "COCO-Detection/faster_rcnn_hrnetv2p_w18_1x.yaml": {"bbox"},
    "COCO-Detection/cascade_rcnn_hrnetv2p_w18_20e.yaml": {"bbox"},
    "COCO-Detection/retinanet_hrnetv2p_w18_1x.yaml": {"bbox"},
    "COCO-Detection/fcos_hrnetv2p_w18_1x.yaml": {"bbox"},
    "COCO-Detection/rpn_hrnetv2p_w18_1x.yaml": {"box_proposals"},
    "COCO-InstanceSegmentation/mask_rcnn_hrnetv2p_w18_1x.py": {"bbox", "segm"},
    "COCO-InstanceSegmentation/mask_rcnn_hrnetv2p_w18_1x.yaml": {"bbox", "segm"},
    "COCO-InstanceSegmentation/cascade_mask_rcnn_hrnetv2p_w18_20e.yaml": {"bbox", "segm"},
    "COCO-InstanceSegmentation/htc_hrnetv2p_w18_20e.yaml": {"bbox", "segm"},
    "COCO-Keypoints/keypoint_rcnn_hrnetv2p_w18_1x.yaml": {"bbox", "keypoints"},
    "COCO-PanopticSegmentation/panoptic_fpn_hrnetv2p_w18_1x.yaml": {
        *("bbox", "segm", "sem_seg", "panoptic_seg"),
    },
    "Cityscapes/semantic_hrnetv2_w40.yaml": {"sem_seg"},
    "Cityscapes/panoptic_deeplab_hrnetv2_w48.yaml": {"segm", "sem_seg", "panoptic_seg"},
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder outside of a checkout, with the datasets below it and a user's own data in it."""
    folder = tmp_path_factory.mktemp("outside of a checkout")
    write_coco(folder / "datasets")
    write_semantic_labels(folder / "datasets")
    write_cityscapes(folder / "datasets")
    for year in (2007, 2012):
        write_voc(folder / f"datasets/VOC{year}", ("trainval", "test"), VOC_CLASSES)
    coco = make_coco(folder / "made")
    for place in (folder, folder / "mine"):
        shutil.copytree(coco / "images", place / "images")
        for name in ("train.json", "val.json"):
            shutil.copy(coco / "polygons.json", place / name)
    for name in ("image.jpg", "street.jpg"):
        shutil.copy(folder / "datasets/coco/val2017/000000000139.jpg", folder / name)
    write_video(folder / "clip.mp4", [noise(64, 96)] * 2)
    with (
        datasets_at(folder / "datasets"),
        stand_in_hub(folder / "hub"),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.chdir(folder)
        yield folder


def ended(*words):
    """What a training or evaluation prints, which must not fail."""
    done = train_net(*words)
    assert done.code in (0, None), done.err
    return done.out


def commands_after(out):
    """{what it is for: its words} of the lines under "Next:"."""
    lines = out.partition("Next:\n")[2].splitlines()
    return dict(zip(lines[0::2], map(shlex.split, lines[1::2]), strict=False))


def results_in(folder):
    return json.loads(Path(folder, "results.json").read_text())


@pytest.mark.parametrize("config", RUNS)
def test_a_header_s_command_and_what_it_prints_next(config, place, capsys):
    lazy = config.endswith(".py")
    words = header_of(config)[2:]
    if "--num-gpus" in words:
        gpus = words.index("--num-gpus")
        del words[gpus : gpus + 2]
    output = f"my {Path(config).stem}{Path(config).suffix[1:]}"
    small = (
        [*SMALL_LAZY, f"train.output_dir={output}"]
        if lazy
        else [*SMALL, *SMALL_HEADS, "OUTPUT_DIR", output]
    )
    out = ended(*words, *small)
    assert "ImageNet" in out and "backbone" in out
    results = results_in(output)
    assert set(results) == RUNS[config]
    commands = commands_after(out)
    again, predict, curves, own, coco = (
        next((words for what, words in commands.items() if text in what), None)
        for text in ("evaluate again", "objects in", "curves", "your own data", "COCO on 8 GPUs")
    )
    assert Path(again[0]).name == "hrnet-det" and again[1] == "train"
    ended(*again[2:])
    assert results_in(output) == results
    assert (predict is not None) == kind_of(load_run(config)).detects
    if predict:
        assert main(predict[1:]) == 0, capsys.readouterr().err
    assert curves[1:] == ["--logdir", output] and list(Path(output).glob("events.*"))
    for words in (own, coco):
        check(words[2:])


def check(words):
    """All that is checked before a start, on a machine that has the GPUs."""
    job = load_job(train_parser().parse_args(words))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: True)
        patch.setattr(torch.cuda, "device_count", lambda: job.num_gpus)
        check_device(job)
    job.num_gpus = 1
    preflight(job)


def test_every_kind_is_among_them():
    found = {kind_of(load_run(config)).name for config in RUNS}
    # shipped in no config: masks and keypoints together, and a cascade with one mask head
    assert found == set(KINDS) - {"cascade_rcnn_one_mask", "mask_keypoint_rcnn"}


HTC_WEIGHTS = "htc_hrnetv2p_w18_20e_coco_20200210-b266988c.pth"
# The weights that pages name, and these: the config of each, and whose names its tensors have.
WEIGHTS = {
    "faster_rcnn_hrnetv2p_w18_1x_coco_20200130-56651a6d.pth": (
        "faster_rcnn_hrnetv2p_w18_1x",
        "mmdet",
    ),
    HTC_WEIGHTS: ("htc_hrnetv2p_w18_20e", "mmdet"),
    "epoch_24.pth": ("faster_rcnn_hrnetv2p_w18_1x", "mmdet"),  # with two sets of parameters
    "mask_rcnn.pth": ("mask_rcnn_hrnetv2p_w18_1x", "hrnet_det"),
    "output/mine/model_final.pth": ("faster_rcnn_hrnetv2p_w18_1x", "hrnet_det"),
    "output/faster_w18/model_final.pth": ("faster_rcnn_hrnetv2p_w18_1x", "hrnet_det"),
}


def provide(file):
    """A detector's weights where a page names them: random ones on the stand-in hub's backbone."""
    name, names = WEIGHTS[file]
    if Path(file).is_file():
        return
    cfg = model_zoo.get_config(name, [*SMALL, "MODEL.DEVICE", "cpu"])
    model = model_zoo.build_detector(cfg)
    variant = IMAGENET_WEIGHTS[cfg.MODEL.HRNET.VARIANT]
    backbone = load_file(find_weights(variant))
    assert not model.backbone.bottom_up.load_state_dict(backbone, strict=False).missing_keys
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    torch.save({"model": model.state_dict()}, "random.pth")
    convert("random.pth", file, to=names)
    if file == "epoch_24.pth":
        content = torch.load(file)
        state = content["state_dict"]
        state |= {f"ema_{key.replace('.', '_')}": tensor for key, tensor in list(state.items())}
        torch.save(content, file)
    if file.startswith("output/"):
        Path(file).with_name("config.yaml").write_text(cfg.dump())


PAGES = ("README.md", "own-data.md", "weights.md", "from-mmdetection.md", "training-on-coco.md")
PROGRAMS = (["python", "train_net.py"], ["hrnet-det", "predict"], ["hrnet-det", "convert"])
COMMANDS = {
    shlex.join(words)
    for page, words in all_shown()
    # with several GPUs they are the headers' commands; W32 predicts as W18 does
    if page in PAGES and words[:2] in PROGRAMS and "--num-gpus" not in words
    if "predict" not in words or "w32" not in words[2]
}


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_a_page_s_command(command, place, capsys):
    """With own data, VOC's, published weights and those of a run; evaluations to their figures."""
    program, subcommand, *words = shlex.split(command)
    for word in (word.removesuffix(SECOND_SET) for word in words):
        if f"{word}/model_final.pth" in WEIGHTS:  # the folder of a run
            provide(f"{word}/model_final.pth")
        if word.endswith(".pth") and (word in WEIGHTS or subcommand == "train_net.py"):
            provide(word)
    if program == "hrnet-det":
        if subcommand == "convert":
            Path(words[1]).unlink(missing_ok=True)
        assert main([subcommand, *words]) == 0, capsys.readouterr().err
        return
    output = words[words.index("OUTPUT_DIR") + 1] if "OUTPUT_DIR" in words else "output/evaluated"
    ended(*words, *SMALL, "OUTPUT_DIR", output)
    results = results_in(output)
    assert set(results) == {"bbox"}
    assert 0 <= results["bbox"]["AP"] <= 100


def test_these_commands_are_among_them():
    assert {word for command in COMMANDS for word in shlex.split(command)} >= {
        *("predict", "convert", "--eval-only", "DATASETS.CUSTOM.TRAIN_JSON", "epoch_24.pth#ema"),
        *(WEIGHTS.keys() - {HTC_WEIGHTS, "epoch_24.pth"}),
    }


def test_a_published_htc_is_evaluated_to_its_end_with_val2017_alone(place, tmp_path, monkeypatch):
    """As mmdetection has it: 183 classes of pixels; nothing of COCO's other files is there."""
    for part in ("val2017", "annotations/instances_val2017.json"):
        target = tmp_path / "datasets/coco" / part
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(place / "datasets/coco" / part)
    monkeypatch.chdir(tmp_path)
    provide(HTC_WEIGHTS)
    config = "COCO-InstanceSegmentation/htc_hrnetv2p_w18_20e.yaml"
    words = f"--eval-only MODEL.WEIGHTS {HTC_WEIGHTS} MODEL.CONVENTIONS mmdet".split()
    with datasets_at(tmp_path / "datasets"):
        ended("--config-file", config, *words, *SMALL, "OUTPUT_DIR", "out")
    assert set(results_in("out")) == {"bbox", "segm"}
