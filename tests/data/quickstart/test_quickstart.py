"""The quickstart dataset: what the images hold, that the annotations say so, and the writing."""

import ast
import fcntl
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as mask_util
from pycocotools.coco import COCO

from hrnet_det.data.quickstart import generate, paint, scene, shapes
from hrnet_det.data.quickstart.generate import CLASSES, KEYPOINTS, make_quickstart
from hrnet_det.data.quickstart.scene import KINDS
from hrnet_det.errors import InputError

SPLITS = ("train", "val")
FEW = {"train": 5, "val": 2}
FILES = [f"{kind}_{split}.json" for kind in ("instances", "keypoints") for split in SPLITS]


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """The folder of the whole dataset, drawn once for all of pytest-xdist's processes."""
    folder = tmp_path_factory.getbasetemp()
    folder = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    with open(folder / "quickstart.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return make_quickstart(folder / "quickstart")


@pytest.fixture(scope="session")
def few(tmp_path_factory):
    """The folder of a set of `FEW` images."""
    return make_quickstart(tmp_path_factory.mktemp("drawn") / "few", counts=FEW)


def load(root, name):
    return json.loads((root / "annotations" / name).read_text())


def annotations(root, split, *, kind="instances", crowd=False):
    found = load(root, f"{kind}_{split}.json")["annotations"]
    return [a for a in found if a["iscrowd"] == crowd]


def images(root, split):
    return {i["id"]: i for i in load(root, f"instances_{split}.json")["images"]}


def decode(annotation, image):
    """The mask (H, W) bool, as pycocotools makes it."""
    size = image["height"], image["width"]
    rle = mask_util.frPyObjects(annotation["segmentation"], *size)
    mask = mask_util.decode(rle).astype(bool)
    return mask.any(axis=2) if mask.ndim == 3 else mask


def pixels(root, split, image):
    with Image.open(root / split / image["file_name"]) as image:
        return np.asarray(image, dtype=float)


def is_polygon(annotation):
    return isinstance(annotation["segmentation"], list)


def tight_box(mask):
    ys, xs = np.nonzero(mask)
    return np.array([xs.min(), ys.min(), xs.max() - xs.min() + 1, ys.max() - ys.min() + 1])


def spread(mask, times):
    """The mask grown by `times` pixels, in four directions at a time."""
    for _ in range(times):
        p = np.pad(mask, 1)
        mask = mask | p[2:, 1:-1] | p[:-2, 1:-1] | p[1:-1, 2:] | p[1:-1, :-2]
    return mask


@pytest.mark.slow
def test_whole_set_has_its_images(whole):
    for split, count in (("train", 320), ("val", 100)):
        rows = images(whole, split)
        assert len(rows) == count == len(list((whole / split).iterdir()))
        for row in rows.values():
            with Image.open(whole / split / row["file_name"]) as image:
                assert image.mode == "RGB"
                assert image.size == (row["width"], row["height"])
            assert all(128 <= row[side] <= 176 for side in ("width", "height"))
        sizes = {(row["width"], row["height"]) for row in rows.values()}
        assert len(sizes) > count / 2
    assert not set(images(whole, "train")) & set(images(whole, "val"))
    labels = {f"{kind}_{split}" for kind in KINDS for split in ("train", "val")}
    assert {p.name for p in whole.iterdir()} == {"train", "val", "annotations", "VERSION", *labels}


def test_semantic_labels_tell_the_same_as_the_masks(whole):
    """Built up again from the instances' masks, which do not overlap."""
    content = json.loads((whole / "annotations" / "panoptic_val.json").read_text())
    ids = [row["id"] for row in content["categories"]]
    assert ids == [1, 2, 3, 4, 5, 6, 7] and content["categories"][-1]["name"] == "ground"
    assert [row["isthing"] for row in content["categories"]] == [1] * 6 + [0]
    coco = COCO(str(whole / "annotations" / "instances_val.json"))
    for row in content["annotations"][::7]:
        image = {k: np.asarray(Image.open(whole / f"{k}_val" / row["file_name"])) for k in KINDS}
        assert {k: x.ndim for k, x in image.items()} == {"semantic": 2, "stuff": 2, "panoptic": 3}
        classes = np.zeros_like(image["semantic"])
        objects = coco.loadAnns(coco.getAnnIds(imgIds=row["image_id"]))
        ground, *segments = row["segments_info"]
        assert (ground["id"], ground["category_id"], ground["iscrowd"]) == (1, 7, 0)
        assert len(segments) == len(objects)
        for o, s in zip(objects, segments, strict=True):
            mask = coco.annToMask(o).astype(bool)
            classes[mask] = o["category_id"]
            seen = image["panoptic"][..., 0] == s["id"]
            assert (seen ^ mask).sum() <= 0.03 * mask.sum() + 6  # of polygons rounded to pixels
            assert (s["category_id"], s["iscrowd"]) == (o["category_id"], o["iscrowd"])
            assert (s["area"], s["bbox"]) == (o["area"], o["bbox"])
        assert (classes != image["semantic"]).mean() < 0.01
        assert np.array_equal(image["stuff"], image["semantic"] == 0)
        assert not image["panoptic"][..., 1:].any() and image["panoptic"][..., 0].min() == 1
        assert ground["area"] == (image["semantic"] == 0).sum()


@pytest.mark.parametrize("name", FILES)
def test_coco_api_loads_every_file(few, name):
    api = COCO(few / "annotations" / name)
    content = load(few, name)
    assert set(content) == {"info", "licenses", "images", "categories", "annotations"}
    assert len(api.imgs) == FEW[name.split("_")[1][:-5]] == len(content["images"])
    assert len(api.anns) == len(content["annotations"]) > 0
    assert [c["id"] for c in content["categories"]] == list(range(1, len(api.cats) + 1))
    expected = CLASSES if name.startswith("instances") else ("arrow",)
    assert tuple(c["name"] for c in content["categories"]) == expected


def test_keypoint_category_as_in_coco(few):
    (category,) = load(few, "keypoints_val.json")["categories"]
    assert tuple(category["keypoints"]) == KEYPOINTS == ("tip", "left_wing", "right_wing", "tail")
    assert category["skeleton"] == [[1, 2], [1, 3], [1, 4]]


def test_two_runs_are_equal_in_every_byte(few, tmp_path):
    again = make_quickstart(tmp_path / "again", counts=FEW)
    files = sorted(p.relative_to(few) for p in few.rglob("*") if p.is_file())
    assert len(files) == (5 + 2) * 4 + 6 + 1  # images with three kinds of labels, json, marker
    for file in files:
        assert (few / file).read_bytes() == (again / file).read_bytes(), file


def test_an_image_does_not_depend_on_the_others(few, whole):
    for split in SPLITS:
        rows = images(few, split)
        for row in rows.values():
            assert np.array_equal(pixels(few, split, row), pixels(whole, split, row))
        for kind in ("instances", "keypoints"):
            small = annotations(few, split, kind=kind)
            large = annotations(whole, split, kind=kind)
            assert small == [a for a in large if a["image_id"] in rows]
    first, second = (next(iter(images(whole, split).values())) for split in SPLITS)
    one, other = pixels(whole, "train", first), pixels(whole, "val", second)
    assert one.shape != other.shape or not np.array_equal(one, other)


@pytest.mark.parametrize("split", SPLITS)
def test_boxes_and_areas_are_those_of_the_masks(whole, split):
    """Exact for RLE. A polygon is rasterised by pycocotools in its own way, which moves its edge by
    less than half a pixel: at most 1 pixel a side, and half a pixel along the outline."""
    rows = images(whole, split)
    for a in annotations(whole, split) + annotations(whole, split, crowd=True):
        mask = decode(a, rows[a["image_id"]])
        polygon = is_polygon(a)
        assert np.abs(tight_box(mask) - a["bbox"]).max() <= (2 if polygon else 0), a
        far = tight_box(mask)[:2] + tight_box(mask)[2:] - a["bbox"][:2] - a["bbox"][2:]
        assert np.abs(far).max() <= (1 if polygon else 0), a
        assert np.abs(tight_box(mask)[:2] - a["bbox"][:2]).max() <= (1 if polygon else 0), a
        allowed = 0.5 * outline_length(a["segmentation"][0]) if polygon else 0
        assert abs(int(mask.sum()) - a["area"]) <= allowed, a


def outline_length(polygon):
    """Pixels around a closed polygon [x1, y1, x2, y2, ...]."""
    points = np.reshape(polygon, (-1, 2))
    return np.hypot(*(points - np.roll(points, 1, axis=0)).T).sum()


def test_masks_are_what_was_drawn(whole):
    """Scenes are drawn again, and their own masks compared with the file's."""
    rows = images(whole, "train")
    found = annotations(whole, "train") + annotations(whole, "train", crowd=True)
    polygons = 0
    for index in range(40):
        drawn, figures = scene.draw_scene(split="train", index=index)
        assert np.array_equal(drawn, pixels(whole, "train", rows[index + 1]))
        mine = sorted((a for a in found if a["image_id"] == index + 1), key=lambda a: a["id"])
        visible, covered = scene.visible_masks(figures)
        assert [a["category_id"] - 1 for a in mine] == [CLASSES.index(f.name) for f in figures]
        for a, figure, seen, hidden in zip(mine, figures, visible, covered, strict=True):
            assert seen.sum() >= 0.35 * figure.area
            mask = decode(a, rows[index + 1])
            if not is_polygon(a):
                assert np.array_equal(mask, seen)
                continue
            polygons += 1
            assert not np.any(hidden & figure.mask)
            if max(a["bbox"][2:]) > 20:
                assert (mask & seen).sum() / (mask | seen).sum() > 0.9, a
    assert polygons > 50


def test_objects_stand_out_from_what_is_around_them(whole):
    """Mean colours one to three pixels inside and outside of wholly visible objects."""
    rows = images(whole, "val")
    contrasts = []
    for a in annotations(whole, "val"):
        if not is_polygon(a) or min(a["bbox"][2:]) < 16:
            continue
        row = rows[a["image_id"]]
        image, mask = pixels(whole, "val", row), decode(a, row)
        inside = mask & spread(~mask, 3) & ~spread(~mask, 1)
        outside = spread(mask, 3) & ~spread(mask, 1)
        difference = image[inside].mean(axis=0) - image[outside].mean(axis=0)
        contrasts.append(np.sqrt(np.mean(difference**2)))
    assert len(contrasts) > 80
    assert np.quantile(contrasts, 0.05) > 25  # grey levels
    assert np.median(contrasts) > 55


@pytest.mark.parametrize("split", SPLITS)
def test_every_class_and_every_size_is_there(whole, split):
    found = annotations(whole, split)
    classes = np.bincount([a["category_id"] for a in found], minlength=7)[1:] / len(found)
    assert classes.min() > 0.1 and classes.max() < 0.25
    areas = np.array([a["area"] for a in found])
    assert areas.min() >= 20
    assert 0.6 < np.mean(areas < 32**2) < 0.75
    assert 0.25 < np.mean((areas >= 32**2) & (areas < 96**2)) < 0.4
    assert 0.003 < np.mean(areas >= 96**2) < 0.03


@pytest.mark.parametrize("split", SPLITS)
def test_both_kinds_of_segmentation_are_frequent(whole, split):
    found, rows = annotations(whole, split), images(whole, split)
    ring = CLASSES.index("ring") + 1
    assert 0.5 < np.mean([is_polygon(a) for a in found]) < 0.75
    assert not any(is_polygon(a) for a in found if a["category_id"] == ring)
    assert np.mean([not is_polygon(a) for a in found if a["category_id"] != ring]) > 0.15
    for a in found:
        row = rows[a["image_id"]]
        if is_polygon(a):
            (polygon,) = a["segmentation"]
            x, y = np.reshape(polygon, (-1, 2)).T
            assert x.min() >= 0 and y.min() >= 0
            assert x.max() <= row["width"] and y.max() <= row["height"]
        else:
            assert a["segmentation"]["size"] == [row["height"], row["width"]]
            assert sum(a["segmentation"]["counts"]) == row["height"] * row["width"]


@pytest.mark.parametrize("split", SPLITS)
def test_crowds_empty_images_and_cut_objects(whole, split):
    rows, found = images(whole, split), annotations(whole, split)
    crowds = annotations(whole, split, crowd=True)
    assert len(crowds) == len({a["image_id"] for a in crowds}) == len(rows) // 10
    for a in crowds:
        assert set(a["segmentation"]) == {"counts", "size"}
        assert isinstance(a["segmentation"]["counts"], list)
        assert min(a["bbox"][2:]) >= 18 and a["area"] < 0.8 * a["bbox"][2] * a["bbox"][3]
    filled = [a["image_id"] for a in found + crowds]
    assert 0.05 <= 1 - len(set(filled)) / len(rows) <= 0.08
    assert max(filled.count(i) for i in rows) in (8, 9)  # 8 objects, and a crowd
    cut = 0
    for a in found:
        x, y, width, height = a["bbox"]
        row = rows[a["image_id"]]
        assert x >= 0 and y >= 0
        assert x + width <= row["width"] and y + height <= row["height"]
        cut += x == 0 or y == 0 or x + width == row["width"] or y + height == row["height"]
    assert 0.05 < cut / len(found) < 0.3


def test_a_crowd_is_many_tiny_objects_of_one_class():
    _, figures = scene.draw_scene(split="train", index=3)
    crowd, *others = figures
    assert crowd.is_crowd and 15 <= len(crowd.members) <= 30
    for polygons in crowd.members:
        points = np.concatenate(polygons)
        assert np.linalg.norm(points - points.mean(axis=0), axis=1).max() < 8  # pixels
    assert not any(figure.is_crowd for figure in others)


@pytest.mark.parametrize("split", SPLITS)
def test_keypoint_files_hold_the_arrows_of_the_same_images(whole, split):
    arrow = CLASSES.index("arrow") + 1
    for crowd in (False, True):
        arrows = annotations(whole, split, crowd=crowd)
        arrows = [a for a in arrows if a["category_id"] == arrow]
        named = annotations(whole, split, kind="keypoints", crowd=crowd)
        assert len(arrows) == len(named)
        for a, b in zip(arrows, named, strict=True):
            extra = {k: b[k] for k in ("keypoints", "num_keypoints", "category_id")}
            assert extra["category_id"] == 1
            assert {**a, **extra} == b
            assert not crowd or (b["num_keypoints"] == 0 and not any(b["keypoints"]))
    contents = [load(whole, f"{kind}_{split}.json") for kind in ("instances", "keypoints")]
    assert contents[0]["images"] == contents[1]["images"]


def test_keypoints_are_counted_and_inside_the_image(whole):
    rows, seen = images(whole, "train"), []
    for a in annotations(whole, "train", kind="keypoints"):
        points = np.reshape(a["keypoints"], (4, 3))
        row = rows[a["image_id"]]
        assert all(isinstance(value, int) for value in a["keypoints"])
        assert a["num_keypoints"] == sum(v in (1, 2) for v in points[:, 2])
        for x, y, v in points:
            assert v in (0, 1, 2)
            if v == 0:
                assert (x, y) == (0, 0)
            assert 0 <= x < row["width"] and 0 <= y < row["height"]
        seen.extend(points[:, 2])
    hidden, covered, visible = np.bincount(seen, minlength=3) / len(seen)
    assert hidden > 0.005 and covered > 0.005 and visible > 0.85


def test_keypoint_visibility_agrees_with_the_masks(whole):
    """A visible keypoint is a pixel of its own arrow; a covered one is one of another object.

    pycocotools cuts the sharp corners of polygons, so those masks are grown by two pixels.
    """
    rows, masks = images(whole, "train"), {}
    for a in annotations(whole, "train"):
        mask = spread(decode(a, rows[a["image_id"]]), 2 if is_polygon(a) else 0)
        masks.setdefault(a["image_id"], {})[a["id"]] = mask
    for a in annotations(whole, "train", kind="keypoints"):
        others = dict(masks[a["image_id"]])
        own = others.pop(a["id"])
        for x, y, v in np.reshape(a["keypoints"], (4, 3)):
            if v == 2:
                assert own[y, x], a
            elif v == 1:
                assert not own[y, x] and any(mask[y, x] for mask in others.values()), a


def test_keypoints_have_the_shape_of_an_arrow(whole):
    checked = 0
    for a in annotations(whole, "train", kind="keypoints"):
        points = np.reshape(a["keypoints"], (4, 3))
        if (points[:, 2] == 0).any():
            continue
        tip, left, right, tail = points[:, :2].astype(float)
        shaft = tip - tail
        length = np.hypot(*shaft)
        assert 9 < length < 141
        along, across = shaft / length, np.array([shaft[1], -shaft[0]]) / length  # to the left
        for wing, side in ((left, 1), (right, -1)):
            reach = side * np.dot(wing - tail, across) / length
            assert 0.32 - 2.5 / length < reach < 0.4 + 2.5 / length
            assert abs(np.dot(wing - tail, along) / length - 0.55) < 0.05 + 2.5 / length
        if is_polygon(a):
            x, y, width, height = a["bbox"]
            for point in (tip, left, right, tail):
                assert x <= point[0] < x + width and y <= point[1] < y + height
            checked += 1
    assert checked > 80


def test_backgrounds_are_not_flat(whole):
    rows = images(whole, "train")
    filled = {a["image_id"] for a in annotations(whole, "train")}
    filled |= {a["image_id"] for a in annotations(whole, "train", crowd=True)}
    empty = [pixels(whole, "train", rows[i]) for i in rows if i not in filled]
    assert len(empty) == 20
    assert min(image.std(axis=(0, 1)).mean() for image in empty) > 10  # grey levels
    assert min(np.diff(image, axis=1).std() for image in empty) > 1.5
    assert np.std([image.mean() for image in empty]) > 10


def test_a_second_call_writes_nothing(few):
    before = {p: p.stat().st_mtime_ns for p in few.rglob("*")}
    assert make_quickstart(few, counts=FEW) == few
    assert {p: p.stat().st_mtime_ns for p in few.rglob("*")} == before


def test_an_interrupted_call_leaves_nothing(tmp_path, monkeypatch):
    draw = generate.draw_scene

    def interrupted(*, split, index):
        if (split, index) == ("val", 1):
            assert not (tmp_path / "root").exists()
            raise KeyboardInterrupt
        return draw(split=split, index=index)

    monkeypatch.setattr(generate, "draw_scene", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make_quickstart(tmp_path / "root", counts=FEW)
    assert list(tmp_path.iterdir()) == []


def test_a_set_of_another_version_is_replaced(tmp_path, monkeypatch):
    root = make_quickstart(tmp_path / "root", counts=FEW)
    (root / "train" / "stale.png").write_text("")
    monkeypatch.setattr(generate, "VERSION", generate.VERSION + 1)
    make_quickstart(root, counts=FEW)
    assert str(generate.VERSION) in (root / "VERSION").read_text()
    assert len(list((root / "train").iterdir())) == FEW["train"]
    assert list(tmp_path.iterdir()) == [root]


@pytest.mark.parametrize("name", ["holiday.jpg", "VERSION"])
def test_a_foreign_folder_is_refused_and_left_alone(tmp_path, name):
    root = tmp_path / "root"
    root.mkdir()
    (root / name).write_text("mine")
    message = "root exists and is not a quickstart dataset .* nothing was changed"
    with pytest.raises(InputError, match=message):
        make_quickstart(root, counts=FEW)
    assert [(p.name, p.read_text()) for p in root.iterdir()] == [(name, "mine")]
    with pytest.raises(InputError, match=message.replace("root", name)):
        make_quickstart(root / name, counts=FEW)


def test_a_folder_that_cannot_be_written_is_an_error_of_the_user(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError) as error:
        make_quickstart(tmp_path / "file" / "root", counts=FEW)
    assert f"cannot be written to {tmp_path}/file/root: " in str(error.value)
    assert "DETECTRON2_DATASETS" in str(error.value)


def test_an_empty_folder_is_taken(tmp_path):
    make_quickstart(tmp_path, counts={"train": 1, "val": 1})
    assert (tmp_path / "VERSION").read_text().endswith(": 1 train, 1 val\n")


def test_the_slower_of_two_processes_keeps_what_the_faster_one_made(tmp_path, monkeypatch):
    write, started = generate._write_split, []

    def overtaken(folder, *, split, count):
        if not started:
            started.append(split)
            make_quickstart(tmp_path / "root", counts=FEW)
            started.append((tmp_path / "root" / "VERSION").stat().st_ino)
        write(folder, split=split, count=count)

    monkeypatch.setattr(generate, "_write_split", overtaken)
    root = make_quickstart(tmp_path / "root", counts=FEW)
    assert (root / "VERSION").stat().st_ino == started[1]
    assert list(tmp_path.iterdir()) == [root]


def test_two_at_once_both_return_a_whole_set(tmp_path, few):
    with ThreadPoolExecutor(max_workers=2) as pool:
        calls = [pool.submit(make_quickstart, tmp_path / "root", counts=FEW) for _ in range(2)]
        roots = [call.result() for call in calls]
    assert roots == [tmp_path / "root"] * 2 and list(tmp_path.iterdir()) == roots[:1]
    assert load(roots[0], "instances_train.json") == load(few, "instances_train.json")


def test_no_progress_bar_without_a_terminal(tmp_path, capsys):
    make_quickstart(tmp_path / "root", counts={"train": 1, "val": 1})
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("module", [generate, paint, scene, shapes])
def test_generator_does_without_detectron2(module):
    names = set()
    for node in ast.walk(ast.parse(Path(module.__file__).read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module if node.module.startswith("hrnet_det") else node.module[:3])
    assert not names & {"detectron2", "det", "torch", "tor"}
    parts = ("data.quickstart." + name for name in ("paint", "scene", "shapes"))
    allowed = {f"hrnet_det.{name}" for name in ("errors", *parts)}
    assert {n for n in names if n.startswith("hrnet_det")} <= allowed


def test_coverage_counts_the_covered_share_of_each_pixel():
    square = np.array([[0.5, 0.5], [2.5, 0.5], [2.5, 1.75], [0.5, 1.75]])
    rows, columns, alpha = shapes.coverage([square], height=4, width=4)
    assert (rows, columns) == (slice(0, 2), slice(0, 3))
    assert alpha.tolist() == [[0.25, 0.5, 0.25], [0.375, 0.75, 0.375]]
    hole = np.array([[1.0, 0.5], [2.0, 0.5], [2.0, 1.75], [1.0, 1.75]])
    _, _, alpha = shapes.coverage([square, hole], height=4, width=4)
    assert alpha.tolist() == [[0.25, 0.0, 0.25], [0.375, 0.0, 0.375]]
    _, columns, alpha = shapes.coverage([square], height=4, width=2)
    assert columns == slice(0, 2) and alpha.tolist() == [[0.25, 0.5], [0.375, 0.75]]
    _, _, alpha = shapes.coverage([square + 100], height=4, width=4)
    assert alpha.size == 0


@pytest.mark.parametrize("name", CLASSES)
def test_an_outline_has_its_longer_side_near_1(name):
    polygons, keypoints = shapes.outline(name=name, rng=np.random.default_rng(0))
    points = np.concatenate(polygons)
    assert 0.95 < np.ptp(points, axis=0).max() < 1.05
    assert (keypoints is None) == (name != "arrow")
    if name == "disc":
        assert shapes.polygon_area(points) == pytest.approx(np.pi / 4)


def test_an_unknown_outline_is_refused():
    with pytest.raises(ValueError, match="'hexagon'; known are disc, ring, square"):
        shapes.outline(name="hexagon", rng=np.random.default_rng(0))
