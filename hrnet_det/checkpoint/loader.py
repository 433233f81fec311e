"""The Checkpointer: any known HRNet weights into a model, proven tensor by tensor."""

import logging
from pathlib import Path
from typing import Any

import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.utils import comm
from fvcore.common.checkpoint import _IncompatibleKeys
from torch import Tensor, nn

from hrnet_det.checkpoint.addresses import SECOND_SET, find_weights, split_set
from hrnet_det.checkpoint.classes import ClassMatch, match_classes, reorder
from hrnet_det.checkpoint.finite import check_values, named_tensors
from hrnet_det.checkpoint.formats import BODY, OWN
from hrnet_det.checkpoint.io import METADATA_KEY, read_weights, some
from hrnet_det.checkpoint.latest import LAST, latest_checkpoint, remove_earlier
from hrnet_det.checkpoint.load_report import LoadReport, compare
from hrnet_det.checkpoint.renaming import rename
from hrnet_det.checkpoint.writing import remove_partial, written_aside
from hrnet_det.errors import InputError
from hrnet_det.modeling import HRNet

logger = logging.getLogger("detectron2.hrnet_det")


class Checkpointer(DetectionCheckpointer):
    """Detectron2's checkpointer, for the weights of any project, and stricter.

    Args:
        model: an HRNet, a backbone or a detector. save_dir: where `save` writes to.
        allow_pickle: permit files that run code when they are loaded.
        strict: refuse a file in which tensors of a part are missing or have other shapes; False
            takes what fits of it.
        metadata: written into every checkpoint under "hrnet_det": classes, config, ...
        kept: of the checkpoints named after their iteration, how many last ones `save` leaves in
            the folder; 0 for all.
    Attributes:
        report: the LoadReport of the last file; None before the first.
        file_classes: class names that the last file has been trained for; empty if it does not say.
        resumed_from: the checkpoint that the last `resume_or_load` has gone on from; "" for none.
        class_match: which of them are the metadata's classes, into whose order its class layers
            have been brought; None if either are not known or there are not as many.
    Raises: InputError if a file cannot be read as weights, is of another variant, or lacks a part
        of what it claims to have. The model is then as it was.
    """

    def __init__(
        self,
        model: nn.Module,
        save_dir: str = "",
        *,
        allow_pickle: bool = False,
        strict: bool = True,
        metadata: dict[str, Any] | None = None,
        kept: int = 0,
        **checkpointables: Any,
    ) -> None:
        super().__init__(model, save_dir, **checkpointables)
        self.allow_pickle = allow_pickle
        self.strict = strict
        self.metadata = metadata
        self.kept = kept
        self.report: LoadReport | None = None
        self.file_classes: list[str] = []
        self.class_match: ClassMatch | None = None
        self.resumed_from = ""
        self._address = ""
        self._resumes = False

    def save(self, name: str, *, tag: bool = True, **kwargs: Any) -> None:
        """As Detectron2's, with the metadata, and never a file that is not whole.

        Args:
            tag: False: it is not the one to go on from.
        Raises: InputError if it cannot be written; the files of the folder are then as they were.
        """
        if not self.save_dir or not self.save_to_disk:
            return
        content = {"model": self.model.state_dict()}
        content |= {key: part.state_dict() for key, part in self.checkpointables.items()} | kwargs
        if self.metadata is not None:
            content[METADATA_KEY] = self.metadata
        path = Path(self.save_dir, f"{name}.pth")
        logger.info("Saving checkpoint to %s", path)
        remove_partial(self.save_dir)
        needed = sum(tensor.nbytes for _, tensor in named_tensors(content))
        with written_aside(path, needed=needed) as file:
            torch.save(content, file)
        if tag:
            self.tag_last_checkpoint(path.name)
        if self.kept:
            remove_earlier(path, self.kept)

    def tag_last_checkpoint(self, last_filename_basename: str) -> None:
        """As Detectron2's, never half written."""
        with written_aside(Path(self.save_dir, LAST)) as file:
            file.write(last_filename_basename.encode())

    def load(self, path: str, checkpointables: list[str] | None = None) -> dict[str, Any]:
        """As Detectron2's, from any address of `find_weights`, with a report.

        Raises: as the class, and MissingInputError if the file is not there.
        """
        self.report, self.file_classes, self.class_match = None, [], None
        self._address = path
        # Of fvcore: Detectron2's looks for a query behind a ? in the path.
        load = super(DetectionCheckpointer, self).load
        return load(split_set(find_weights(path))[0] if path else path, checkpointables)

    def has_checkpoint(self) -> bool:
        """Whether the folder has a checkpoint to go on from, one that can be read."""
        return bool(self.get_checkpoint_file())

    def get_checkpoint_file(self) -> str:
        """The checkpoint to go on from, as `latest_checkpoint`; "" for none."""
        return latest_checkpoint(self.save_dir, allow_pickle=self.allow_pickle).path

    def resume_or_load(self, path: str, *, resume: bool = True) -> dict[str, Any]:
        """As Detectron2's, and damaged checkpoints are skipped, which is said.

        All processes go on from the same one. Raises: InputError also if a run to be resumed is of
        another model, or a process does not see the folder.
        """
        self.resumed_from = self._agreed_checkpoint(path) if resume else ""
        if not self.resumed_from:
            return self.load(path, checkpointables=[])
        self._resumes = True
        try:
            return self.load(self.resumed_from)
        finally:
            self._resumes = False

    def _agreed_checkpoint(self, otherwise: str) -> str:
        """The checkpoint to go on from, which the main process looks for and tells of."""
        found = ""
        if comm.is_main_process():
            remove_partial(self.save_dir)
            latest = latest_checkpoint(self.save_dir, allow_pickle=self.allow_pickle)
            found = latest.path
            latest.tell()
            if not found:
                logger.warning(
                    "--resume: %s has no checkpoint to go on from: starting from %s",
                    *(self.save_dir, otherwise or "random weights"),
                )
            elif latest.skipped or not Path(self.save_dir, LAST).is_file():
                logger.warning("--resume goes on from %s", found)
        found = comm.all_gather(found)[0]
        if found and not Path(found).is_file():
            raise InputError(
                f"--resume: process {comm.get_rank()} does not see {found}, from which the main "
                "process goes on: all machines need the same OUTPUT_DIR on a shared file system"
            )
        return found

    def _load_file(self, filename: str) -> dict[str, Any]:
        second = SECOND_SET if split_set(self._address)[1] else ""
        file = read_weights(f"{filename}{second}", allow_pickle=self.allow_pickle)
        model = self.model.state_dict()
        source = rename(file.weights, self._address, own_names=model)
        inside, outside = self._prefixes()
        names = {_moved(name, inside, outside): name for name in model}
        if source.format is OWN and not any(name.startswith(BODY) for name in source.weights):
            backbone = any(name.startswith("bottom_up.") for name in source.weights)
            start, to = ("", "backbone.") if backbone else (inside, outside)
            source.weights = {_moved(name, start, to): t for name, t in source.weights.items()}
        shapes = {name: model[own].shape for name, own in names.items()}
        source.dropped |= file.leftovers
        if file.left_out:
            source.dropped["Python objects beside the weights"] = file.left_out
        report, weights = compare(source, shapes)
        report.conventions = file.metadata.get("conventions", report.conventions)
        self.report, self.file_classes = report, file.classes
        self._check(report, file.left_out)
        check_values(weights, self._address)
        weights = self._in_our_order(weights)
        weights = {names[name]: tensor for name, tensor in weights.items()}
        return {**file.rest, "model": weights, "matching_heuristics": False}

    def _check(self, report: LoadReport, left_out: list[str]) -> None:
        if self._resumes and left_out:
            raise InputError(
                f"--resume: {report.path} holds more than tensors and numbers ({some(left_out)}), "
                "which is left out when a file is loaded"
            )
        if self._resumes and not (report.complete and not report.unexpected):
            raise InputError(f"--resume: {report.path} is a checkpoint of another model\n{report}")
        if report.faults and self.strict:
            faults = "\n  ".join(report.faults)
            raise InputError(
                f"{report.path} ({report.title}) does not fit the model:\n  {faults}\nTake another "
                "file, or a config that fits. MODEL.WEIGHTS_STRICT False takes what fits"
            )

    def _in_our_order(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """The tensors to load, with the file's classes in the order of the metadata's."""
        ours = (self.metadata or {}).get("classes", [])
        self.class_match = match = match_classes(self.file_classes, ours)
        if match is None or not match.moved:
            return weights
        if self._resumes and self.checkpointables:  # the optimizer's states have the file's order
            raise InputError(
                f"--resume: the classes of {self.report.path} ({', '.join(self.file_classes)}) are "
                f"in another order than those of the data ({', '.join(ours)}): go on with the data "
                "of that run, or start a new one from its weights"
            )
        first = match.moved[0]
        self.report.classes = (
            f"another order in the file: moved by name, {ours[first]} from place "
            f"{match.order[first] + 1} to {first + 1}, ..."
        )
        return reorder(weights, match.order)

    def _prefixes(self) -> tuple[str, str]:
        """What the model's names start with, and what they would in a detector."""
        paths = (path for path, m in self.model.named_modules() if isinstance(m, HRNet))
        path = next(paths, "backbone.bottom_up")
        alone = {"": ("", BODY), "bottom_up": ("", "backbone.")}
        return alone.get(path, (f"{path}.", BODY))

    def _log_incompatible_keys(self, incompatible: _IncompatibleKeys) -> None:
        """The report in place of Detectron2's warnings, all of which it has."""
        if logger.isEnabledFor(logging.INFO):
            logger.info("Weights of %s", self.report)
        else:  # nobody has set up logging
            print(self.report)


def _moved(name: str, start: str, to: str) -> str:
    return to + name.removeprefix(start) if name.startswith(start) else name
