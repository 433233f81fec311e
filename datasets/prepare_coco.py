"""Fetch COCO 2017 and lay it out where Detectron2 looks for it.

    python datasets/prepare_coco.py            # fetch what is missing
    python datasets/prepare_coco.py --check    # say what is there and what is missing

Run it again whenever it was stopped: downloads go on where they ended, unpacking too, and a part
that is whole is left alone. Needs Python >= 3.10 and tqdm, nothing else.
"""

import argparse
import http.client
import json
import os
import re
import shutil
import sys
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

BASE_URL = "http://images.cocodataset.org"
CHUNK_BYTES = 1 << 20
DISK_BLOCK_BYTES = 4096  # the last block of a file is half empty on average; count a whole one
TIMEOUT_SECONDS = 60.0
RETRIES = 5  # failures in a row that bring no new byte
BACKOFF_SECONDS = 1.0  # doubles with each failure: 1, 2, 4, 8, 16
LOG_SECONDS = 30.0  # between two progress lines where there is no terminal
INTERRUPTED_EXIT_CODE = 130  # 128 + SIGINT, as shells have it
GO_ON = "run the same command again to go on"
SAFE_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class Part:
    """One zip of COCO and what it unpacks to.

    Args:
        name: what `--parts` calls it.
        url_path: path of the zip below the base URL.
        zip_bytes: exact size of the zip, bytes.
        unpacked_bytes: size of its files, bytes, rounded up; only for the disk space estimate.
        folder: the one folder in the zip, and below `coco/`.
        suffix: how each file name ends.
        count: number of files.
        names: the file names, where they are few enough to list; else empty.
    """

    name: str
    url_path: str
    zip_bytes: int
    unpacked_bytes: int
    folder: str
    suffix: str
    count: int
    names: tuple[str, ...] = ()


PARTS = (
    Part(
        name="train",
        url_path="zips/train2017.zip",
        zip_bytes=19_336_861_798,
        unpacked_bytes=19_400_000_000,
        folder="train2017",
        suffix=".jpg",
        count=118_287,
    ),
    Part(
        name="val",
        url_path="zips/val2017.zip",
        zip_bytes=815_585_330,
        unpacked_bytes=820_000_000,
        folder="val2017",
        suffix=".jpg",
        count=5_000,
    ),
    Part(
        name="annotations",
        url_path="annotations/annotations_trainval2017.zip",
        zip_bytes=252_907_541,
        unpacked_bytes=840_000_000,
        folder="annotations",
        suffix=".json",
        count=6,
        names=tuple(
            f"{kind}_{split}2017.json"
            for kind in ("instances", "person_keypoints", "captions")
            for split in ("train", "val")
        ),
    ),
)


@dataclass(frozen=True)
class Place:
    """Where one part lives on disk: its files, and this script's own state beside them."""

    part: Part
    coco: Path

    @property
    def state_folder(self) -> Path:
        return self.coco / ".prepare_coco"

    @property
    def folder(self) -> Path:
        return self.coco / self.part.folder

    @property
    def zip(self) -> Path:
        return self.state_folder / Path(self.part.url_path).name

    @property
    def partial_zip(self) -> Path:
        return self.zip.with_name(f"{self.zip.name}.part")

    @property
    def manifest(self) -> Path:
        return self.state_folder / f"{self.part.name}.json"

    @property
    def partial_file(self) -> Path:
        """The one file being unpacked; in the target folder, so that a rename finishes it."""
        return self.folder / ".unpacking.part"


@dataclass(frozen=True)
class Survey:
    """What is on disk of one part.

    Args:
        whole: nothing has to be fetched or unpacked.
        by_count: judged without a manifest (files that were put there by hand).
        files: files of the right size, or of any size above 0 without a manifest.
        file_bytes: their size, bytes.
        zip_bytes: size of the zip, or of the piece of it, that is here, bytes.
    """

    whole: bool
    by_count: bool
    files: int
    file_bytes: int
    zip_bytes: int


class PrepareError(Exception):
    """An error whose text is all that the user needs to see."""


class NetworkError(Exception):
    """A failure of the connection that is worth another try."""


class BadZipError(Exception):
    """The zip is damaged, or is not the one it should be."""


# ---- What is there ------------------------------------------------------------------------------


def file_size(path: Path) -> int:
    """Size in bytes; 0 if there is no such file."""
    return path.stat().st_size if path.exists() else 0


