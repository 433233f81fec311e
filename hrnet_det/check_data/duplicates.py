"""Images that are there more than once, within a dataset and across datasets."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from hrnet_det.check_data.decoding import Place
from hrnet_det.data.coco_values import examples
from hrnet_det.data.findings import Finding


def duplicate_findings(
    dataset: str, total: int, groups: Sequence[Sequence[Place]], trained: Collection[str]
) -> Iterator[tuple[Finding, dict[int, Place]]]:
    """What is wrong with a dataset's images that have the same pixels as others.

    Args:
        total: its images.
        groups: images that have the same pixels.
        trained: the datasets that are trained on while this one is tested on.
    Yields: a finding, and of each image that it names an image with the same pixels.
    """
    within: dict[int, Place] = {}
    across: dict[int, Place] = {}
    for group in groups:
        own = [place for place in group if place.dataset == dataset]
        within |= {place.image: own[0] for place in own[1:]}
        other = next((place for place in group if place.dataset in trained), None)
        across |= {place.image: other for place in own if other}
    for kind, beside, text in (
        (
            "images-in-training-too",
            across,
            "images have the same pixels as one to train on, so that AP is "
            "what was learnt: take them out of one of the two",
        ),
        (
            "images-repeated",
            within,
            "images have the same pixels as an earlier one of this dataset: remove them",
        ),
    ):
        if beside:
            text = f"{len(beside)} of {total} {text}: {_pairs(beside)}"
            yield Finding(kind, "warning", text, images=tuple(beside)), beside


def _pairs(beside: Mapping[int, Place]) -> str:
    return examples(f"id {image} as id {place.image}" for image, place in beside.items())
