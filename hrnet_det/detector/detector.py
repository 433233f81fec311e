"""A trained detector in one line, whoever trained it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from detectron2.config import CfgNode
from detectron2.data import DatasetMapper
from detectron2.structures import Instances
from omegaconf import DictConfig
from torch import nn

from hrnet_det import model_zoo
from hrnet_det.checkpoint import LoadReport
from hrnet_det.config import settings
from hrnet_det.config.load import as_run
from hrnet_det.config.run_config import RunConfig
from hrnet_det.data.mapper import build_test_mapper, reader_of
from hrnet_det.data.pixels import Source
from hrnet_det.detector.detections import Detections
from hrnet_det.detector.inference import Pass, Pixels, name_of
from hrnet_det.detector.loading import load
from hrnet_det.detector.options import Wanted, checked_count, set_options, sides_of
from hrnet_det.detector.tiles import MERGE, OVERLAP, Tiling
from hrnet_det.errors import InputError
from hrnet_det.export.export import Exported, export
from hrnet_det.export.exported_model import ExportedModel, resizing_within, run_for_images
from hrnet_det.export.options import ExportOptions
from hrnet_det.modeling.inference.borrowed import borrowed
from hrnet_det.modeling.kinds import kind_of

logger = logging.getLogger("detectron2.hrnet_det")


class Detector:
    """A detector with its weights: images in, Detectron2's Instances out.

    Args:
        model: a Detectron2 detector, in evaluation mode.
        config: its RunConfig, or Detectron2's config: the format and size of the images that it
            expects, and the form that it runs in (TEST.OPTIMIZED, DTYPE, COMPILE, ENGINE).
        data: what its weights say of the images that they were trained on.
    Raises: InputError if the config asks for a way to resize or to compute that cannot be had, or
        is of a model that detects no objects.
    """

    def __init__(
        self,
        model: nn.Module,
        config: RunConfig | CfgNode | DictConfig,
        class_names: Sequence[str],
        report: LoadReport | None = None,
        data: Mapping = MappingProxyType({}),
    ) -> None:
        self.run = run = as_run(config)
        self.cfg = run.cfg
        if not kind_of(run).detects:
            raise InputError(
                f"{kind_of(run).title} gives no objects; take its model, model_zoo.get(CONFIG, "
                "weights=FILE), or evaluate it with --eval-only"
            )
        self.model = model_zoo.inference_form(run, model)
        self._exported = model if isinstance(model, ExportedModel) else None
        self._most = sys.maxsize if self._exported is None else model.most  # of an image or tile
        self.class_names = list(class_names)
        self.report = report
        self._data, self._said = data, set()
        self._mapper = build_test_mapper(run_for_images(run, model))
        self._sizes = {(): (run, self._mapper)}
        self.read = reader_of(self._mapper)

    @classmethod
    def from_pretrained(
        cls,
        weights: str | Path,
        *,
        config: str | Path | RunConfig | CfgNode | DictConfig | None = None,
        device: str | None = None,
        class_names: Sequence[str] | None = None,
        size: int | Sequence[int] = (),
        max_detections: int | None = None,
        pixel_range: Sequence[float] = (),
        max_pixels: int | None = None,
        allow_pickle: bool = False,
        to_export: bool = False,
    ) -> Detector:
        """The detector of a weights file, computing what the code base that trained it computes.

        Args:
            weights: a file or address, as MODEL.WEIGHTS: of mmdetection, HRNet-Object-Detection,
                HRNet-MaskRCNN-Benchmark, `hrnet-det convert` or this trainer; the folder of a
                training, of which model_best.pth is taken where there is one (`run_weights`); or
                what such a detector was exported to (`export`), which runs on the CPU.
            config: a file, the name of a shipped config or of a published checkpoint, or a config;
                by default what the file says, or what its tensors' names and shapes do.
            device: by default a GPU where there is one; to_export needs the CPU.
            class_names: by default those in the file, or COCO's where it has 80 classes.
            size: shorter side, and where it is given at most the longer one, that images are
                resized to, pixels; by default the config's.
            max_detections: of an image; by default the config's.
            pixel_range: low and high of images of more than 8 bits, which become black and white
                (`read_pixels`); by default those that the detector was trained with.
            max_pixels: of larger images none is decoded; by default the config's.
            allow_pickle: permit a file that runs code when it is loaded.
            to_export: in the form that `export` takes, whatever TEST.DTYPE and TEST.COMPILE say.
        Raises: InputError if the file cannot be read, lacks a tensor of the detector, or says too
            little; MissingInputError if it is not there.
        """
        loaded = load(
            weights,
            config=config,
            device=device,
            class_names=class_names,
            allow_pickle=allow_pickle,
            to_export=to_export,
            size=size,
            max_detections=max_detections,
            pixel_range=pixel_range,
            max_pixels=max_pixels,
        )
        return cls(*loaded)

    def __call__(
        self,
        images: Source | Sequence[Source],
        *,
        size: int | Sequence[int] = (),
        score: float | None = None,
        classes: Sequence[str | int] = (),
        max_detections: int | None = None,
        tile: int | None = None,
        overlap: float = OVERLAP,
        merge: str = MERGE,
        batch: int = 1,
    ) -> Detections | list[Detections]:
        """Detect the objects of an image, or of each image of a list.

        Args:
            images: a path; a PIL image; an array (H, W) or, in RGB, (H, W, 3); or a list of these.
            size, max_detections: as for `from_pretrained`, for this call.
            score: objects of a lower one are left out; by default the config's. A lower one than
                the config's gives more objects.
            classes: names or numbers of the classes that are wanted; by default all. They are
                chosen from the best CANDIDATES objects at least, before max_detections are left.
            tile: side in pixels of the tiles in which a larger image is detected, and once as a
                whole; each is resized as an image of its size would be. An image that one tile
                covers is detected as without this option; of others the objects have no
                pred_keypoint_heatmaps. The config's max_detections are then those of a tile; an
                image has more unless they are given here.
            overlap: share of a tile, at least, in which the next one overlaps it; an object that
                is shorter is whole in one of them.
            merge: "nms": of what several tiles have found of an object the best is taken, and
                the parts of one that none has whole are joined. "sahi": by SAHI's own code.
            batch: how many images of a list, or tiles, go through the network together, at most;
                those that have one shape when they are resized, so that results stay the same.
        Returns: for each image its objects on the CPU, best first: Detectron2's Instances that
            can be shown and saved (`Detections`), with pred_boxes in pixels of the image, scores,
            pred_classes (numbers in class_names), and where the detector predicts them pred_masks
            (N, H, W) bool (of tiles RunLengthMasks where these would take more than 1 GiB)
            and pred_keypoints.
        Raises: InputError if an option is not allowed, an image is none of these, or the
            detector's numbers are not finite; MissingInputError if an image is not there.
        """
        options = {"score": score, "classes": classes, "max_detections": max_detections}
        wanted = Wanted.checked(self.class_names, **options)
        tiling = Tiling.checked(tile, overlap, merge)
        checked_count("batch", batch)
        if self._exported is not None:
            most = max_detections if tiling is None else None  # of tiles those of each are joined
            self._exported.check_options(size=size, score=score, most=most)
            self._remark("classes", self._exported.classes_remark(wanted.classes))
        run, mapper = self._resized_to(size)
        several = isinstance(images, (list, tuple))
        sources = images if several else [images]
        each = wanted if tiling is None else wanted.of_tiles(run)
        values = each.of_model(run, self.model)
        if sides_of(size) and not run.is_lazy:
            values["test_sides"] = (run[settings.MIN_SIZE_TEST], run[settings.MAX_SIZE_TEST])
        work = Pass(
            self.model,
            mapper,
            wanted,
            most=min(each.most or run.detections_per_image, self._most),
            batch=batch,
            masks=each.candidates(run) if kind_of(run).masks else 0,
            data=self._data,
            remark=self._remark,
            resizing=resizing_within(run, self.model),
        )
        read = (Pixels(name_of(s), self.read(s, mapper.image_format)) for s in sources)
        with borrowed(self.model, values):
            found = work.objects(read) if tiling is None else work.in_tiles(read, tiling)
        found = [self._known(*pair) for pair in zip(sources, found, strict=True)]
        return found if several else found[0]

    def export(
        self,
        path: str | Path,
        *,
        format: str = "onnx",
        precision: str = "float32",
        processing: str | None = None,
        part: str = "detector",
        size: Sequence[int] = (),
        batch: int = 1,
        images: str | Path | Sequence[str | Path] = (),
        score: float | None = None,
        max_detections: int | None = None,
    ) -> Exported:
        """Write the detector as a file that other programs run, and compare it with this one.

        What is decided, and how the file differs, is printed.

        Args:
            path: its end is the format's: .onnx, .xml, .torchscript, .pt2. All else is as in
                hrnet_det.export.ExportOptions.
        Returns: the path, with the metadata of the file.
        Raises: InputError if the format has no such form, the detector is not in float32, or the
            file does not compute what PyTorch does; then there is no file.
        """
        if self._exported is not None:
            self._exported.refuse_to_be_exported()
        words = (format, precision, processing, part, tuple(size), batch, images)
        options = ExportOptions(*words, score, max_detections)
        return export(self.model, self.run, self.class_names, path, options, data=self._data)

    def _resized_to(self, size: int | Sequence[int]) -> tuple[RunConfig, DatasetMapper]:
        """The config and mapper of images that are resized to a size; () for the config's."""
        key = sides_of(size)
        if key not in self._sizes:
            run = self.run.copy()
            set_options(run, size=size)
            self._sizes[key] = run, build_test_mapper(run_for_images(run, self.model))
        return self._sizes[key]

    def _known(self, source: Source, objects: Instances) -> Detections:
        """Objects that know their image, and how it is read."""
        limits = ("pixel_range", "max_pixels")
        reading = {k: getattr(self._mapper, k) for k in limits if hasattr(self._mapper, k)}
        return Detections.of(objects, source, self.class_names, **reading)

    def _remark(self, kind: str, text: str) -> None:
        """Say something of an image, the first time that there is such a thing to say."""
        if text and kind not in self._said:
            self._said.add(kind)
            logger.warning(text)