def sizes_in(folder: Path, *, suffix: str) -> dict[str, int]:
    """{file name: size in bytes} of the files in `folder` that end in `suffix`."""
    if not folder.is_dir():
        return {}
    with os.scandir(folder) as entries:
        return {e.name: e.stat().st_size for e in entries if e.name.endswith(suffix)}


def read_manifest(place: Place) -> dict[str, int] | None:
    """{file name: size in bytes} of a part that was whole; {} if unreadable, None if absent."""
    try:
        rows = json.loads(place.manifest.read_text(encoding="utf-8"))["files"]
        return {row["name"]: row["size"] for row in rows}
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        return {}


def write_manifest(place: Place, members: list[zipfile.ZipInfo]) -> None:
    """Record name, size (bytes) and CRC-32 of every file; done last, and all or nothing."""
    rows = [{"name": Path(m.filename).name, "size": m.file_size, "crc": m.CRC} for m in members]
    record = {"zip": place.part.url_path, "zip_bytes": place.part.zip_bytes, "files": rows}
    half_made = place.manifest.with_name(f"{place.manifest.name}.part")
    with open(half_made, "w", encoding="utf-8") as out:
        json.dump(record, out)
        out.flush()
        os.fsync(out.fileno())
    half_made.replace(place.manifest)


def _json_is_closed(path: Path) -> bool:
    """Whether a JSON file ends as a whole one does; cheap, and a cut-off one does not."""
    with open(path, "rb") as file:
        file.seek(max(0, file_size(path) - 16))
        return file.read().rstrip().endswith(b"}")


def _looks_whole(place: Place, sizes: dict[str, int]) -> bool:
    """Judge files without a manifest, as when they were unpacked by hand: names or count."""
    names = place.part.names
    if names:
        return all(name in sizes and _json_is_closed(place.folder / name) for name in names)
    return len(sizes) == place.part.count


def survey(place: Place) -> Survey:
    """Say what is on disk of one part, from its manifest if it has one."""
    part = place.part
    sizes = sizes_in(place.folder, suffix=part.suffix)
    expected = read_manifest(place)
    if expected is None:
        good = {n: s for n, s in sizes.items() if s > 0 and (not part.names or n in part.names)}
        # A zip without a manifest is an unpacking that was cut off: finish it, with its checks.
        whole = not place.zip.exists() and _looks_whole(place, good)
    else:
        good = {n: s for n, s in sizes.items() if expected.get(n) == s}
        whole = len(good) == len(expected) == part.count
    return Survey(
        whole=whole,
        by_count=expected is None,
        files=len(good),
        file_bytes=sum(good.values()),
        zip_bytes=file_size(place.zip) or file_size(place.partial_zip),
    )


