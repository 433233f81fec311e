"""Damaged jsons, weights, images and configs, read by hrnet_det: each is refused or taken.

    python -m tools.fuzz                      three minutes
    python -m tools.fuzz --seconds 3600 --readers image weights

Anything else is a fault: another exception than InputError, a process that is killed (SIGSEGV), a
file that takes longer than LONGEST, or more memory than MEMORY. The file is kept, and named.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from hrnet_det.errors import InputError
from tools.fuzz_corpus import READERS, Reader

EXAMPLES = 100  # files of a process
LONGEST = 60  # seconds
MEMORY = 8 * 2**30  # bytes of addresses, beside those that the process begins with
# What is written in the place of bytes: borders of numbers, and words of JSON and YAML.
PIECES = (
    *(b"\0", b"\xff", b"\0" * 4, b"\xff" * 4, b"\x7f" + b"\xff" * 3, b"\0" * 8, b"\xff" * 8),
    *(b"NaN", b"Infinity", b"null", b"-1", b"0", b"1e308", b"1e9", b"9" * 30, b"[]", b"{}", b'""'),
    *(b"[[", b"}}", b'"\\ud800"', b"../", b"&a ", b"*a", b"!!python/name:os.system"),
)


@st.composite
def damaged(draw: Callable, whole: list[bytes]) -> bytes:
    """A whole file with up to six changes: bytes overwritten, cut out, doubled or put in."""
    raw = bytearray(draw(st.sampled_from(whole)))
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, max(len(raw) - 1, 0)))
        length = draw(st.sampled_from([1, 1, 2, 4, 8, 40, 400]))
        piece = draw(st.one_of(st.sampled_from(PIECES), st.binary(min_size=1, max_size=8)))
        change = draw(st.sampled_from(["over", "over", "over", "in", "out", "double", "end"]))
        if change == "over":
            raw[start : start + len(piece)] = piece
        elif change == "in":
            raw[start:start] = piece
        elif change == "out":
            del raw[start : start + length]
        elif change == "double":
            raw[start:start] = raw[start : start + length]
        else:
            del raw[start:]
    return bytes(raw)


def run_examples(reader: Reader, number: int, folder: Path, examples: int = EXAMPLES) -> Counter:
    """Read damaged files, always the same ones of a number; the last is at folder/last.

    Raises: what a reader raises beside InputError, for the smallest file that was found.
    """
    whole, counts = reader.whole(), Counter()

    @seed(number)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(raw=damaged(whole))
    def read(raw: bytes) -> None:
        path = folder / f"last{reader.suffix}"
        path.write_bytes(raw)
        signal.alarm(LONGEST)
        try:
            reader.read(path)
        except InputError as error:
            str(error).encode("utf-8", "surrogateescape")
            counts["refused"] += 1
        else:
            counts["taken"] += 1
        finally:
            signal.alarm(0)

    read()
    return counts


def run_apart(reader: Reader, number: int, folder: Path) -> tuple[Counter, str]:
    """`run_examples` in a process of its own: its counts, and the fault that ended it or ""."""
    given, taken = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(given)
        limit = _addresses() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, 2)
        try:
            counts = run_examples(reader, number, folder)
            answer = f"{counts['refused']} {counts['taken']}"
        except BaseException as error:
            answer = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        os.write(taken, answer.encode("utf-8", "replace"))
        os._exit(0)
    os.close(taken)
    with os.fdopen(given, "rb") as pipe:
        answer = pipe.read().decode()
    _, status = os.waitpid(pid, 0)
    if not answer:
        return Counter(), f"the process ended with {signal.Signals(os.WTERMSIG(status)).name}"
    numbers = answer.split()
    if len(numbers) == 2 and all(word.isdecimal() for word in numbers):
        return Counter(refused=int(numbers[0]), taken=int(numbers[1])), ""
    return Counter(), answer


def _addresses() -> int:
    """Bytes of addresses that this process has, 0 where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:
        return 0
    return pages * resource.getpagesize()


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=180, help="(%(default)s)")
    parser.add_argument("--readers", nargs="+", default=list(READERS), choices=list(READERS))
    parser.add_argument("--seed", type=int, help="of the first files; a random one by default")
    parser.add_argument("--output", default="output/fuzz", help="folder (%(default)s)")
    words = parser.parse_args(argv)
    number = random.randrange(10**6) if words.seed is None else words.seed
    print(f"seed {number}")
    end, counts, faults = time.monotonic() + words.seconds, Counter(), 0
    with tempfile.TemporaryDirectory() as folder:
        while time.monotonic() < end:
            name = words.readers[number % len(words.readers)]
            found, fault = run_apart(READERS[name], number, Path(folder))
            counts.update({f"{name} {key}": value for key, value in found.items()})
            if fault:
                faults += 1
                kept = Path(words.output) / f"{name}-{number}{READERS[name].suffix}"
                kept.parent.mkdir(parents=True, exist_ok=True)
                kept.write_bytes((Path(folder) / f"last{READERS[name].suffix}").read_bytes())
                print(f"FAULT: {name}, seed {number}: {fault}; the file is {kept}", flush=True)
            number += 1
    print(", ".join(f"{key}: {value}" for key, value in sorted(counts.items())))
    print(f"{faults} faults in {sum(counts.values())} files")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
