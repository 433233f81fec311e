"""YAML files that are wrong in themselves, and the layers that a config is merged from."""

import json

import pytest

from hrnet_det import get_cfg
from hrnet_det.config.files import config_folder, names
from hrnet_det.config.load import load_run
from hrnet_det.config.yaml import flat, load_config, read_yaml
from hrnet_det.errors import InputError

CONVENTIONS = sorted({p.name.split(".")[0] for p in (config_folder() / "conventions").iterdir()})
FASTER = config_folder() / "hrnetv2p_faster_rcnn.yaml"
FCOS = config_folder() / "COCO-Detection" / "fcos_hrnetv2p_w18_1x.yaml"


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


def overlay_keys(name):
    folder = config_folder() / "conventions"
    return set(flat(read_yaml(folder / f"{name}.yaml").shipped))


def test_the_conventions_that_there_are():
    assert CONVENTIONS == ["detectron2", "hrnet_object_detection", "maskrcnn_benchmark", "mmdet"]


@pytest.mark.parametrize(("special", "config"), [("", FASTER), (".fcos", FCOS)])
def test_detectron2s_conventions_are_those_of_the_shipped_configs(special, config):
    """What is set back is all that others set, to what the shipped config has."""
    others = {name for name in CONVENTIONS if name != "detectron2"} if not special else {"mmdet"}
    wanted = set().union(*(overlay_keys(name + special) for name in others))
    assert overlay_keys(f"detectron2{special}") == wanted - {"MODEL.CONVENTIONS"}
    shipped = values(load_config(config))
    content = read_yaml(config_folder() / "conventions" / f"detectron2{special}.yaml").shipped
    cfg = get_cfg()
    cfg.merge_from_other_cfg(type(cfg)(content))
    for key in wanted - {"MODEL.CONVENTIONS"}:
        assert values(cfg)[key] == shipped[key], key


@pytest.mark.parametrize("config", [FASTER, FCOS])
@pytest.mark.parametrize("name", CONVENTIONS[1:])
def test_conventions_can_be_set_back(write, config, name):
    if config is FCOS:
        name = "mmdet"
    plain = load_config(config)
    followed = load_config(config, ["MODEL.CONVENTIONS", name])
    assert {"MODEL.CONVENTIONS", "INPUT.RESIZE"} <= differing(plain, followed)
    saved = write(followed.dump())
    assert values(load_config(saved)) == values(followed)
    back = load_config(saved, ["MODEL.CONVENTIONS", "detectron2"])
    assert differing(back, plain) == set()
    # a value of the user's own stays
    own = load_config(saved, ["MODEL.CONVENTIONS", "detectron2", "INPUT.MIN_SIZE_TEST", "600"])
    assert differing(own, plain) == {"INPUT.MIN_SIZE_TEST"}


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
