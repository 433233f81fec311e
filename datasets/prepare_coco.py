"""Fetch COCO 2017 and lay it out where Detectron2 looks for it. Needs Python >= 3.10 and tqdm.

    python datasets/prepare_coco.py            # fetch what is missing
    python datasets/prepare_coco.py --check    # only say what is there

Stopped or failed: run the same command again; downloads and unpacking go on where they ended.
Exit status: 0 all is there, 1 something is missing (--check) or the network failed, 2 something
has to be changed first, 130 Ctrl-C.
"""

import argparse
import http.client
import os
import re
import shutil
import sys
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

BASE_URL = "http://images.cocodataset.org"
CHUNK_BYTES = 1 << 20
RETRIES = 5  # failures in a row that bring no new byte; the waits are 1, 2, 4, 8, 16 seconds
BAR_SECONDS = 0.1 if sys.stderr.isatty() else 30  # between two updates; a log needs few


class Part(NamedTuple):
    """One zip of COCO."""

    name: str  # as --parts names it
    url: str  # below the base URL
    zip_bytes: int  # exact
    disk_bytes: int  # its files on disk, with half-empty last blocks, rounded up
    folder: str  # the one folder in the zip, and below coco/
    file_name: str  # regular expression
    count: int  # files


# The smallest first: what is wrong with a server or a disk shows before the 19 GB.
# fmt: off
PARTS = (
    Part("annotations", "annotations/annotations_trainval2017.zip", 252_907_541, 840_000_000,
         "annotations", r"(instances|person_keypoints|captions)_(train|val)2017\.json", 6),
    Part("val", "zips/val2017.zip", 815_585_330, 840_000_000,
         "val2017", r"\d{12}\.jpg", 5_000),
    Part("train", "zips/train2017.zip", 19_336_861_798, 19_900_000_000,
         "train2017", r"\d{12}\.jpg", 118_287),
)
# fmt: on


class InputError(ValueError):
    """What the user has to change; its text is all that is shown."""


def zip_of(part: Part, coco: Path) -> tuple[Path, int]:
    """Where the part's zip lies, and how many bytes of it are there."""
    path = coco / "zips" / Path(part.url).name
    return path, path.stat().st_size if path.exists() else 0


def files_there(part: Part, coco: Path) -> int:
    """How many of the part's files are unpacked; an empty file does not count."""
    if not (coco / part.folder).is_dir():
        return 0
    files = os.scandir(coco / part.folder)
    return sum(bool(re.fullmatch(part.file_name, f.name)) and f.stat().st_size > 0 for f in files)


