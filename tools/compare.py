"""`make compare`: HRNetV2p beside Detectron2's ResNet-FPN, same data, same iterations, some seeds.

With --what conventions: HRNetV2p trained and evaluated by Detectron2's rules and by mmdetection's.
Each run is a process of its own; a finished one is not run again unless the options differ.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from pathlib import Path

from tabulate import tabulate

from hrnet_det import model_zoo
from hrnet_det.data import prepare_datasets
from hrnet_det.modeling.build_model import build_detector
from tools.runs import train

OURS = "quickstart/faster_rcnn.yaml"
# What is compared: for each row of a table its config and KEY VALUE pairs.
COMPARISONS: dict[str, dict[str, tuple[str, tuple[str, ...]]]] = {
    "backbones": {
        "HRNetV2p (w18_small_v1)": (OURS, ()),
        "ResNet-18-FPN": ("quickstart/faster_rcnn_resnet_fpn.yaml", ()),
    },
    "conventions": {
        f"MODEL.CONVENTIONS {name}": (OURS, ("MODEL.CONVENTIONS", name))
        for name in ("detectron2", "mmdet")
    },
}
METRICS = ("AP", "AP50", "APs", "APm", "APl")


def count_parameters(config: str, overrides: Sequence[str] = ()) -> int:
    """Parameters of a shipped config's detector, with the classes of its data."""
    cfg = model_zoo.get_config(config, overrides)
    cfg.MODEL.DEVICE = "cpu"
    prepare_datasets(cfg)
    return sum(p.numel() for p in build_detector(cfg).parameters())


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
    parser.add_argument("--what", choices=COMPARISONS, default="backbones")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--output", type=Path, default=Path("output/compare"))
    parser.add_argument("opts", nargs=argparse.REMAINDER, help="KEY VALUE pairs for all configs")
    args = parser.parse_args(argv)
    rows = COMPARISONS[args.what]
    runs: dict[str, list[dict]] = {name: [] for name in rows}
    for seed in args.seeds:
        for name, (config, own) in rows.items():
            output = args.output / "_".join([Path(config).stem, *own[1::2], f"seed{seed}"])
            run = train(config, seed=seed, output=output, overrides=[*own, *args.opts])
            runs[name].append(run.results["bbox"])
    table = comparison_table(runs, {name: count_parameters(*row) for name, row in rows.items()})
    report = args.output / f"{args.what}.md"
    report.write_text(table + "\n")
    print(f"{table}\n\nwritten to {report}")


if __name__ == "__main__":
    main()
