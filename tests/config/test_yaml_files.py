"""YAML files that are wrong in themselves, and the layers that a config is merged from."""

import json

import pytest

from hrnet_det import get_cfg
from hrnet_det.config.files import config_folder, names
from hrnet_det.config.load import load_run
from hrnet_det.config.overlays import family_of, overlay_file
from hrnet_det.config.yaml import flat, load_config, read_yaml
from hrnet_det.errors import InputError

CONVENTIONS = sorted({p.name.split(".")[0] for p in (config_folder() / "conventions").iterdir()})
FASTER = config_folder() / "hrnetv2p_faster_rcnn.yaml"
FCOS = config_folder() / "COCO-Detection" / "fcos_hrnetv2p_w18_1x.yaml"
CASCADE = config_folder() / "COCO-Detection" / "cascade_rcnn_hrnetv2p_w18_20e.yaml"
CASCADE_MASK = config_folder() / "COCO-InstanceSegmentation/cascade_mask_rcnn_hrnetv2p_w18_20e.yaml"
HTC = config_folder() / "COCO-InstanceSegmentation" / "htc_hrnetv2p_w18_20e.yaml"
KEYPOINT = config_folder() / "COCO-Keypoints" / "keypoint_rcnn_hrnetv2p_w18_1x.yaml"
BY_FAMILY = {"": FASTER, "cascade": CASCADE, "htc": HTC, "fcos": FCOS, "keypoint": KEYPOINT}
BY_FAMILY |= {"cascade_mask": CASCADE_MASK}
FOLLOWED = [(family, name) for family in BY_FAMILY for name in CONVENTIONS[1:]]


