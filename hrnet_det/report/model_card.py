"""The model card: what a trained detector is, was trained on and reaches, and how to use it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

import torch

import hrnet_det
from hrnet_det.config import settings
from hrnet_det.config.run_config import RunConfig
from hrnet_det.modeling.kinds import SEGMENTS, SEMANTIC_LABELS, kind_of
from hrnet_det.report.tables import results_tables

MANY = 30  # class names; of more only the first are listed


def model_card(run: RunConfig, file: str, metadata: Mapping[str, Any], results: dict) -> str:
    """The text of model_card.md, in Markdown, with the front matter that model hubs read.

    Args:
        file: name of the weights file that lies beside it.
        metadata: of that file, as `export_model` returns it.
        results: as measured after training, {} where nothing was evaluated.
    """
    tests = ", ".join(run[settings.TEST_DATASETS])
    parts = [_front_matter(run), f"# {metadata['title']}\n", *_facts(run, metadata), ""]
    if results:
        parts += [f"## Results on {tests}", "", f"```\n{results_tables(results).strip()}\n```", ""]
    else:
        parts += ["It has not been evaluated.", ""]
    return "\n".join([*parts, "## Use", "", _use(run, file), ""])


def _front_matter(run: RunConfig) -> str:
    kind = kind_of(run)
    task = "image-segmentation" if kind.learns & {SEMANTIC_LABELS, SEGMENTS} else "object-detection"
    tags = ["detectron2", "hrnet", *([kind.name] if kind.name else [])]
    lines = ["library_name: hrnet_det", f"pipeline_tag: {task}", f"tags: [{', '.join(tags)}]"]
    return "\n".join(["---", *lines, "---", ""])


def _facts(run: RunConfig, metadata: Mapping[str, Any]) -> list[str]:
    """A table of what is known."""
    classes, data, pixels = metadata["classes"], metadata.get("data") or {}, metadata.get("pixels")
    names = ", ".join(classes[:MANY]) + (", ..." if len(classes) > MANY else "")
    trained = ", ".join(run[settings.TRAIN_DATASETS])
    if data:
        trained += f": {data['images']} images, {data['objects']} objects"
    batch, decay = run[settings.BATCH_SIZE], run[settings.EMA_DECAY]
    weights = "random weights" if not run[settings.WEIGHTS] else str(run[settings.WEIGHTS])
    facts = {
        "classes": f"{len(classes)}: {names}" if classes else "",
        "trained on": trained,
        "training": f"{metadata['iterations']} iterations of {batch} images, from {weights}",
        "weights": f"their moving average (EMA, decay {decay})" if decay else "",
        "recipe": str(run[settings.RECIPE]),  # as published; "" for the config's own
        "conventions": metadata.get("conventions", ""),
        "pixels": ", ".join(f"{k} {v}" for k, v in pixels.items()) if pixels else "",
        "made with": f"hrnet_det {hrnet_det.__version__}, torch {torch.__version__}",
    }
    rows = (f"| {name} | {_cell(value)} |" for name, value in facts.items() if value)
    return ["| | |", "|---|---|", *rows]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _use(run: RunConfig, file: str) -> str:
    if kind_of(run).detects:
        return (
            f"```bash\nhrnet-det predict {file} image.jpg\n```\n\n```python\n"
            "from hrnet_det import Detector\n\n"
            f'detector = Detector.from_pretrained("{file}")\nobjects = detector("image.jpg")\n```'
        )
    words = ["--config-file", "config.yaml", "--eval-only", *run.words(settings.WEIGHTS, file)]
    return f"```bash\nhrnet-det train {shlex.join(words)}\n```"
