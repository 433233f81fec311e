"""Learning rates: a warm-up over 500 iterations, then steps of a tenth or a polynomial."""

from detectron2.config import LazyCall as L
from detectron2.solver import WarmupParamScheduler
from fvcore.common.param_scheduler import MultiStepParamScheduler, PolynomialDecayParamScheduler


def steps(*milestones: int, warmup_method: str = "linear") -> dict:
    """Drops to a tenth at each milestone but the last, which is the end; iterations."""
    return L(WarmupParamScheduler)(
        scheduler=L(MultiStepParamScheduler)(
            values=[0.1**k for k in range(len(milestones))], milestones=list(milestones)
        ),
        warmup_factor=0.3333333,
        warmup_length=500 / milestones[-1],
        warmup_method=warmup_method,
    )


schedule_1x = steps(60000, 80000, 90000)
schedule_2x = steps(120000, 160000, 180000)
schedule_20e = steps(117264, 139251, 146580)
schedule_fcos_1x = steps(60000, 80000, 90000, warmup_method="constant")
schedule_poly = L(PolynomialDecayParamScheduler)(base_value=1.0, power=0.9)
