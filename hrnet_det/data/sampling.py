"""The images of a training: which one comes when, and how it is augmented, follows from a seed."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from detectron2.data import DatasetFromList, MapDataset
from detectron2.data.build import build_detection_train_loader
from detectron2.data.samplers import TrainingSampler
from detectron2.utils import comm
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler

from hrnet_det.data.random_numbers import random_numbers_apart, seed_random_numbers

Place = tuple[int, int]  # of an image in the endless order, counted from 0; in the dataset


class TrainingLoader:
    """Endless batches of a process, each a list of what the mapper makes of a row.

    The order of images, the batches and the augmentations are a function of the seed: not of the
    number of data workers, of processes, or of what came before. Each process takes its part of
    every batch of the whole job; with aspect_ratio_grouping the images of such a batch are all
    wide or all high.

    Differs from source (Detectron2's loader): there each process groups images for itself, and
    what an augmentation draws depends on the worker's history.

    Args:
        dataset: rows, mapped.
        sampler: one of Detectron2's for training: whoever made it, its seed is this one's.
        wide: for each row whether its image is wider than high; empty: images are not grouped.
        batch_size: images of all processes together.
        num_workers: processes that read images; 0 reads in this one.
        collate: what makes a batch of a list.
        options: further ones of torch's DataLoader.
        digest: tells one dataset from another; "" where it is not known.
    Attributes:
        seed: of order and augmentations, at least 0.
        start: the batch to begin with; those before are counted, not read.
    """

    def __init__(
        self,
        dataset: Dataset,
        sampler: Sampler,
        *,
        wide: Sequence[bool],
        batch_size: int,
        num_workers: int = 0,
        collate: Callable[[list], Any] | None = None,
        digest: str = "",
        **options: Any,
    ) -> None:
        self.dataset, self.sampler, self.wide, self.batch_size = dataset, sampler, wide, batch_size
        self.collate, self.digest = collate or _same, digest
        # A generator of its own: making an iterator draws from it a seed that nothing depends on.
        self.options = {"num_workers": num_workers, "generator": torch.Generator(), **options}
        self.seed, self.start = comm.shared_random_seed(), 0
        if num_workers:  # so many images of each that the next batch is there in time
            ahead = 1 + math.ceil(self._part / num_workers)
            self.options.setdefault("prefetch_factor", max(2, ahead))

    @property
    def _part(self) -> int:
        """Images of a batch in this process."""
        return self.batch_size // comm.get_world_size()

    def __iter__(self) -> Iterator[Any]:
        part = self._part
        images = iter(
            DataLoader(
                _SeededImages(self.dataset, self.seed),
                batch_size=None,  # of single images workers hold fewer than of batches
                sampler=_OfThisProcess(self._batches(), comm.get_rank(), part),
                collate_fn=_same,
                **self.options,
            )
        )
        while True:
            yield self.collate([next(images) for _ in range(part)])

    def _batches(self) -> Iterator[list[Place]]:
        """Those of the whole job, from `start` on."""
        self.sampler._seed = self.seed
        places = enumerate(self.sampler._infinite_indices())  # of all processes
        return islice(grouped(places, self.wide, self.batch_size), self.start, None)


def grouped(places: Iterable[Place], wide: Sequence[bool], size: int) -> Iterator[list[Place]]:
    """Batches in the order in which they are full; with `wide` each of images of one shape."""
    groups: tuple[list[Place], list[Place]] = ([], [])
    for place in places:
        group = groups[bool(wide) and wide[place[1]]]
        group.append(place)
        if len(group) == size:
            yield list(group)
            group.clear()


class _OfThisProcess(Sampler):
    """The images of a process, one by one: its part of each batch."""

    def __init__(self, batches: Iterator[list[Place]], rank: int, part: int) -> None:
        self.batches, self.rank, self.part = batches, rank, part

    def __iter__(self) -> Iterator[Place]:
        first = self.rank * self.part
        for batch in self.batches:
            yield from batch[first : first + self.part]


class _SeededImages(Dataset):
    """Images by their place in the order, which with the seed decides how they are augmented."""

    def __init__(self, dataset: Dataset, seed: int) -> None:
        self.dataset, self.seed = dataset, seed

    def __getitem__(self, place: Place) -> Any:
        number, index = place
        with random_numbers_apart():
            seed_random_numbers(self.seed, number)
            return self.dataset[index]


def _same(value: Any) -> Any:
    return value


def build_train_loader(
    dataset: list[dict] | Dataset,
    *,
    mapper: Callable[[dict], Any] | None,
    sampler: Sampler | None = None,
    total_batch_size: int,
    aspect_ratio_grouping: bool = True,
    num_workers: int = 0,
    collate_fn: Callable[[list], Any] | None = None,
    **options: Any,
) -> Iterable:
    """A TrainingLoader, of the arguments of Detectron2's build_detection_train_loader.

    Returns: Detectron2's own loader where a dataset has no places to choose from (IterableDataset),
        or a sampler is not one of Detectron2's for training: their order is nobody's but theirs.
    """
    sampler = sampler or _default_sampler(dataset)
    if not hasattr(sampler, "_infinite_indices"):
        return build_detection_train_loader(
            dataset,
            mapper=mapper,
            sampler=sampler,
            total_batch_size=total_batch_size,
            aspect_ratio_grouping=aspect_ratio_grouping,
            num_workers=num_workers,
            collate_fn=collate_fn,
            **options,
        )
    wide = _wide(dataset) if aspect_ratio_grouping else []
    digest = digest_of(dataset) if isinstance(dataset, (list, DatasetFromList)) else ""
    images = DatasetFromList(dataset, copy=False) if isinstance(dataset, list) else dataset
    return TrainingLoader(
        images if mapper is None else MapDataset(images, mapper),
        sampler,
        wide=wide,
        batch_size=total_batch_size,
        num_workers=num_workers,
        collate=collate_fn,
        digest=digest,
        **options,
    )


def _default_sampler(dataset: list[dict] | Dataset) -> Sampler | None:
    return None if isinstance(dataset, IterableDataset) else TrainingSampler(len(dataset))


def _wide(rows: Sequence[dict]) -> list[bool]:
    """Of each row; empty where rows do not say sizes, as those of Detectron2's panoptic sets."""
    if not len(rows) or "width" not in rows[0]:
        return []
    shapes = ((row["width"], row["height"]) for row in map(rows.__getitem__, range(len(rows))))
    return [width > height for width, height in shapes]


def digest_of(rows: Sequence[dict]) -> str:
    """Of the names of the images, in their order, and how many objects each has."""
    found = hashlib.sha256()
    for row in map(rows.__getitem__, range(len(rows))):
        name, objects = Path(row["file_name"]).name, len(row.get("annotations", ()))
        found.update(f"{name}\0{row.get('image_id')}\0{objects}\n".encode())
    return found.hexdigest()
