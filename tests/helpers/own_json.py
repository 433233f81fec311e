"""The json of a small dataset of the user's own, right for everything, and what changes it."""

import copy

from PIL import Image

HEIGHT, WIDTH = 24, 32  # pixels, of every image
POLYGON = [4, 4, 14, 4, 14, 12, 4, 12]
# The same pixels, down columns 4 to 13: of 24 pixels each, those from row 4 to 11.
COUNTS = [100, *[8, 16] * 9, 8, HEIGHT * WIDTH - 324]
RUNS = {"size": [HEIGHT, WIDTH], "counts": COUNTS}
POINTS = ["tip", "left_foot", "right_foot"]


def annotation(number, image_id, category_id, segmentation, iscrowd=0):
    return {
        "id": number,
        "image_id": image_id,
        "category_id": category_id,
        "bbox": [4, 4, 10, 8],
        "area": 80,
        "iscrowd": iscrowd,
        "segmentation": segmentation,
        "keypoints": [5, 5, 2, 6, 6, 1, 0, 0, 0],
        "num_keypoints": 2,
    }


def valid():
    """The content of a json that is right for everything."""
    images = [
        {"id": i, "file_name": f"{i}.png", "height": HEIGHT, "width": WIDTH} for i in (1, 2, 3)
    ]
    objects = [(1, 1, 7, [POLYGON]), (2, 1, 3, [POLYGON, POLYGON]), (3, 2, 3, RUNS)]
    annotations = [annotation(*each) for each in objects]
    categories = [{"id": 7, "name": "bar"}, {"id": 3, "name": "disc", "keypoints": POINTS}]
    return copy.deepcopy(
        {
            "images": images,
            "annotations": [*annotations, annotation(4, 3, 3, RUNS, iscrowd=1)],
            "categories": categories,
        }
    )


def changed(path, value):
    """`valid` with another value at a path such as "images.0.height"; `...` takes it away."""
    content = node = valid()
    *keys, last = (int(key) if key.isdigit() else key for key in path.split("."))
    for key in keys:
        node = node[key]
    if value is ...:
        del node[last]
    else:
        node[last] = value
    return content


def write_images(folder):
    """The images of `valid`."""
    folder.mkdir(parents=True)
    for i in (1, 2, 3):
        Image.new("RGB", (WIDTH, HEIGHT), (40 * i, 0, 0)).save(folder / f"{i}.png")