def human(count: float) -> str:
    """A size in bytes for people: powers of 1000, as disks are sold."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


# ---- Disk space ---------------------------------------------------------------------------------


def disk_needed(surveys: dict[Place, Survey], *, keep_zips: bool) -> int:
    """The most disk space, bytes, that is taken on top of now while the parts are prepared."""
    taken = most = 0
    for place, found in surveys.items():
        if found.whole:
            continue
        part = place.part
        zip_left = max(0, part.zip_bytes - found.zip_bytes)
        files_left = max(0, part.unpacked_bytes - found.file_bytes)
        files_left += DISK_BLOCK_BYTES * max(0, part.count - found.files)
        most = max(most, taken + zip_left + files_left)
        taken += files_left + (zip_left if keep_zips else -found.zip_bytes)
    return most


def disk_free(path: Path) -> int:
    """Free bytes on the disk that `path` is on, or will be."""
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


def require_disk(coco: Path, *, needed: int) -> None:
    """Raise PrepareError if `needed` bytes do not fit."""
    free = disk_free(coco)
    if free < needed:
        raise PrepareError(
            f"not enough disk space in {coco}: {human(needed)} needed, {human(free)} free. "
            "Make room, name another folder with --root, or fetch fewer --parts."
        )


# ---- Progress -----------------------------------------------------------------------------------


class ProgressLines:
    """What tqdm does, for logs: a line every LOG_SECONDS seconds instead of a bar."""

    def __init__(self, *, label: str, total: int, done: int, unit: str) -> None:
        self.label, self.total, self.done, self.unit = label, total, done, unit
        self.last = time.monotonic()

    def update(self, n: int) -> None:
        self.done += n
        if time.monotonic() - self.last < LOG_SECONDS:
            return
        self.last = time.monotonic()
        if self.unit == "B":
            print(f"{self.label}: {human(self.done)} of {human(self.total)}", flush=True)
        else:
            print(f"{self.label}: {self.done} of {self.total} files", flush=True)


@contextmanager
def progress(*, label: str, total: int, done: int = 0, unit: str) -> Iterator[tqdm | ProgressLines]:
    """A bar on a terminal, else lines; `unit` is "B" (bytes) or " files"."""
    if not sys.stderr.isatty():
        yield ProgressLines(label=label, total=total, done=done, unit=unit)
        return
    scale = unit == "B"
    with tqdm(desc=label, total=total, initial=done, unit=unit, unit_scale=scale) as bar:
        yield bar


# ---- Download -----------------------------------------------------------------------------------


def _wrong_size(url: str, *, got: str, expected: int) -> PrepareError:
    """The error for a server whose file is not the one in the table."""
    return PrepareError(
        f"{url} has the wrong size: the server has {got}, expected {expected} bytes. "
        "Name a server that has the original zip with --base-url."
    )


def _http_error(error: urllib.error.HTTPError, *, url: str, start: int, expected: int) -> Exception:
    """Sort an HTTP error status: try again, or give up with a message."""
    if error.code in (408, 429) or error.code >= 500:
        return NetworkError(f"HTTP {error.code} {error.reason}")
    if error.code == 416:
        return _wrong_size(url, got=f"no byte beyond {start}", expected=expected)
    return PrepareError(
        f"{url}: the server answers {error.code} {error.reason}. "
        "Check --base-url: it is the address before /zips and /annotations."
    )


def _open_url(url: str, *, start: int, expected: int) -> http.client.HTTPResponse:
    """Ask for the file from byte `start` on."""
    request = urllib.request.Request(url, headers={"User-Agent": "prepare_coco"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    try:
        return urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        raise _http_error(error, url=url, start=start, expected=expected) from error
    except (OSError, http.client.HTTPException) as error:
        raise NetworkError(str(getattr(error, "reason", error)) or repr(error)) from error


def _first_byte(response: http.client.HTTPResponse, *, url: str, start: int, expected: int) -> int:
    """The byte the answer begins with: `start`, or 0 if the server ignores Range.

    Raises: PrepareError if the server's file is not `expected` bytes long.
    """
    if response.status != 206:
        length = response.headers.get("Content-Length")
        # Without a length it may be any page; bytes that are here are not given up for that.
        if length != str(expected) and (length is not None or start):
            raise _wrong_size(
                url, got=f"{length or 'an unknown number of'} bytes", expected=expected
            )
        return 0
    given = response.headers.get("Content-Range", "")
    match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", given.strip())
    if match and int(match[3]) != expected:
        raise _wrong_size(url, got=f"{match[3]} bytes", expected=expected)
    if not match or int(match[1]) != start:
        raise PrepareError(
            f"{url}: asked for bytes {start}- of {expected}, the server answers with "
            f"Content-Range {given!r}. Name another server with --base-url."
        )
    return start


def _read_chunk(response: http.client.HTTPResponse, *, most: int) -> bytes:
    """What has arrived, up to `most` bytes; failures of the network become NetworkError."""
    try:
        return response.read1(min(most, CHUNK_BYTES))  # read() would lose it all when cut off
    except (OSError, http.client.HTTPException) as error:
        raise NetworkError(str(error) or repr(error)) from error


def download_once(place: Place, *, url: str) -> None:
    """Add to the partial zip until the server's answer ends.

    Raises: NetworkError if the answer ends early; PrepareError if another try is no use.
    """
    partial, expected = place.partial_zip, place.part.zip_bytes
    have = file_size(partial)
    with _open_url(url, start=have, expected=expected) as response:
        first = _first_byte(response, url=url, start=have, expected=expected)
        if first < have:
            print(f"{place.zip.name}: the server cannot resume; starting from byte 0", flush=True)
        have = first
        with (
            open(partial, "ab" if first else "wb") as out,
            progress(label=place.zip.name, total=expected, done=first, unit="B") as bar,
        ):
            while have < expected and (chunk := _read_chunk(response, most=expected - have)):
                out.write(chunk)
                have += len(chunk)
                bar.update(len(chunk))
    if have < expected:
        raise NetworkError("the connection ended early")


def _download(place: Place, *, url: str) -> None:
    """Fill the partial zip, with further tries after failures of the network."""
    expected = place.part.zip_bytes
    best, failures = file_size(place.partial_zip), 0
    while file_size(place.partial_zip) != expected:
        try:
            download_once(place, url=url)
        except NetworkError as failure:
            have = file_size(place.partial_zip)
            failures = 1 if have > best else failures + 1
            best = max(best, have)
            if failures > RETRIES:
                raise PrepareError(
                    f"{url}: {failure}; {have} of {expected} bytes so far. "
                    f"When the network is back, {GO_ON}."
                ) from failure
            wait = BACKOFF_SECONDS * 2 ** (failures - 1)
            print(f"{place.zip.name}: {failure}; next try in {wait:g} s", flush=True)
            time.sleep(wait)


def fetch_zip(place: Place, *, base_url: str) -> None:
    """Have the zip on disk in its exact size; a zip that is there already is not fetched."""
    expected, have = place.part.zip_bytes, file_size(place.zip)
    if place.zip.exists() and have != expected:
        raise PrepareError(
            f"{place.zip} has the wrong size: {have} bytes, expected {expected} bytes. "
            "Delete it and run the same command again to fetch it."
        )
    if place.zip.exists():
        return
    place.state_folder.mkdir(parents=True, exist_ok=True)
    if file_size(place.partial_zip) > expected:
        place.partial_zip.unlink()
    _download(place, url=f"{base_url.rstrip('/')}/{place.part.url_path}")
    place.partial_zip.replace(place.zip)


# ---- Unpack -------------------------------------------------------------------------------------


def list_members(archive: zipfile.ZipFile, *, part: Part) -> list[zipfile.ZipInfo]:
    """The files of the zip, if they are the ones of the part, each right below its folder.

    Raises: BadZipError for any other path (also one that leaves the folder), a wrong count or name.
    """
    members = [m for m in archive.infolist() if not m.filename.endswith("/")]
    for member in members:
        folder, _, name = member.orig_filename.partition("/")
        safe = SAFE_FILE_NAME.fullmatch(name) and name.endswith(part.suffix)
        if folder != part.folder or not safe:
            raise BadZipError(
                f"holds {member.orig_filename!r}; allowed is {part.folder}/NAME{part.suffix} only"
            )
    names = {Path(m.filename).name for m in members}
    if part.names and names != set(part.names):
        raise BadZipError(f"holds {sorted(names)}, expected {sorted(part.names)}")
    if not len(names) == len(members) == part.count:
        raise BadZipError(f"holds {len(names)} files, expected {part.count}")
    return members


def is_good(path: Path, *, member: zipfile.ZipInfo) -> bool:
    """Whether a file on disk has the size and the CRC-32 of its zip entry."""
    if not path.is_file() or path.stat().st_size != member.file_size:
        return False
    crc = 0
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            crc = zlib.crc32(chunk, crc)
    return crc == member.CRC


def extract(archive: zipfile.ZipFile, member: zipfile.ZipInfo, *, place: Place) -> None:
    """Unpack one file beside its place and rename it once its CRC is right; keep a good one."""
    target = place.folder / Path(member.filename).name
    if is_good(target, member=member):
        return
    target.unlink(missing_ok=True)
    try:
        with archive.open(member) as source, open(place.partial_file, "wb") as out:
            shutil.copyfileobj(source, out, CHUNK_BYTES)
        if not is_good(place.partial_file, member=member):
            raise BadZipError(
                f"{member.filename} does not have the size and CRC that the zip states"
            )
        place.partial_file.replace(target)
    finally:
        place.partial_file.unlink(missing_ok=True)


def _unpack_members(place: Place) -> None:
    """Unpack what is not there yet, then write the manifest."""
    with zipfile.ZipFile(place.zip) as archive:
        members = list_members(archive, part=place.part)
        place.folder.mkdir(parents=True, exist_ok=True)
        with progress(label=place.part.folder, total=len(members), unit=" files") as bar:
            for member in members:
                extract(archive, member, place=place)
                bar.update(1)
    write_manifest(place, members)


def unpack(place: Place) -> None:
    """Unpack the zip of one part.

    Raises: PrepareError if the zip is damaged or not the right one; the zip is then deleted, as
        it would fail again, and the files that were unpacked well stay.
    """
    try:
        _unpack_members(place)
    # RuntimeError: an encrypted entry, or (as NotImplementedError) an unknown compression.
    except (BadZipError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        place.zip.unlink()
        raise PrepareError(
            f"{place.zip} is not a good copy of {place.part.url_path}: {error}. It has been "
            "deleted; run the same command again to fetch it anew, or name another server with "
            "--base-url."
        ) from error


# ---- Command line -------------------------------------------------------------------------------


def prepare(place: Place, *, base_url: str, keep_zips: bool) -> None:
    """Fetch, unpack and count one part that is not whole."""
    fetch_zip(place, base_url=base_url)
    unpack(place)
    found = survey(place)
    if not found.whole:
        raise PrepareError(
            f"{place.folder}: {found.files} of {place.part.count} files are in place after "
            f"unpacking; something else changed them. The zip is kept; {GO_ON}."
        )
    if not keep_zips:
        place.zip.unlink()
    print(f"{place.part.name}: {found.files} files in {place.folder}", flush=True)


def describe(place: Place, found: Survey) -> str:
    """One line of `--check`."""
    part = place.part
    if found.whole:
        how = " (no record of the zip: files counted only)" if found.by_count else ""
        return f"{part.name}: present, {found.files} files, {human(found.file_bytes)}{how}"
    left = max(0, part.zip_bytes - found.zip_bytes)
    return (
        f"{part.name}: missing, {found.files} of {part.count} files; "
        f"{human(left)} of {human(part.zip_bytes)} to download"
    )


def check(coco: Path, surveys: dict[Place, Survey], *, keep_zips: bool) -> int:
    """Print what is there, what is missing and the disk space; 1 if something is missing."""
    print(f"COCO 2017 in {coco}")
    for place, found in surveys.items():
        print(describe(place, found))
    needed = disk_needed(surveys, keep_zips=keep_zips)
    print(f"disk: {human(needed)} needed at most, {human(disk_free(coco))} free")
    return 0 if all(found.whole for found in surveys.values()) else 1


def parse_args(argv: list[str] | None, *, parts: tuple[Part, ...]) -> argparse.Namespace:
    """Read the command line; DETECTRON2_DATASETS is read as Detectron2 reads it."""
    names = [part.name for part in parts]
    parser = argparse.ArgumentParser(
        prog="prepare_coco.py",
        description="Fetch COCO 2017 and lay it out as Detectron2 expects it. "
        "Stopped or failed: run the same command again and it goes on.",
    )
    parser.add_argument(
        "--root",
        default=os.getenv("DETECTRON2_DATASETS", "datasets"),
        help="folder that gets coco/ (default: $DETECTRON2_DATASETS, else ./datasets)",
    )
    parser.add_argument(
        "--parts", nargs="+", choices=names, default=names, help="which to fetch (default: all)"
    )
    parser.add_argument(
        "--base-url", default=BASE_URL, help="server or mirror (default: %(default)s)"
    )
    parser.add_argument(
        "--keep-zips", action="store_true", help="keep each zip in coco/.prepare_coco/"
    )
    parser.add_argument(
        "--check",
        "--dry-run",
        action="store_true",
        help="only say what is there and what is missing; exit code 1 if something is",
    )
    args = parser.parse_args(argv)
    if "://" in args.root:
        parser.error(f"the root is {args.root!r}, but has to be a local folder; give --root FOLDER")
    if not args.base_url.startswith(("http://", "https://")):
        parser.error(f"--base-url is {args.base_url!r}, but has to begin with http:// or https://")
    return args


def run(args: argparse.Namespace, *, parts: tuple[Part, ...]) -> int:
    """Check, or prepare every part that is not whole; the exit code."""
    coco = Path(args.root).expanduser() / "coco"
    places = [Place(part=part, coco=coco) for part in parts if part.name in args.parts]
    surveys = {place: survey(place) for place in places}
    if args.check:
        return check(coco, surveys, keep_zips=args.keep_zips)
    require_disk(coco, needed=disk_needed(surveys, keep_zips=args.keep_zips))
    for place, found in surveys.items():
        if found.whole:
            print(describe(place, found), flush=True)
        else:
            prepare(place, base_url=args.base_url, keep_zips=args.keep_zips)
    return 0


def main(argv: list[str] | None = None, *, parts: tuple[Part, ...] = PARTS) -> int:
    """Run the script.

    Args:
        argv: command line words without the program's name; None takes the process's own.
        parts: the table of parts; tests give a small one.
    Output: exit code: 0 all there, 1 an error or (with --check) something missing, 130 Ctrl-C.
    """
    args = parse_args(argv, parts=parts)
    try:
        return run(args, parts=parts)
    except PrepareError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: {error}. When that is solved, {GO_ON}.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"stopped; what is there is kept, {GO_ON}", file=sys.stderr)
        return INTERRUPTED_EXIT_CODE


if __name__ == "__main__":
    sys.exit(main())
