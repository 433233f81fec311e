"""The commands that a run prints under "Next:", typed as they are printed, for each kind."""

import contextlib
import shlex
from pathlib import Path

import numpy as np
import pytest
from detectron2.engine import default_argument_parser
from helpers.commands import stand_ins
from helpers.quickstart_kinds import SMALL
from helpers.tiny import make_coco
from PIL import Image

from hrnet_det.cli import main
from hrnet_det.config import settings
from hrnet_det.config.load import load_run
from hrnet_det.data import prepare_datasets
from hrnet_det.engine import trainer_of
from hrnet_det.engine.preflight import preflight
from hrnet_det.engine.train import load_job
from hrnet_det.modeling.kinds import KINDS, kind_of
from hrnet_det.report.summary import next_steps
from tools.matrix import matrix_configs

LAZY = "COCO-InstanceSegmentation/mask_rcnn_hrnetv2p_w18_1x.py"
LAZY_WORDS = ["model.backbone.bottom_up.variant=w18_small_v1", "train.device=cpu"]
KEYPOINTS = ["MODEL.ROI_KEYPOINT_HEAD.NUM_KEYPOINTS", "4"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder outside of a checkout, with a user's data and an image, and COCO's files' names."""
    folder = tmp_path_factory.mktemp("outside of a checkout")
    coco = make_coco(folder / "data")
    for name in ("train.json", "val.json"):
        (folder / name).write_bytes((coco / "polygons.json").read_bytes())
    (coco / "images").rename(folder / "images")
    Image.fromarray(np.full((64, 96, 3), 90, np.uint8)).save(folder / "image.jpg")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        stand_ins(folder, patch)
        patch.setattr("hrnet_det.data.datasets.quickstart.make_quickstart", lambda root: root)
        patch.setattr("hrnet_det.data.datasets.check_files", lambda *_: None)
        yield folder


def ended(config, words, output):
    """A run as it is when it has ended: its config and the weights of its model."""
    name = "train.output_dir=" if config.endswith(".py") else "OUTPUT_DIR"
    words = [*words, f"{name}{output}"] if config.endswith(".py") else [*words, name, output]
    run = load_run(config, words)
    prepare_datasets(run)  # the numbers of classes are those of the data
    Path(output).mkdir()
    Path(output, "config.yaml").write_text(run.text())
    kind = trainer_of(run)
    kind.build_checkpointer(run, kind.build_model(run)).save("model_final")
    return run


def printed(run, output):
    lines = next_steps(run, Path(output, "model_final.pth")).splitlines()
    return dict(zip(lines[1::2], map(shlex.split, lines[2::2]), strict=True))


@pytest.mark.parametrize("config", [*matrix_configs(), LAZY])
def test_every_printed_command_works(config, place, capsys):
    output = f"my {Path(config).stem}{Path(config).suffix[1:]}"
    words = LAZY_WORDS if config == LAZY else [*SMALL, *KEYPOINTS]
    run = ended(config, words, output)
    commands = printed(run, output)
    for what, (program, *rest) in commands.items():
        assert Path(program).name == ("tensorboard" if "curves" in what else "hrnet-det"), what
        if "curves" in what:
            assert rest == ["--logdir", output]
        elif rest[0] == "predict":
            assert main(rest) == 0, capsys.readouterr().err
            assert (place / "output/predictions/predictions.json").is_file()
        else:
            args = default_argument_parser().parse_args(rest[1:])
            args.num_gpus = 1
            job = load_job(args)
            with contextlib.redirect_stdout(None):
                preflight(job)
            if "evaluate" in what:
                assert kind_of(job.run) is kind_of(run) and not job.trains
                weights = Path(str(job.run[settings.WEIGHTS]))
                assert weights.is_file()
                kind = trainer_of(job.run)
                loaded = kind.build_checkpointer(job.run, kind.build_model(job.run))
                loaded.resume_or_load(str(weights), resume=False)
                assert loaded.report.complete
    assert any("predict" in rest for rest in commands.values()) == kind_of(run).detects


def test_every_kind_is_among_them():
    found = {kind_of(load_run(config)).name for config in matrix_configs()}
    # as Cascade Mask R-CNN but for its masks; masks and keypoints together
    rare = {"cascade_rcnn", "cascade_rcnn_one_mask", "mask_keypoint_rcnn"}
    assert found == set(KINDS) - rare
