"""Speed and memory, measured side by side with what else there is: `hrnet-det benchmark`."""

from hrnet_det.analysis.benchmark import benchmark
from hrnet_det.analysis.cases import Case, cases_of
from hrnet_det.analysis.planning import Plan, plan

__all__ = ["Case", "Plan", "benchmark", "cases_of", "plan"]
