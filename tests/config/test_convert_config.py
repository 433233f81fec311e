"""`hrnet-det convert-config`: mmdetection's own configs, and what users make of them."""

import ast
import random
from pathlib import Path

import pytest
from helpers import mmdet_config
from helpers.mmdet_edits import VERSION_2

from hrnet_det import cli
from hrnet_det.config import settings
from hrnet_det.config.load import load_run
from hrnet_det.config.yaml import load_config
from hrnet_det.config.yaml_files import flat
from hrnet_det.convert_config import convert, convert_config, nodes, reading
from hrnet_det.errors import InputError

HAS_MMDET = bool(mmdet_config.HRNETS)
needs_mmdet = pytest.mark.skipif(not HAS_MMDET, reason="mmdetection's configs are not installed")
OURS = [path for path in mmdet_config.HRNETS if "hrnetv2p" in path.name]


def test_all_of_its_configs_are_there():
    assert not HAS_MMDET or (len(OURS), len(mmdet_config.HRNETS)) == (29, 30)


@needs_mmdet
@pytest.mark.parametrize("path", OURS, ids=lambda path: path.stem)
def test_a_published_config_keeps_its_values(path, tmp_path):
    converted = convert_config(path)
    assert (converted.lacking, len(converted.stated) <= 5) == ([], True)
    (tmp_path / "mine.yaml").write_text(converted.text)
    found = flat(load_config(tmp_path / "mine.yaml"))
    values = mmdet_config.expected(path)
    assert found["MODEL.CONVENTIONS"] == "mmdet"
    matches = values.pop("low quality", None)
    if matches is not None:
        means = {"always": True, "never": False, "with_masks": found["MODEL.MASK_ON"]}
        assert means[found["MODEL.ROI_HEADS.LOW_QUALITY_MATCHES"]] == matches
    assert mmdet_config.differing(found, values) == {}


@needs_mmdet
def test_another_network_is_refused_by_name(capsys):
    path = mmdet_config.CONFIGS / "hrnet" / "htc_x101-64x4d_fpn_16xb1-28e_coco.py"
    assert cli.main(["convert-config", str(path)]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err == (
        f"error: {mmdet_config.CONFIGS}/htc/htc_x101-64x4d_fpn_16xb1-20e_coco.py:4: "
        "model.backbone.type is 'ResNeXt': a HybridTaskCascade with it is none of ours; "
        "known here: HRNet\n"
    )


# --- the command ---


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "theirs.py"
    path.write_text(VERSION_2)
    return path


def test_the_command_writes_what_it_shows(config, tmp_path, capsys):
    assert cli.main(["convert-config", str(config)]) == 0
    shown = capsys.readouterr().out
    target = tmp_path / "new" / "mine.yaml"
    assert cli.main(["convert-config", str(config), "-o", str(target)]) == 0
    assert target.read_text() == shown
    assert shown.splitlines()[3:] == [
        '_BASE_: "COCO-Detection/faster_rcnn_hrnetv2p_w18_1x.yaml"',
        "MODEL:",
        '  CONVENTIONS: "mmdet"  # images, matching, losses and results by mmdetection\'s rules',
        "  # model.pretrained, theirs.py:12; ImageNet weights of the same authors",
        '  WEIGHTS: "timm://hrnet_w18.ms_in1k"',
        "SOLVER:",
        '  RECIPE: "mmdet"  # mmdetection\'s optimiser and schedule for this detector',
        "  WARMUP_ITERS: 500  # lr_config.warmup_iters, theirs.py:89",
        "  CHECKPOINT_PERIOD: 7330  # checkpoint_config.interval, theirs.py:91",
        "DATALOADER:",
        "  NUM_WORKERS: 2  # data.workers_per_gpu, theirs.py:79",
    ]
    batch = (
        "A batch of 16: 8 GPUs x 2 images, taken by its learning rate, where 0.02 is for 16 "
        "images, as the config does not say how many GPUs; --gpus N does."
    )
    coco = (
        "COCO is looked for in $DETECTRON2_DATASETS/coco: for this config's set "
        "DETECTRON2_DATASETS=data"
    )
    assert shown.splitlines()[1:3] == [f"# {coco}", f"# {batch}"]
    assert capsys.readouterr().out.splitlines() == [
        f"{target}: COCO-Detection/faster_rcnn_hrnetv2p_w18_1x.yaml and 4 values that differ",
        coco,
        batch,
        f"Next: hrnet-det train --config-file {target}",
    ]
    run = load_run(target)
    assert run.stated >= {"MODEL.CONVENTIONS", "SOLVER.RECIPE"} and run[settings.MAX_ITER] == 87960


def test_a_file_beside(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["convert-config", config.name, "-o", "mine.yaml"]) == 0
    assert load_run("mine.yaml")[settings.VARIANT] == "w18"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("there.yaml", "is there already: name a new file, or remove it"),
        ("mine.py", "a config is a .yaml file"),
        ("there.yaml/mine.yaml", "nothing can be written to"),
    ],
)
def test_a_file_that_cannot_be_written(name, words, config, tmp_path, capsys):
    (tmp_path / "there.yaml").write_text("mine")
    assert cli.main(["convert-config", str(config), "-o", str(tmp_path / name)]) == 2
    assert words in capsys.readouterr().err
    assert (tmp_path / "there.yaml").read_text() == "mine"


def test_a_folder_is_no_config(tmp_path, capsys):
    assert cli.main(["convert-config", str(tmp_path)]) == 2
    assert f"{tmp_path} is a folder: name a config in it" in capsys.readouterr().err


def test_a_config_that_is_not_there(capsys):
    assert cli.main(["convert-config", "nothing.py"]) == 2
    assert capsys.readouterr().err == "error: config nothing.py is not there\n"


def test_mmdetection_is_not_imported():
    """Nor any other project of OpenMMLab's: they need not be installed."""
    package = Path(convert.__file__).parent
    for file in package.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert not node.module.startswith("mm"), file
            if isinstance(node, ast.Import):
                assert not [a.name for a in node.names if a.name.startswith("mm")], file


# --- configs with values that mmdetection does not take ---

WRONG = [None, "x", -1, 0, 3.5, True, [], {}, [1, 2], 1e30, {"type": "Foo"}, [{"type": "Foo"}]]


def parts(node):
    """(owner, key) of all that is in a config."""
    items = node.value.items() if isinstance(node.value, dict) else enumerate(node.value)
    for key, part in list(items):
        yield node, key
        if isinstance(part.value, (dict, list)):
            yield from parts(part)


def test_wrong_values_are_converted_or_told(config, monkeypatch):
    """A value of another kind, or none, anywhere: a config that loads, or an error with a line."""
    drawn, root, told = random.Random(0), reading.read_config(config), 0
    for _ in range(120):
        changed = nodes.copied(root)
        owner, key = drawn.choice(list(parts(changed)))
        if isinstance(owner.value, dict) and drawn.random() < 0.3:
            del owner.value[key]
        else:
            owner.value[key] = nodes.from_plain(drawn.choice(WRONG), owner.place)
        changed = nodes.copied(changed)
        monkeypatch.setattr(convert, "read_config", lambda _, made=changed: made)
        try:
            convert_config(config)  # which loads what it has written
        except InputError as error:
            told += 1
            assert str(config) in str(error)
    assert 20 < told < 100
