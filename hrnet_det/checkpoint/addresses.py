"""Where weights are: paths, and addresses that are fetched."""

from pathlib import Path

from detectron2.utils.file_io import PathManager

from hrnet_det.errors import InputError, MissingInputError

SUFFIXES = (".pth", ".pt", ".pkl", ".safetensors")
ELSEWHERE = "Without a connection: fetch the file elsewhere and name its path"


def find_weights(address: str) -> str:
    """The local file of a path or an address; what it names is downloaded where it is not there.

    Args:
        address: a path; timm://MODEL.TAG, such as timm://hrnet_w18.ms_in1k;
            hf://ORG/REPOSITORY/FILE; or an address that Detectron2 knows (https://...).
    Raises: MissingInputError if there is no such file; InputError if it cannot be fetched.
    """
    kind, _, rest = address.partition("://")
    if kind == "timm":
        return _download(f"timm/{rest}", "model.safetensors", address)
    if kind == "hf":
        parts = rest.split("/", 2)
        if len(parts) < 3 or not all(parts):
            raise InputError(f"weights {address}: write hf://ORGANISATION/REPOSITORY/FILE")
        return _download("/".join(parts[:2]), parts[2], address)
    if not rest:
        if Path(address).is_dir():
            raise InputError(f"weights {address} is a folder{_weights_in(Path(address))}")
        if not Path(address).is_file():
            raise MissingInputError(f"weights {address} are not there")
        return address
    try:
        path = PathManager.get_local_path(address)
    except (OSError, RuntimeError) as error:
        raise InputError(f"weights {address} cannot be fetched ({error}). {ELSEWHERE}") from error
    if not Path(path).is_file():
        raise InputError(
            f"weights {address}: nothing here fetches {kind}:// addresses; known are a path, "
            "https://, timm:// and hf://"
        )
    return path


def _weights_in(folder: Path) -> str:
    """The end of a message: which files of a folder to name."""
    found = [path for path in sorted(folder.iterdir()) if path.suffix in SUFFIXES]
    found.sort(key=lambda path: path.name != "model_best.pth")
    return (
        f": name a file in it, such as {found[0]}" if found else f" without {', '.join(SUFFIXES)}"
    )


def _download(repository: str, file: str, address: str) -> str:
    try:
        from huggingface_hub import hf_hub_download
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
    try:
        return hf_hub_download(repository, file)
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(
            f"weights {address}: {file} of https://huggingface.co/{repository} cannot be fetched "
            f"({reason}). Is the name right? {ELSEWHERE}"
        ) from error