@pytest.fixture
def write(tmp_path):
    def write(content, name="my.yaml"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def test_a_base_that_two_files_share_is_no_ring(write):
    write("SEED: 3\n", "base.yaml")
    write("_BASE_: base.yaml\nTEST: {EVAL_PERIOD: 5}\n", "left.yaml")
    write("_BASE_: base.yaml\nTEST: {EVAL_PERIOD: 7}\n", "right.yaml")
    cfg = load_config(write("_BASE_: [left.yaml, right.yaml]\n"))
    assert (cfg.SEED, cfg.TEST.EVAL_PERIOD) == (3, 7)  # of several the last one counts


def test_a_base_may_be_the_name_of_a_shipped_config(write):
    """With its folder; a file of that path beside the user's own comes first."""
    name = "COCO-Detection/fcos_hrnetv2p_w18_1x.yaml"
    path = write(f"_BASE_: {name}\nSEED: 3\n")
    assert read_yaml(path).shipped == read_yaml(FCOS).shipped
    (path.parent / "COCO-Detection").mkdir()
    write("SEED: 5\nTEST: {EVAL_PERIOD: 5}\n", name)
    assert read_yaml(path) == ({}, {"SEED": 3, "TEST": {"EVAL_PERIOD": 5}})
    with pytest.raises(InputError, match=r"its _BASE_ .*w18_1x\.yaml is not there"):
        read_yaml(write("_BASE_: fcos_hrnetv2p_w18_1x.yaml\n"))


def test_what_a_shipped_config_states_the_user_does_not(write):
    path = write(f"_BASE_: {FASTER}\nSEED: 3\n")
    assert load_run(path, ["SOLVER.MAX_ITER", "5"]).stated == {"SEED", "SOLVER.MAX_ITER"}
    assert load_run(FASTER).stated == set()
    file = read_yaml(path)
    assert file.own == {"SEED": 3} and file.shipped["MODEL"]["HRNET"]["VARIANT"] == "w32"


# --- conventions ---


def values(cfg):
    return {k: json.loads(json.dumps(v)) for k, v in flat(cfg).items()}


def differing(one, other):
    return {key for key, value in values(one).items() if values(other)[key] != value}


def overlay_keys(name, family):
    path = overlay_file(name, load_config(BY_FAMILY[family]), {})
    return set(flat(read_yaml(path).shipped))


def test_the_conventions_that_there_are():
    assert CONVENTIONS == ["detectron2", "hrnet_object_detection", "maskrcnn_benchmark", "mmdet"]


@pytest.mark.parametrize("family", BY_FAMILY)
def test_detectron2s_conventions_are_those_of_the_shipped_configs(family):
    """What is set back is all that others set, to what the shipped config has."""
    wanted = set().union(*(overlay_keys(name, own) for own, name in FOLLOWED if own == family))
    assert overlay_keys("detectron2", family) == wanted - {"MODEL.CONVENTIONS"}
    shipped = values(load_config(BY_FAMILY[family]))
    content = read_yaml(overlay_file("detectron2", load_config(BY_FAMILY[family]), {})).shipped
    cfg = get_cfg()
    cfg.merge_from_other_cfg(type(cfg)(content))
    for key in wanted - {"MODEL.CONVENTIONS"}:
        assert values(cfg)[key] == shipped[key], key


def test_the_family_of_a_detector():
    for family, path in BY_FAMILY.items():
        assert family_of(load_config(path), {}) == family.removesuffix("_mask")
    for other in ("RPN", "RetinaNet", "Panoptic-FPN"):
        assert family_of(load_config(config_folder() / f"Base-{other}-HRNetV2p.yaml"), {}) == ""
    masked, plain = load_config(CASCADE_MASK), load_config(CASCADE)
    assert overlay_file("hrnet_object_detection", masked, {}).stem.endswith(".cascade_mask")
    assert overlay_file("mmdet", masked, {}) == overlay_file("mmdet", plain, {})
    # what is going to be merged counts
    assert overlay_file("hrnet_object_detection", plain, {"MODEL.MASK_ON": True}).stem.endswith(
        ".cascade_mask"
    )
    assert family_of(get_cfg(), {"MODEL.META_ARCHITECTURE": "HTC"}) == "htc"
    assert family_of(get_cfg(), {"MODEL.ROI_HEADS.NAME": "CascadeROIHeads"}) == "cascade"


def test_training_by_family():
    """Sources: mmdetection 3.3, configs/_base_/models and htc; HRNet-Object-Detection."""

    def rules(family, name):
        options = load_config(BY_FAMILY[family], ["MODEL.CONVENTIONS", name]).MODEL
        return (
            options.RPN.BOUNDARY_THRESH,
            options.RPN.SMOOTH_L1_BETA,
            options.ROI_BOX_HEAD.SMOOTH_L1_BETA,
            options.ROI_HEADS.LOW_QUALITY_MATCHES,
            options.RPN.POST_NMS_TOPK_TRAIN,
        )

    assert rules("", "mmdet") == (-1, 0.0, 0.0, "with_masks", 1000)
    assert rules("cascade", "mmdet") == (0, 1 / 9, 1.0, "never", 2000)
    assert rules("htc", "mmdet") == (0, 1 / 9, 1.0, "always", 2000)
    for family in ("", "cascade", "cascade_mask", "htc"):
        assert rules(family, "hrnet_object_detection") == (0, 1 / 9, 1.0, "always", 2000)
        assert rules(family, "maskrcnn_benchmark") == rules(family, "detectron2")


def test_training_of_fcos():
    """Sources: FCOSHead of mmdetection 3.3 and 1, configs/fcos; HRNet-FCOS's loss.py."""

    def rules(name):
        options = load_config(FCOS, ["MODEL.CONVENTIONS", name]).MODEL.FCOS
        return (
            options.CENTER_SAMPLING_RADIUS,
            options.BOX_LOSS,
            options.NORMALIZER,
            options.NMS_THRESH_TEST,
        )

    assert rules("detectron2") == (1.5, "giou", "moving_average", 0.5)
    assert rules("mmdet") == (0.0, "iou_log", "batch", 0.5)
    assert rules("hrnet_object_detection") == (0.0, "iou_log", "images", 0.5)
    assert rules("maskrcnn_benchmark") == (0.0, "iou_log_smooth", "images", 0.6)


def test_what_hrnet_object_detection_links_from_mmdetection_1():
    """Sources: its cascade_mask_rcnn_hrnetv2p_w32_20e.py and htc_hrnetv2p_w32_20e.py, test_cfg."""

    def use(family):
        cfg = load_config(BY_FAMILY[family], ["MODEL.CONVENTIONS", "hrnet_object_detection"])
        return cfg.MODEL.RPN.PRE_NMS_TOPK_TEST, cfg.MODEL.RPN.POST_NMS_TOPK_TEST, cfg.INPUT.RESIZE

    assert use("cascade_mask") == use("htc") == (1000, 1000, "opencv")
    assert use("") == use("cascade") == (2000, 2000, "opencv_float")


@pytest.mark.parametrize(("family", "name"), FOLLOWED)
def test_conventions_can_be_set_back(write, family, name):
    config = BY_FAMILY[family]
    plain = load_config(config)
    followed = load_config(config, ["MODEL.CONVENTIONS", name])
    assert {"MODEL.CONVENTIONS", "INPUT.RESIZE"} <= differing(plain, followed)
    saved = write(followed.dump())
    assert values(load_config(saved)) == values(followed)
    back = load_config(saved, ["MODEL.CONVENTIONS", "detectron2"])
    assert differing(back, plain) == set()
    for other in set(CONVENTIONS[1:]) - {name}:
        switched = load_config(saved, ["MODEL.CONVENTIONS", other])
        assert differing(switched, load_config(config, ["MODEL.CONVENTIONS", other])) == set()
    # a value of the user's own stays
    own = load_config(saved, ["MODEL.CONVENTIONS", "detectron2", "INPUT.MIN_SIZE_TEST", "600"])
    assert differing(own, plain) == {"INPUT.MIN_SIZE_TEST"}


def test_conventions_typed_lie_below_what_a_file_states_otherwise(write):
    path = write(
        f"_BASE_: {FASTER}\nTEST: {{DETECTIONS_PER_IMAGE: 300}}\nINPUT: {{RESIZE: pillow}}\n"
    )
    cfg = load_config(path, ["MODEL.CONVENTIONS", "mmdet"])
    # what is as in the conventions before, as in a run's config.yaml, follows
    assert (cfg.TEST.DETECTIONS_PER_IMAGE, cfg.INPUT.RESIZE) == (300, "opencv")


def test_conventions_as_a_base_are_those_of_the_family(write):
    overlay = config_folder() / "conventions" / "mmdet.yaml"
    based = load_config(write(f"_BASE_: [{CASCADE}, {overlay}]\n"))
    assert differing(based, load_config(CASCADE, ["MODEL.CONVENTIONS", "mmdet"])) == set()


def test_conventions_in_a_file_lie_between_its_base_and_its_own_values(write):
    path = write(
        f"_BASE_: {FASTER}\nMODEL: {{CONVENTIONS: mmdet}}\nINPUT: {{MIN_SIZE_TEST: 640}}\n"
    )
    cfg = load_config(path)
    followed = load_config(FASTER, ["MODEL.CONVENTIONS", "mmdet"])
    assert cfg.INPUT.RESIZE == "opencv"
    assert differing(cfg, followed) == {"INPUT.MIN_SIZE_TEST"}


def test_one_convention_in_place_of_another():
    there = load_config(FASTER, ["MODEL.CONVENTIONS", "maskrcnn_benchmark"])
    assert (there.INPUT.FORMAT, there.INPUT.RESIZE) == ("BGR", "pillow_floor")
    path = config_folder() / "hrnetv2p_faster_rcnn.yaml"
    both = load_config(path, ["MODEL.CONVENTIONS", "hrnet_object_detection"])
    assert (both.INPUT.FORMAT, both.MODEL.RPN.PRE_NMS_TOPK_TEST) == ("RGB", 2000)


def test_unknown_conventions_list_the_known_ones(write):
    with pytest.raises(InputError, match=f"'mmdet3'; known: {', '.join(CONVENTIONS)}"):
        load_config(FASTER, ["MODEL.CONVENTIONS", "mmdet3"])
    with pytest.raises(InputError, match=r"my\.yaml: unknown MODEL.CONVENTIONS 'x'"):
        load_config(write(f"_BASE_: {FASTER}\nMODEL: {{CONVENTIONS: x}}\n"))


def test_no_shipped_config_states_conventions():
    for name in names():
        if name.endswith(".yaml"):
            assert load_config(config_folder() / name).MODEL.CONVENTIONS == "detectron2"