def disk_space(missing: dict[Part, int], coco: Path) -> tuple[int, int]:
    """(bytes needed, bytes free) on the disk where `coco` is or will be; {part: files to come}."""
    zips = sum(max(0, part.zip_bytes - zip_of(part, coco)[1]) for part in missing)
    files = sum(part.disk_bytes * count // part.count for part, count in missing.items())
    folder = next(f for f in (coco.absolute(), *coco.absolute().parents) if f.exists())
    return zips + files, shutil.disk_usage(folder).free


def stream(url: str, *, start: int, size: int) -> Iterator[bytes]:
    """The bytes from `start` on of a file of `size` bytes.

    Raises: ConnectionError if another try may help, InputError if it cannot.
    """
    headers = {"Range": f"bytes={start}-", "User-Agent": "prepare_coco"}
    try:
        request = urllib.request.Request(url, headers=headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            ranged = answer.status == 206  # else the server ignores Range: it begins at byte 0
            given = answer.headers.get("Content-Range" if ranged else "Content-Length")
            if given != (f"bytes {start}-{size - 1}/{size}" if ranged else str(size)):
                raise InputError(
                    f"{url}: expected bytes {start}-{size - 1}/{size}, the server has "
                    f"{given or 'no length'}. Name a server of COCO's own zips with --base-url."
                )
            skip = 0 if ranged else start
            while chunk := answer.read1(CHUNK_BYTES):  # read() would lose what came before a cut
                yield chunk[skip:]
                skip = max(0, skip - len(chunk))
    except urllib.error.HTTPError as error:
        answer = f"the server answers {error.code} {error.reason}"
        if error.code in (408, 429) or error.code >= 500:
            raise ConnectionError(answer) from error
        advice = "Check --base-url: it is the address before /zips and /annotations."
        raise InputError(f"{url}: {answer}. {advice}") from error
    except (OSError, http.client.HTTPException) as error:
        raise ConnectionError(str(error) or repr(error)) from error


def download(url: str, path: Path, *, have: int, size: int) -> None:
    """Add to the `have` bytes of a file until it has `size`; tries go on where the last ended."""
    failures = 0
    bar = tqdm(desc=path.name, total=size, initial=have, unit="B", unit_scale=True,
               mininterval=BAR_SECONDS)  # fmt: skip
    with bar, open(path, "ab") as out:
        while have < size:
            before = have
            try:
                for chunk in stream(url, start=have, size=size):
                    have += out.write(chunk)
                    bar.update(len(chunk))
                if have < size:
                    raise ConnectionError("the connection ended early")
            except ConnectionError as error:
                failures = 1 if have > before else failures + 1
                if failures > RETRIES:
                    raise ConnectionError(f"{url}: {error}; {have} of {size} bytes here") from error
                bar.write(f"{path.name}: {error}; trying again")
                time.sleep(2 ** (failures - 1))


def unpack(part: Part, coco: Path, path: Path) -> None:
    """Unpack what is not there in good order; zipfile raises BadZipFile where a CRC is wrong."""
    partial = coco / part.folder / ".unpacking.part"  # renamed once whole
    with zipfile.ZipFile(path) as archive:
        members = {m.filename: m for m in archive.infolist() if not m.is_dir()}
        for name in members:
            if not re.fullmatch(f"{part.folder}/{part.file_name}", name):
                raise zipfile.BadZipFile(f"unexpected file {name!r}")
        if len(members) != part.count:
            raise zipfile.BadZipFile(f"{len(members)} files, expected {part.count}")
        partial.parent.mkdir(exist_ok=True)
        bar = tqdm(members.items(), desc=part.folder, unit=" files", mininterval=BAR_SECONDS)
        for name, member in bar:
            target = coco / name
            if target.is_file() and zlib.crc32(target.read_bytes()) == member.CRC:
                continue
            with archive.open(member) as source, open(partial, "wb") as out:
                shutil.copyfileobj(source, out, CHUNK_BYTES)
            partial.replace(target)


def prepare(part: Part, coco: Path, *, base_url: str, keep_zip: bool) -> None:
    """Fetch and unpack one part. Raises: InputError if its zip is damaged or another one."""
    path, have = zip_of(part, coco)
    path.parent.mkdir(parents=True, exist_ok=True)
    download(f"{base_url.rstrip('/')}/{part.url}", path, have=have, size=part.zip_bytes)
    try:
        if have > part.zip_bytes:
            raise zipfile.BadZipFile(f"{have} bytes, expected {part.zip_bytes}")
        unpack(part, coco, path)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        path.unlink()
        raise InputError(
            f"{path} is damaged, or not COCO's: {error}. It has been deleted; run the same command "
            "again to fetch it anew, with --base-url from another server."
        ) from error
    if not keep_zip:
        path.unlink()


def run(args: argparse.Namespace) -> int:
    """Check, or prepare every part that is not whole; returns the exit status."""
    coco = Path(args.root).expanduser() / "coco"
    parts = [part for part in PARTS if part.name in args.parts]
    missing = {p: p.count - there for p in parts if (there := files_there(p, coco)) < p.count}
    for part in parts:
        there = part.count - missing.get(part, 0)
        state = "missing" if part in missing else "present"
        print(f"{part.name}: {state}, {there} of {part.count} files in {coco / part.folder}")
    needed, free = disk_space(missing, coco)
    space = f"{needed / 1e9:.2f} GB needed, {free / 1e9:.2f} GB free in {coco}"
    if args.check:
        print(f"disk: {space}")
        return 1 if missing else 0
    if needed > free:
        raise InputError(
            f"not enough disk space: {space}. Make room, name another folder with --root, or "
            "fetch fewer --parts."
        )
    for part in missing:
        prepare(part, coco, base_url=args.base_url, keep_zip=args.keep_zips)
        print(f"{part.name}: done, {part.count} files in {coco / part.folder}", flush=True)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    root, names = os.getenv("DETECTRON2_DATASETS", "datasets"), [part.name for part in PARTS]
    say = parser.add_argument
    say("--root", default=root, help="gets coco/ (default: $DETECTRON2_DATASETS, else ./datasets)")
    say("--parts", nargs="+", choices=names, default=names, help="which to fetch (default: all)")
    say("--base-url", default=BASE_URL, help="server or mirror (default: %(default)s)")
    say("--keep-zips", action="store_true", help="keep the zips in coco/zips/")
    say("--check", action="store_true", help="fetch nothing; exit status 1 if something is missing")
    args = parser.parse_args(argv)
    if not args.base_url.startswith(("http://", "https://")):
        parser.error(f"--base-url is {args.base_url!r}, but has to begin with http:// or https://")
    try:
        return run(args)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
    except OSError as error:
        print(f"error: {error}. When that is solved, run the same command again.", file=sys.stderr)
        return 1 if isinstance(error, ConnectionError) else 2
    except KeyboardInterrupt:
        print("stopped; run the same command again to go on", file=sys.stderr)
        return 130
    return 2


if __name__ == "__main__":
    sys.exit(main())
