"""`make compare`: HRNetV2p beside Detectron2's ResNet-FPN, same data, same iterations, some seeds.

Each run is a process of its own; a finished one is not run again unless the options differ.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from pathlib import Path

from detectron2.modeling import build_model
from tabulate import tabulate

from hrnet_det import model_zoo
from hrnet_det.data import prepare_datasets
from tools.runs import train

DETECTORS = {
    "HRNetV2p (w18_small_v1)": "quickstart/faster_rcnn.yaml",
    "ResNet-18-FPN": "quickstart/faster_rcnn_resnet_fpn.yaml",
}
METRICS = ("AP", "AP50", "APs", "APm", "APl")


def count_parameters(config: str) -> int:
    """Parameters of a shipped config's detector, with the classes of its data."""
    cfg = model_zoo.get_config(config)
    cfg.MODEL.DEVICE = "cpu"
    prepare_datasets(cfg)
    return sum(p.numel() for p in build_model(cfg).parameters())


def comparison_table(runs: dict[str, list[dict]], parameters: dict[str, int]) -> str:
    """Markdown: for each detector the mean of each metric over the seeds, and each seed's value.

    Args:
        runs: box metrics of each seed for each detector.
        parameters: of each detector.
    """
    rows = []
    for name, results in runs.items():
        cells = []
        for metric in METRICS:
            values = [result[metric] for result in results]
            each = ", ".join(f"{value:.1f}" for value in values)
            cells.append(f"**{statistics.mean(values):.1f}** ({each})")
        rows.append([name, f"{parameters[name] / 1e6:.1f} M", *cells])
    headers = ["detector", "parameters", *(f"box {metric}" for metric in METRICS)]
    return tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="tools.compare", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--output", type=Path, default=Path("output/compare"))
    parser.add_argument("opts", nargs=argparse.REMAINDER, help="KEY VALUE pairs for both configs")
    args = parser.parse_args(argv)
    runs: dict[str, list[dict]] = {name: [] for name in DETECTORS}
    for seed in args.seeds:
        for name, config in DETECTORS.items():
            output = args.output / f"{Path(config).stem}_seed{seed}"
            run = train(config, seed=seed, output=output, overrides=args.opts)
            runs[name].append(run.results["bbox"])
    parameters = {name: count_parameters(config) for name, config in DETECTORS.items()}
    table = comparison_table(runs, parameters)
    (args.output / "comparison.md").write_text(table + "\n")
    print(f"{table}\n\nwritten to {args.output / 'comparison.md'}")


if __name__ == "__main__":
    main()
