"""Updates with SOLVER.RECIPE mmdet beside mmdetection's optimiser, schedule and detector."""

import helpers.mmdet_reference as reference
import helpers.mmdet_training as mmdet
import helpers.training_pairs as ours
import pytest
import torch
from helpers.drawn_objects import drawn

from hrnet_det.checkpoint.renaming import rename
from hrnet_det.engine.optimizer import build_lr_scheduler, build_optimizer

REASON = reference.unavailable()
pytestmark = pytest.mark.skipif(REASON is not None, reason=f"no mmdetection: {REASON}")


def named(model):
    """Parameters by our names, as copies."""
    values = {name: x.detach().clone() for name, x in model.state_dict().items()}
    return rename(values, "mmdetection's detector").weights


@pytest.mark.filterwarnings("ignore:Detected call of")  # schedules go on without optimiser
@pytest.mark.parametrize("first", [0, 498])  # at the start of the warm-up, and over its end
def test_three_updates(first):
    kind = "faster_rcnn"
    made, theirs = mmdet.config(kind, small=True), mmdet.build(kind, small=True, spread=False)
    cfg = ours.config(kind, small=True, overrides=["SOLVER.RECIPE", "mmdet"])
    assert cfg.MODEL.CONVENTIONS == "mmdet"
    model = ours.build(cfg, theirs)
    optimizer = build_optimizer(cfg, model)
    schedule = build_lr_scheduler(cfg, optimizer)
    for _ in range(first):
        schedule.step()
    batch = [drawn((96, 128)), drawn((96, 119), seed=1)]
    before, expected = named(theirs), mmdet.updates(made, theirs, batch, first)
    for _ in range(3):
        their_step = next(expected)
        found = ours.step(model, batch, their_step.proposals, bitmaps=True)
        optimizer.zero_grad()
        sum(found.losses.values()).backward()
        optimizer.step()
        schedule.step()
    after, names = named(theirs), [name for name, _ in model.named_parameters()]
    own = dict(model.named_parameters())
    for part in ("backbone", "proposal_generator", "roi_heads"):
        inside = [name for name in names if name.startswith(part)]
        start = torch.cat([before[n].flatten() for n in inside])
        goal = torch.cat([after[n].flatten() for n in inside])
        change, found = (goal - start).norm(), torch.cat([own[n].flatten() for n in inside])
        assert 0 < change < start.norm(), part
        assert (found - goal).norm() <= 1e-5 * change, part
