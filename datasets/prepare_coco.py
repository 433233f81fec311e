"""Fetch COCO 2017 and lay it out where Detectron2 looks for it. Needs Python >= 3.10 and tqdm.

    python datasets/prepare_coco.py            # fetch what is missing
    python datasets/prepare_coco.py --check    # only say what is there
    python datasets/prepare_coco.py --parts stuffthingmaps     # COCO-stuff's pixel maps, for HTC

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
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

BASE_URL = "http://images.cocodataset.org"
STUFF_URL = "http://calvin.inf.ed.ac.uk/wp-content/uploads/data/cocostuffdataset"
CHUNK_BYTES = 1 << 20
RETRIES = 5  # failures in a row that bring no new byte; the waits are 1, 2, 4, 8, 16 seconds
BAR_SECONDS = 0.1 if sys.stderr.isatty() else 30  # between two updates; a log needs few


class Part(NamedTuple):
    """One zip of COCO."""

    name: str  # as --parts names it
    url: str  # below the server's
    zip_bytes: int
    disk_bytes: int  # its files on disk, with half-empty last blocks, rounded up
    folder: str  # below coco/, and the one folder in the zip, which may leave it out
    file_name: str  # regular expression
    count: int  # files
    server: str = BASE_URL
    exact: bool = True  # zip_bytes is, and the zip has no other files


# The smallest first: what is wrong with a server or a disk shows before the 19 GB.
# fmt: off
PARTS = (
    Part("annotations", "annotations/annotations_trainval2017.zip", 252_907_541, 840_000_000,
         "annotations", r"(instances|person_keypoints|captions)_(train|val)2017\.json", 6),
    Part("val", "zips/val2017.zip", 815_585_330, 840_000_000,
         "val2017", r"\d{12}\.jpg", 5_000),
    Part("train", "zips/train2017.zip", 19_336_861_798, 19_900_000_000,
         "train2017", r"\d{12}\.jpg", 118_287),
    # Its page says 659 MB; what it has was not looked at, so that more is allowed.
    Part("stuffthingmaps", "stuffthingmaps_trainval2017.zip", 691_000_000, 1_000_000_000,
         "stuffthingmaps", r"(train|val)2017/\d{12}\.png", 123_287, STUFF_URL, exact=False),
)
DEFAULT_PARTS = ("annotations", "val", "train")
# fmt: on


class InputError(ValueError):
    """What the user has to change; its text is all that is shown."""


def zip_of(part: Part, coco: Path) -> tuple[Path, int]:
    """Where the part's zip lies, and how many bytes of it are there."""
    path = coco / "zips" / Path(part.url).name
    return path, path.stat().st_size if path.exists() else 0


def files_there(part: Part, coco: Path) -> int:
    """How many of the part's files are unpacked; an empty file does not count."""
    folder = coco / part.folder
    paths = (Path(below, name) for below, _, names in os.walk(folder) for name in names)
    ours = (p for p in paths if re.fullmatch(part.file_name, p.relative_to(folder).as_posix()))
    return sum(path.stat().st_size > 0 for path in ours)


def disk_space(missing: dict[Part, int], coco: Path) -> tuple[int, int]:
    """(bytes needed, bytes free) on the disk where `coco` is or will be; {part: files to come}."""
    zips = sum(max(0, part.zip_bytes - zip_of(part, coco)[1]) for part in missing)
    files = sum(part.disk_bytes * count // part.count for part, count in missing.items())
    folder = next(f for f in (coco.absolute(), *coco.absolute().parents) if f.exists())
    return zips + files, shutil.disk_usage(folder).free


@contextmanager
def asked(url: str, start: int) -> Iterator[http.client.HTTPResponse]:
    """A server's answer, of a file from the byte `start` on.

    Raises: ConnectionError if another try may help, InputError if it cannot.
    """
    headers = {"Range": f"bytes={start}-", "User-Agent": "prepare_coco"}
    try:
        request = urllib.request.Request(url, headers=headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            yield answer
    except urllib.error.HTTPError as error:
        answer = f"the server answers {error.code} {error.reason}"
        if error.code in (408, 429) or error.code >= 500:
            raise ConnectionError(answer) from error
        advice = "Check --base-url: it is the address before /zips, /annotations or /stuffthingmaps"
        raise InputError(f"{url}: {answer}. {advice}.") from error
    except (OSError, http.client.HTTPException) as error:
        raise ConnectionError(str(error) or repr(error)) from error


def size_of(url: str) -> int:
    """How many bytes a file has, as its server says. Raises: as `asked`."""
    with asked(url, 0) as answer:
        name = "Content-Range" if answer.status == 206 else "Content-Length"
        size = answer.headers.get(name, "").rpartition("/")[2]
    if not size.isdecimal():
        raise InputError(f"{url}: the server does not say its length. Name another by --base-url.")
    return int(size)


def stream(url: str, *, start: int, size: int) -> Iterator[bytes]:
    """The bytes from `start` on of a file of `size` bytes. Raises: as `asked`."""
    with asked(url, start) as answer:
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
        members = {}
        for member in (m for m in archive.infolist() if not m.is_dir()):
            known = re.fullmatch(f"(?:{part.folder}/)?({part.file_name})", member.filename)
            if known:
                members[known[1]] = member
            elif part.exact:
                raise zipfile.BadZipFile(f"unexpected file {member.filename!r}")
        if len(members) != part.count:
            problem = f"{len(members)} files, expected {part.count}"
            raise zipfile.BadZipFile(problem) if part.exact else InputError(f"{path}: {problem}")
        bar = tqdm(members.items(), desc=part.folder, unit=" files", mininterval=BAR_SECONDS)
        for name, member in bar:
            target = coco / part.folder / name
            if target.is_file() and zlib.crc32(target.read_bytes()) == member.CRC:
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as source, open(partial, "wb") as out:
                shutil.copyfileobj(source, out, CHUNK_BYTES)
            partial.replace(target)


def prepare(part: Part, coco: Path, *, base_url: str | None, keep_zip: bool) -> None:
    """Fetch and unpack one part. Raises: InputError if its zip is damaged or another one."""
    path, have = zip_of(part, coco)
    path.parent.mkdir(parents=True, exist_ok=True)
    url, size = f"{(base_url or part.server).rstrip('/')}/{part.url}", part.zip_bytes
    if not part.exact:  # a zip has its end if it is whole
        size = have if have and zipfile.is_zipfile(path) else size_of(url)
    download(url, path, have=have, size=size)
    try:
        if have > size:
            raise zipfile.BadZipFile(f"{have} bytes, expected {size}")
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
    all_but = "which to fetch (default: all but stuffthingmaps)"
    say("--parts", nargs="+", choices=names, default=DEFAULT_PARTS, help=all_but)
    say("--base-url", help=f"server or mirror (default: {BASE_URL}; {STUFF_URL})")
    say("--keep-zips", action="store_true", help="keep the zips in coco/zips/")
    say("--check", action="store_true", help="fetch nothing; exit status 1 if something is missing")
    args = parser.parse_args(argv)
    if args.base_url and not args.base_url.startswith(("http://", "https://")):
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
