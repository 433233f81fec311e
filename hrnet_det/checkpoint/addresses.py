"""Where weights are: paths, and addresses that are fetched."""

import hashlib
import os
import re
from pathlib import Path

from detectron2.utils.file_io import PathManager

from hrnet_det.errors import InputError, MissingInputError

SECOND_SET = "#ema"  # after an address: of a file with two sets of parameters, the second one
SUFFIXES = (".pth", ".pt", ".pkl", ".safetensors")
IMAGENET = "imagenet"  # MODEL.WEIGHTS of a training: those of the variant, where they can be had
TIMEOUT = 5  # seconds
# The ImageNet weights that mmdetection's configs name open-mmlab://msra/..., by what follows msra/.
# Source: mmengine/hub/openmmlab.json.
_OPEN_MMLAB = "https://download.openmmlab.com/pretrain/third_party/"
OPEN_MMLAB = {
    "hrnetv2_w18_small": "hrnetv2_w18_small-b5a04e21.pth",
    "hrnetv2_w18": "hrnetv2_w18-00eb2006.pth",
    "hrnetv2_w32": "hrnetv2_w32-dc9eeb4f.pth",
    "hrnetv2_w40": "hrnetv2_w40-ed0b031c.pth",
    "hrnetv2_w48": "hrnetv2_w48-d2186c55.pth",
}
_HASH = re.compile(r"-(?!(?:19|20)\d{6}\.)([0-9a-f]{8,64})\.\w+$")  # not a date: -20200130.pth
ELSEWHERE = "Without a connection: fetch the file elsewhere and name its path"


def split_set(address: str) -> tuple[str, bool]:
    """A path or address without SECOND_SET, and whether it had that."""
    asked = address.endswith(SECOND_SET) and not os.path.isfile(address)
    return (address.removesuffix(SECOND_SET), True) if asked else (address, False)


def find_weights(address: str) -> str:
    """The local file of a path or an address; what it names is downloaded where it is not there.

    Args:
        address: a path; timm://MODEL.TAG, such as timm://hrnet_w18.ms_in1k;
            hf://ORG/REPOSITORY/FILE; open-mmlab://msra/NAME, of `OPEN_MMLAB`; or an address that
            Detectron2 knows (https://...); with SECOND_SET at its end or without.
    Returns: a path, with SECOND_SET at its end where the address has that.
    Raises: MissingInputError if there is no such file; InputError if it cannot be fetched, or is
        not what its name says.
    """
    file, second = split_set(address)
    return f"{_find(file)}{SECOND_SET if second else ''}"


def _find(address: str) -> str:
    kind, _, rest = address.partition("://")
    if kind == "open-mmlab":
        name = rest.removeprefix("msra/")
        if name not in OPEN_MMLAB:
            raise InputError(
                f"weights {address}: of mmdetection's ImageNet weights those of HRNets are known: "
                f"{', '.join(f'open-mmlab://msra/{known}' for known in OPEN_MMLAB)}"
            )
        return _find(_OPEN_MMLAB + OPEN_MMLAB[name])
    if kind == "timm":
        return _download(f"timm/{rest}", "model.safetensors", address)
    if kind == "hf":
        parts = rest.split("/", 2)
        if len(parts) < 3 or not all(parts):
            raise InputError(f"weights {address}: write hf://ORGANISATION/REPOSITORY/FILE")
        return _download("/".join(parts[:2]), parts[2], address)
    if not rest:
        if os.path.isdir(address):
            raise InputError(f"weights {address} is a folder{_weights_in(Path(address))}")
        if not os.path.isfile(address):
            raise MissingInputError(
                f"weights {address} are not there: give a file, or the address of one (hrnet-det "
                "checkpoints lists those that are published)"
            )
        return address
    if kind == "http":
        raise InputError(
            f"weights {address}: what comes without https may have been changed on its way: give "
            "its https:// address, or fetch the file and name its path"
        )
    try:
        path = PathManager.get_local_path(address)
    except (OSError, RuntimeError) as error:
        raise InputError(f"weights {address} cannot be fetched ({error}). {ELSEWHERE}") from error
    if not Path(path).is_file():
        raise InputError(
            f"weights {address}: nothing here fetches {kind}:// addresses; known are a path, "
            "https://, timm://, hf:// and open-mmlab://"
        )
    _check_hash(address, Path(path))
    return path


def _check_hash(address: str, path: Path) -> None:
    """Compare a fetched file with the SHA-256 that its name ends in, as torch.hub's and mmdet's do.

    Raises: InputError if they differ; the file is then removed, to be fetched again.
    """
    named = _HASH.search(address)
    if named is None:
        return
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(2**20):
            digest.update(part)
    found = digest.hexdigest()
    if not found.startswith(named[1]):
        path.unlink()
        raise InputError(
            f"weights {address}: the file that was fetched has the SHA-256 {found[:8]}..., not "
            f"{named[1]}, which its name says: it is damaged or another one, and was removed. Try "
            "again; if you trust it all the same, fetch it and name its path"
        )


def _weights_in(folder: Path) -> str:
    """The end of a message: which files of a folder to name."""
    found = [path for path in sorted(folder.iterdir()) if path.suffix in SUFFIXES]
    found.sort(key=lambda path: path.name != "model_best.pth")
    return (
        f": name a file in it, such as {found[0]}" if found else f" without {', '.join(SUFFIXES)}"
    )


def page_of(address: str) -> str:
    """Where a person finds the file of a timm:// address."""
    name = address.removeprefix("timm://")
    return f"https://huggingface.co/timm/{name}/resolve/main/model.safetensors"


def check_connection(address: str) -> None:
    """Raises: InputError at once if a timm:// address is neither here already nor within reach."""
    try:
        import huggingface_hub as hub
        from huggingface_hub import constants
    except ImportError as error:
        raise InputError("pip install huggingface_hub fetches them") from error
    repository = f"timm/{address.removeprefix('timm://')}"
    if isinstance(hub.try_to_load_from_cache(repository, "model.safetensors"), str):
        return
    if constants.HF_HUB_OFFLINE:
        raise InputError("HF_HUB_OFFLINE is set, and they are not here")
    try:
        hub.get_session().head(constants.ENDPOINT, timeout=TIMEOUT)
    except Exception as error:  # of whichever library it asks with
        raise InputError(f"{constants.ENDPOINT} is not within reach") from error


def _download(repository: str, file: str, address: str) -> str:
    try:
        from huggingface_hub import hf_hub_download, try_to_load_from_cache
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    except ImportError as error:
        raise InputError(
            f"weights {address} need a package: pip install huggingface_hub"
        ) from error
    if repository.startswith("timm/") and "." not in repository:
        raise InputError(
            f"weights {address} have no tag: write one, such as timm://hrnet_w18.ms_in1k "
            "(timm.list_pretrained('hrnet*') lists them)"
        )
    if isinstance(cached := try_to_load_from_cache(repository, file), str):
        return (
            cached  # without asking the hub for a newer one, which takes long where there is none
        )
    try:
        return hf_hub_download(repository, file)
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(
            f"weights {address}: {file} of https://huggingface.co/{repository} cannot be fetched "
            f"({reason}). Is the name right? {ELSEWHERE}"
        ) from error
