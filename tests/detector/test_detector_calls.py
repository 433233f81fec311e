"""What one call of a detector asks for: sizes, scores, classes, numbers, batches."""

import numpy as np
import pytest
import torch
from helpers import detectors
from helpers.refusals import error_of
from PIL import Image

from hrnet_det import Detector
from hrnet_det.config import settings
from hrnet_det.config.load import load_run
from hrnet_det.detector import remarks
from hrnet_det.detector.batches import WAITING, in_batches
from hrnet_det.detector.detections import Detections
from hrnet_det.detector.options import CANDIDATES, class_numbers
from hrnet_det.errors import InputError

KINDS = ("faster", "mask", "cascade mask", "htc", "keypoint", "retinanet", "fcos", "mmdet")
NAMES = ["ant", "bee", "cat"]


@pytest.fixture(scope="module", params=KINDS)
def detector(request):
    return Detector(detectors.detector(request.param), detectors.config(request.param), NAMES)


@pytest.fixture(scope="module")
def faster():
    return Detector(detectors.detector("faster"), detectors.config("faster"), NAMES)


def lazy():
    """A detector of a LazyConfig, with the weights of `faster`."""
    words = ["model.backbone.bottom_up.variant=w18_small_v1", "train.device=cpu"]
    run = load_run("COCO-Detection/faster_rcnn_hrnetv2p_w18_1x.py", words)
    (resize,) = run.cfg.dataloader.test.mapper.augmentations
    resize.short_edge_length, resize.max_size = 64, 96
    return Detector(detectors.detector("faster"), run, NAMES)


def noise(height=60, width=90, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def numbers(objects):
    """Its fields as tensors."""
    return {name: getattr(v, "tensor", v) for name, v in objects.get_fields().items()}


def same(found, expected, exactly=True):
    found, expected = numbers(found), numbers(expected)
    assert list(found) == list(expected)
    for name, value in found.items():
        if exactly or value.dtype in (torch.int64, torch.bool):
            assert torch.equal(value, expected[name]), name
        else:
            torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-3)
    return len(next(iter(found.values()))) > 0


def test_the_options_of_one_call(detector):
    """The same as another detector with these in its config, and the next call is as before."""
    image = noise()
    plain = detector(image)
    run = detector.run.copy()
    run[run.detections_setting] = 3
    expected = Detector(detector.model, run, NAMES)
    with pytest.MonkeyPatch.context() as patch:
        for module in detector.model.modules():
            for name in ("test_topk_per_image", "max_detections_per_image"):
                if name in vars(module):
                    patch.setattr(module, name, 3)
        assert same(detector(image, max_detections=3), expected(image))
        assert len(expected(image)) == 3
    assert len(plain) > 3
    middle = plain.scores.median().item()
    kept = detector(image, score=middle)
    assert same(kept, plain[plain.scores >= middle])
    more = detector(image, max_detections=10 * len(plain), score=0)
    assert len(more) > len(plain) and more.scores.min() < plain.scores.min()
    assert same(detector(image), plain)


def test_several_images_at_once_are_as_one_by_one(detector):
    images = [noise(60, 90, 0), noise(90, 60, 1), noise(60, 90, 2), noise(30, 45, 3)]
    alone = [detector(image) for image in images]
    for batch in (2, 4):
        together = detector(images, batch=batch)
        assert [objects.image_size for objects in together] == [o.image_size for o in alone]
        assert all(same(a, b, exactly=False) for a, b in zip(together, alone, strict=True))


def test_a_size_for_one_call(faster):
    run = faster.run.copy()
    run[settings.MIN_SIZE_TEST], run[settings.MAX_SIZE_TEST] = 48, 80
    expected = Detector(faster.model, run, NAMES)(noise())
    assert same(faster(noise(), size=(48,)), expected)  # 5 / 3 of 48
    assert same(faster(noise(), size=48), expected)
    assert same(faster(noise(), size=(48, 80)), expected)


def test_a_size_beyond_all_memory_is_an_error_first(faster):
    for size in (99_999, (13_000, 14_000)):
        with pytest.raises(InputError, match=r"images would have more than 178956970 pixels"):
            faster(noise(), size=size)
    with pytest.raises(InputError, match="more than"):
        lazy()(noise(), size=99_999)


def test_a_size_for_one_call_of_a_lazy_config():
    detector = lazy()
    expected = detector(noise())
    assert same(detector(noise(), size=(64, 96)), expected)
    other = detector(noise(), size=(96, 160))
    assert other.image_size == (60, 90) and not torch.equal(other.scores[:5], expected.scores[:5])


def test_the_one_scale_of_an_older_code_base_follows_the_size_of_a_call():
    """A scale of 64 / 61 for both axes, where 91 pixels become 95."""
    cfg = detectors.config("hrnet_object_detection")
    detector = Detector(detectors.detector("hrnet_object_detection"), cfg, NAMES)
    expected = detector(noise(61, 91))
    detector.model.test_sides = (800, 1333)  # as if the config had these
    assert same(detector(noise(61, 91), size=(64, 96)), expected)
    assert detector.model.test_sides == (800, 1333)
    with pytest.raises(AssertionError, match="pred_boxes"):  # by other scales
        same(detector(noise(61, 91)), expected)


