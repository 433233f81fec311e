"""`make matrix`: every kind of detector trained on the quickstart's images, in one table."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from tabulate import tabulate

from hrnet_det import model_zoo
from tools.runs import Run, train

# Columns of the table: the metric's place in results.json.
METRICS = {
    "box AP": ("bbox", "AP"),
    "mask AP": ("segm", "AP"),
    "keypoint AP": ("keypoints", "AP"),
    "AR@100": ("box_proposals", "AR@100"),
    "mIoU": ("sem_seg", "mIoU"),
    "PQ": ("panoptic_seg", "PQ"),
}


def matrix_configs() -> list[str]:
    """The quickstart's configs, but that of another backbone."""
    names = [name for name in model_zoo.names() if name.startswith("quickstart/")]
    return [name for name in names if name.endswith(".yaml") and "resnet" not in name]


def matrix_table(runs: dict[str, Run]) -> str:
    """Markdown: a row for each config, in percent, minutes and 10^9 bytes.

    Args:
        runs: by the name of their config.
    """
    rows = []
    for name, run in runs.items():
        cells = [run.results.get(task, {}).get(metric) for task, metric in METRICS.values()]
        rows.append(
            [
                f"[{Path(name).stem}](../configs/{name})",
                *("-" if value is None else f"{value:.1f}" for value in cells),
                f"{run.seconds / 60:.1f}",
                f"{run.peak / 1e9:.1f}",
            ]
        )
    headers = ["config", *METRICS, "minutes", "peak GB"]
    return tabulate(rows, headers, tablefmt="github", disable_numparse=True)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="tools.matrix", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("output/matrix"))
    parser.add_argument("--only", nargs="+", metavar="CONFIG", help="some of them (all)")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY VALUE", help="for all of them")
    args = parser.parse_args(argv)
    runs: dict[str, Run] = {}
    for name in args.only or matrix_configs():
        path = args.output / Path(name).stem
        runs[name] = train(name, seed=1, output=path, overrides=args.set)
        (args.output / "matrix.md").write_text(matrix_table(runs) + "\n")
    print(f"{matrix_table(runs)}\n\nwritten to {args.output / 'matrix.md'}")


if __name__ == "__main__":
    main()
