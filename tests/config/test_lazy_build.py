"""What the calls of a LazyConfig make, and what is said where they fail."""

import logging

import pytest
from detectron2.config import LazyCall as L
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data import transforms as T
from torch import nn

from hrnet_det import errors
from hrnet_det.config import settings
from hrnet_det.config.lazy import lazy_text
from hrnet_det.config.lazy_build import build_part
from hrnet_det.config.load import load_run
from hrnet_det.engine import LazyTrainer
from hrnet_det.errors import InputError, MissingInputError

NAME = "parts_of_a_lazy_config"
LAZY = "COCO-Detection/faster_rcnn_hrnetv2p_w18_1x.py"


def fails(error):
    raise error


def optimizer_of(run):
    return LazyTrainer.build_optimizer(run, nn.Conv2d(1, 1, 1))


def schedule_of(run):
    return LazyTrainer.build_lr_scheduler(run, optimizer_of(load_run(LAZY)))


def loader_of(run):
    run[settings.TRAIN_DATASETS] = (NAME,)
    return LazyTrainer.build_train_loader(run)


def evaluation_loader_of(run):
    return LazyTrainer.build_test_loader(run, NAME)


@pytest.fixture
def dataset():
    row = {"file_name": "a.png", "annotations": [{"iscrowd": 0, "category_id": 0}]}
    DatasetCatalog.register(NAME, lambda: [row])
    MetadataCatalog.get(NAME).set(thing_classes=["disc"])
    yield
    DatasetCatalog.remove(NAME)
    MetadataCatalog.pop(NAME)


def test_a_part_is_what_it_calls():
    built = build_part(L(T.RandomFlip)(prob=0.25), "dataloader.train.mapper.augmentations.0")
    assert isinstance(built, T.RandomFlip) and built.prob == 0.25


@pytest.mark.parametrize(
    ("build", "override", "said"),
    [
        (
            optimizer_of,
            "optimizer._target_=torch.optim.Nope",
            "optimizer (torch.optim.Nope) cannot be built: ImportError: Error loading ",
        ),
        (
            optimizer_of,
            "+optimizer.learning_rate=0.1",
            "optimizer (SGD) cannot be built: torch.optim.sgd.SGD: TypeError: "
            "SGD.__init__() got an unexpected keyword argument 'learning_rate'",
        ),
        (
            schedule_of,
            "lr_multiplier.warmup_length=2",
            "lr_multiplier (WarmupParamScheduler) cannot be built: ",
        ),
        (
            loader_of,
            "+dataloader.train.mapper.colour=red",
            "dataloader.train (build_train_loader) cannot be built: "
            "hrnet_det.data.mapper.Mapper: TypeError: ",
        ),
        (
            evaluation_loader_of,
            "+dataloader.test.mapper.colour=red",
            "dataloader.test (build_detection_test_loader) cannot be built: ",
        ),
    ],
)
def test_a_part_that_cannot_be_built_is_one_error(build, override, said, dataset, capfd):
    with pytest.raises(InputError) as error:
        build(load_run(LAZY, [override]))
    assert said in str(error.value) and "\n" not in str(error.value)
    assert capfd.readouterr().err == ""  # nothing beside the error
    assert errors.tell(error.value, debug=True) == 2
    assert "Traceback" in capfd.readouterr().err


def test_any_error_is_told_and_those_that_say_enough_are_kept():
    with pytest.raises(InputError, match=r"^part \(fails\) cannot be built: AttributeError: no x$"):
        build_part(L(fails)(error=AttributeError("no x")), "part")
    for known in (MissingInputError("gone"), MemoryError(), FileNotFoundError(2, "gone", "a.json")):
        with pytest.raises(type(known)) as raised:
            build_part(L(fails)(error=known), "part")
        assert raised.value is known


def test_the_log_of_detectron2_is_as_before():
    log = logging.getLogger("detectron2.config.instantiate")
    before = (log.propagate, list(log.handlers))
    with pytest.raises(InputError):
        build_part(L(T.RandomFlip)(colour="red"), "part")
    assert (log.propagate, log.handlers) == before


def test_an_object_that_can_be_called_has_no_name_to_save():
    run = load_run(LAZY)
    run.cfg.dataloader.train.mapper.augmentations = [T.RandomFlip()]
    with pytest.raises(ValueError, match="has no name that it can be found by again"):
        lazy_text(run.cfg)
