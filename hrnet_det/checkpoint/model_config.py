"""The config of a weights file: written in it, beside it, or told by its tensors."""

from pathlib import Path

from detectron2.config import CfgNode

from hrnet_det.checkpoint.formats import BODY, OWN
from hrnet_det.checkpoint.io import WeightsFile
from hrnet_det.checkpoint.renaming import rename
from hrnet_det.config.files import config_folder
from hrnet_det.config.load import as_run, load_run, parse_run
from hrnet_det.config.run_config import RunConfig
from hrnet_det.config.yaml import load_config
from hrnet_det.errors import InputError
from hrnet_det.modeling.compat.conventions import check_conventions
from hrnet_det.modeling.kinds import KINDS


def config_of(file: WeightsFile) -> RunConfig:
    """The config that builds the detector whose weights the file has, with its conventions.

    Raises: InputError if the file says too little, or is of no whole detector.
    """
    if "config" in file.metadata:
        try:
            return parse_run(str(file.metadata["config"]), file.path)
        except InputError as error:
            raise InputError(
                f"the config in {file.path} cannot be used by this version of hrnet_det ({error}): "
                "give one, config= in Python or --config-file"
            ) from error
    source = rename(file.weights, file.path)
    title, found = source.format.title, source.detector
    if source.format is OWN and not all(name.startswith(BODY) for name in source.weights):
        beside = Path(file.path).with_name("config.yaml")
        if beside.is_file():
            return load_run(beside)
        raise InputError(
            f"{file.path} does not say which config it belongs to, and there is no {beside}: give "
            "the config, config= in Python or --config-file"
        )
    if found is None or not (found.pyramid or found.layers):
        raise InputError(
            f"{file.path} ({title}) holds no whole detector of a kind that is known here. Take a "
            "file that does; this one may be a backbone's, which is MODEL.WEIGHTS of a training"
        )
    if not source.conventions:
        raise InputError(
            f"{file.path} ({title}: {found.title}): there is no {found.kind.title} here that "
            f"computes what {title} does. Give a config, config= in Python or --config-file, which "
            "says what it computes"
        )
    words = [*source.format.overrides, *found.overrides()]
    return as_run(known_config(found.kind.name, source.conventions, words))


def known_config(kind: str, conventions: str, overrides: list[str]) -> CfgNode:
    """The config of a key of `KINDS` with those of `CONVENTIONS`, and KEY VALUE overrides.

    Raises: InputError if the kind has no form with these conventions.
    """
    row = KINDS[kind]
    check_conventions(row, conventions)
    words = ["MODEL.CONVENTIONS", conventions, *row.overrides(), *overrides]
    return load_config(config_folder() / row.base, words)
