"""A report as text: what is printed."""

from __future__ import annotations

import textwrap

from tabulate import tabulate

from hrnet_det.check_data.report import SEVERITIES, Report
from hrnet_det.check_data.tables import ANCHOR_HEADERS, anchor_rows, dataset_rows

TITLES = {"error": "errors", "warning": "warnings", "change": "changes made when it is read"}
WIDTH = 100


def summary(report: Report) -> str:
    """How many problems of each severity: "2 errors, 1 warning"."""
    counts = {severity: len(report.of(severity)) for severity in SEVERITIES}
    shown = [f"{n} {severity}{'s' * (n != 1)}" for severity, n in counts.items() if n]
    return ", ".join(shown) or "no problems"


def as_text(report: Report) -> str:
    """Figures of the datasets, all problems, and how the anchors fit."""
    parts = [tabulate(dataset_rows(report), tablefmt="plain", disable_numparse=True)]
    for severity in SEVERITIES:
        lines = [
            textwrap.fill(
                f"{problem.source.name}: {problem.finding.kind}: {problem.finding.text}",
                WIDTH,
                initial_indent="  ",
                subsequent_indent="    ",
                break_long_words=False,
                break_on_hyphens=False,
            )
            for problem in report.of(severity)
        ]
        if lines:
            parts.append("\n".join([f"{TITLES[severity]}:", *lines]))
    for checked in report.datasets:
        rows = anchor_rows(report, checked)
        if rows:
            table = tabulate(rows, ANCHOR_HEADERS, tablefmt="plain", disable_numparse=True)
            name = checked.source.name
            parts.append(f"best anchors of {name}'s objects, {report.recipe.scale}:\n{table}")
    parts.append(f"{report.config}: {summary(report)}")
    return "\n\n".join(parts)
