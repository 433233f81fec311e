"""Speed and memory, measured side by side with what else there is: `hrnet-det benchmark`."""

from hrnet_det.benchmark.checkpointing import compare_checkpointing
from hrnet_det.benchmark.planning import Plan, plan
from hrnet_det.benchmark.speed import Case, benchmark

__all__ = ["Case", "Plan", "benchmark", "compare_checkpointing", "plan"]