def test_no_classes_are_all(faster):
    assert same(faster(noise(), classes=None), faster(noise()))


def test_classes_are_chosen_before_the_number_is_cut(faster):
    image = noise()
    everything = faster(image, max_detections=CANDIDATES)
    rare = everything.pred_classes.bincount(minlength=3).argsort()[0].item()
    chosen = faster(image, classes=[NAMES[rare]], max_detections=2)
    assert same(chosen, everything[everything.pred_classes == rare][:2])
    assert set(chosen.names) == {NAMES[rare]}
    two = faster(image, classes=("bee", 2))
    expected = everything[(everything.pred_classes == 1) | (everything.pred_classes == 2)]
    assert same(two, expected[:10])  # TEST.DETECTIONS_PER_IMAGE


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"score": 1.5}, "score 1.5: give a number from 0 to 1"),
        ({"score": float("nan")}, "score nan: give a number from 0 to 1"),
        ({"score": "0.5"}, "score 0.5: give a number from 0 to 1"),
        ({"max_detections": 0}, "max_detections 0: give a whole number of at least 1"),
        ({"max_detections": 2.5}, "max_detections 2.5: give a whole number of at least 1"),
        ({"batch": 0}, "batch 0: give a whole number of at least 1"),
        ({"size": (10,)},
         "size 10: give the shorter side in pixels, at least 32, and the longer one at most"),
        ({"size": "wide"},
         "size wide: give the shorter side in pixels, at least 32, and the longer one at most"),
        ({"size": 0},
         "size 0: give the shorter side in pixels, at least 32, and the longer one at most"),
        ({"classes": ["bea"]},
         "classes: there is no class 'bea' among the detector's 3; did you mean bee? Give names "
         "(ant, bee, cat), or their numbers from 0"),
        ({"classes": [3]}, "classes: there is no class 3 among the detector's 3. Give names (ant, "
         "bee, cat), or their numbers from 0"),
    ],
)  # fmt: skip
def test_options_that_are_not_allowed(faster, options, said):
    assert error_of(lambda: faster("not read.png", **options)) == said


def test_masks_of_large_images_are_said_before_they_are_made(monkeypatch, caplog):
    """Of as many objects as there are before classes are chosen; of tiles there are none."""
    monkeypatch.setattr(remarks, "LARGE", 10 * 60 * 90 - 1)
    said = []
    small = {"tile": 40, "size": 32}
    calls = [("mask", {}), ("mask", {"classes": ["ant"]}), ("mask", small), ("faster", {})]
    for kind, options in calls:
        caplog.clear()
        Detector(detectors.detector(kind), detectors.config(kind), NAMES)(noise(), **options)
        said += [[text[:27] for text in caplog.messages if text.startswith("masks of up")]]
    assert said == [["masks of up to 10 objects i"], ["masks of up to 1000 objects"], [], []]


def test_numbers_of_classes():
    assert class_numbers("bee", NAMES) == class_numbers(1, NAMES) == {1}
    assert class_numbers([np.int64(2), "ant"], NAMES) == {0, 2}
    assert class_numbers((), NAMES) == frozenset()
    assert class_numbers(["a"], ["a", "b", "a"]) == {0, 2}  # two classes of one name


def test_in_batches():
    """Shapes a and b in turn; what waits is bounded."""
    groups = list(in_batches(zip("abababa", range(7), strict=True), size=2))
    assert groups == [[(0, 0), (2, 2)], [(1, 1), (3, 3)], [(4, 4), (6, 6)], [(5, 5)]]
    assert list(in_batches(zip("ab", "xy", strict=True), size=1)) == [[(0, "x")], [(1, "y")]]
    taken = []
    different = ((taken.append(k) or k, k) for k in range(100))
    first = next(iter(in_batches(different, size=3)))
    assert first == [(0, 0)] and len(taken) == 3 * WAITING


def test_a_detector_gives_detections(faster, tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(noise()).save(path)
    objects = faster(path)
    assert type(objects) is Detections and objects.image is path
    assert objects.class_names == NAMES
    assert objects.names == [NAMES[k] for k in objects.pred_classes.tolist()]


def test_keypoints_of_a_dataset_that_this_process_does_not_know():
    """As of a run on the user's own data that another process has trained."""
    cfg = detectors.config("keypoint").clone()
    cfg.defrost()
    cfg.DATASETS.TRAIN = ("elsewhere_train",)
    model = detectors.detector("keypoint")
    expected = Detector(model, detectors.config("keypoint"), NAMES[:1])(noise())
    assert same(Detector(model, cfg, NAMES[:1])(noise()), expected)
