"""The order of images to train on, against one written down naively."""

import random
from itertools import chain, islice

import numpy as np
import pytest
import torch
from detectron2.data.samplers import InferenceSampler, RepeatFactorTrainingSampler, TrainingSampler
from detectron2.utils import comm
from torch.utils.data import DataLoader, IterableDataset

from hrnet_det.data.sampling import TrainingLoader, build_train_loader

SIZES = [(3, 2), (2, 3), (4, 1), (1, 1), (5, 3), (2, 9), (3, 1)]  # width, height
WIDE = [w > h for w, h in SIZES]


def rows():
    return [
        {"file_name": f"/any/{n}.png", "image_id": n, "width": w, "height": h, "annotations": []}
        for n, (w, h) in enumerate(SIZES)
    ]


def draw(row):
    """A mapper that augments with each kind of random number."""
    drawn = (random.random(), float(np.random.rand()), float(torch.rand(())))
    return {"image_id": row["image_id"], "drawn": drawn, "wide": row["width"] > row["height"]}


def loader(**options):
    given = {"mapper": draw, "total_batch_size": 4, "aspect_ratio_grouping": True, **options}
    built = build_train_loader(rows(), **given)
    built.seed = 5
    return built


def first(count, **options):
    start = options.pop("start", 0)
    built = loader(**options)
    built.start = start
    return list(islice(built, count))


def naive_order(count, size):
    """Image ids of batches: rounds of all images, shuffled, gathered by shape as they come."""
    generator = torch.Generator()
    generator.manual_seed(5)
    waiting, batches = {True: [], False: []}, []
    while len(batches) < count:
        for index in torch.randperm(len(SIZES), generator=generator).tolist():
            group = waiting[WIDE[index]]
            group.append(index)
            if len(group) == size:
                batches.append(group.copy())
                group.clear()
    return batches[:count]


def test_images_come_in_shuffled_rounds_gathered_by_shape():
    batches = first(12)
    assert [[image["image_id"] for image in batch] for batch in batches] == naive_order(12, 4)
    assert all(len({image["wide"] for image in batch}) == 1 for batch in batches)


def test_without_grouping_a_round_is_every_image_once():
    ids = [image["image_id"] for batch in first(7, aspect_ratio_grouping=False) for image in batch]
    rounds = [ids[at : at + 7] for at in range(0, 28, 7)]
    assert [sorted(found) for found in rounds] == [list(range(7))] * 4
    assert len(set(map(tuple, rounds))) > 1  # and not in one order


def test_every_image_is_augmented_in_its_own_way():
    drawn = [image["drawn"] for batch in first(12) for image in batch]
    assert len(set(drawn)) == len(drawn)
    assert all(len(set(numbers)) == 3 for numbers in drawn)


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_change_neither_order_nor_augmentation(workers):
    assert first(6, num_workers=workers) == first(6)


@pytest.mark.parametrize("start", range(9))
def test_what_comes_from_a_batch_on_is_what_would_have_come(start):
    assert first(3, start=start) == first(start + 3)[start:]


def test_batches_before_the_start_are_not_read():
    read = []

    def note(row):
        read.append(row["image_id"])
        return draw(row)

    later = first(2, mapper=note, start=5)
    assert read == [image["image_id"] for batch in later for image in batch]


@pytest.mark.parametrize("processes", [2, 4])
def test_processes_share_the_batches_of_one(monkeypatch, processes):
    whole = first(6)
    monkeypatch.setattr(comm, "get_world_size", lambda: processes)
    monkeypatch.setattr(comm, "shared_random_seed", lambda: 0)
    parts = []
    for rank in range(processes):
        monkeypatch.setattr(comm, "get_rank", lambda rank=rank: rank)
        parts.append(first(6))
    together = [list(chain(*batch)) for batch in zip(*parts, strict=True)]
    assert together == whole


def test_the_random_numbers_of_the_model_are_left_alone():
    batches = iter(loader())
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    next(batches), next(batches)
    assert torch.equal(torch.rand(2), expected)


def test_other_seeds_give_other_orders_and_augmentations():
    other = loader()
    other.seed = 6
    (ours,), (theirs,) = first(1), list(islice(other, 1))
    assert {image["drawn"] for image in ours}.isdisjoint(image["drawn"] for image in theirs)


def test_rare_images_are_repeated_by_detectron2s_sampler():
    factors = torch.tensor([3.0, 1, 1, 1, 1, 1, 1])
    sampler = RepeatFactorTrainingSampler(factors, seed=99)
    built = build_train_loader(
        rows(), mapper=draw, sampler=sampler, total_batch_size=9, aspect_ratio_grouping=False
    )
    ids = [image["image_id"] for image in next(iter(built))]
    assert sorted(ids) == [0, 0, 0, 1, 2, 3, 4, 5, 6]


class Stream(IterableDataset):
    def __iter__(self):
        yield from ({"image_id": n, "width": 2, "height": 1} for n in range(4))


def test_orders_that_are_not_ours_are_left_to_detectron2():
    stream = build_train_loader(Stream(), mapper=None, total_batch_size=2)
    assert not isinstance(stream, TrainingLoader)
    assert [[row["image_id"] for row in batch] for batch in stream] == [[0, 1], [2, 3]]
    own = build_train_loader(
        rows(), mapper=None, sampler=InferenceSampler(7), total_batch_size=2,
        aspect_ratio_grouping=False,
    )  # fmt: skip
    assert isinstance(own, DataLoader)
    assert [row["image_id"] for row in next(iter(own))] == [0, 1]


def test_a_dataset_is_told_from_another_one():
    before, renamed, moved = rows(), rows(), rows()
    renamed[2]["file_name"] = "/any/other.png"
    moved = [{**row, "file_name": row["file_name"].replace("any", "elsewhere")} for row in moved]
    digests = [
        build_train_loader(r, mapper=None, total_batch_size=1).digest
        for r in (before, renamed, moved, before[::-1])
    ]
    assert digests[0] == digests[2]
    assert len(set(digests)) == 3


def test_a_batch_ahead_is_in_the_workers():
    built = TrainingLoader(
        rows(), TrainingSampler(7), wide=[], batch_size=16, num_workers=4, digest=""
    )
    assert built.options["prefetch_factor"] == 5  # 4 * 5 images: a batch of 16 and one each
