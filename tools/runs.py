"""Trainings of shipped configs, each in a process of its own, whose results are kept."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

# Prints the peak resident memory of a command. A small process between, because the peak of a child
# begins with what its parent holds.
_MEASURE = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""


@dataclass(frozen=True)
class Run:
    """What a training has come to.

    Args:
        results: of the evaluation, as results.json has them: {"bbox": {"AP": percent, ...}, ...}.
        seconds: from the start of the process to its end, evaluation included.
        peak: resident memory at most, in bytes.
    """

    results: dict[str, dict[str, float]]
    seconds: float
    peak: int


def train(config: str, *, seed: int, output: Path, overrides: Sequence[str] = ()) -> Run:
    """Train a shipped config with a seed; a run finished with the same options is used again.

    Raises: subprocess.CalledProcessError if the training fails; what it said is in log.txt.
    """
    record, given = output / "run.json", [config, f"seed {seed}", *overrides]
    if record.is_file():
        content = json.loads(record.read_text())
        if content.pop("options") == given:
            print(f"{output} is finished: its results are used again", flush=True)
            return Run(**content)
    command = [sys.executable, "-m", "hrnet_det.cli", "train", "--config-file", config]
    command += [*overrides, "SEED", str(seed), "OUTPUT_DIR", str(output)]
    print(f"training {config} with seed {seed}: progress in {output / 'log.txt'}", flush=True)
    seconds, peak = _measured(command)
    results = json.loads((output / "results.json").read_text())
    run = Run(results=results, seconds=seconds, peak=peak)
    record.write_text(json.dumps({"options": given, **asdict(run)}))
    return run


def _measured(command: list[str]) -> tuple[float, int]:
    """Seconds and peak bytes of a process without output. Raises: CalledProcessError."""
    start = time.perf_counter()
    measured = [sys.executable, "-c", _MEASURE, *command]
    done = subprocess.run(measured, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, command)
    unit = 1 if sys.platform == "darwin" else 1024
    return time.perf_counter() - start, int(done.stdout) * unit
