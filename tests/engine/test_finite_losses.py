"""Losses and gradients that are not finite: found before the step, in all processes."""

import multiprocessing

import pytest
import torch
from detectron2.engine import HookBase, SimpleTrainer
from detectron2.utils.events import EventStorage
from helpers.training import trainer
from torch import distributed, nn

from hrnet_det.cli import main
from hrnet_det.engine.accumulation import GradientAccumulation
from hrnet_det.engine.finite_losses import (
    Batch,
    FiniteLosses,
    NotFinite,
    forward_again,
)
from hrnet_det.engine.loss_scale import SkippedSteps
from hrnet_det.engine.replay import plain, replay, restored
from hrnet_det.errors import InputError, MissingInputError

NAN = float("nan")
CONV = "backbone.bottom_up.layer1.0.conv2"


class Change(HookBase):
    """Calls something with the detector before an iteration, and keeps its weights then."""

    def __init__(self, iteration, change):
        self._iteration, self._change = iteration, change

    def before_step(self):
        if self.trainer.iter == self._iteration:
            model = self.trainer._trainer.model.module
            self._change(model)
            self.kept = {name: tensor.clone() for name, tensor in model.state_dict().items()}


def fill(name, value):
    def change(model):
        with torch.no_grad():
            model.get_parameter(name)[0] = value

    return change


def diverge(data, output, change, *more, **options):
    """The error of a training, the trainer, and the replay's text; no weight has changed."""
    built, hook = trainer(data, output, *more, **options), Change(1, change)
    built.register_hooks([hook])
    with pytest.raises(InputError) as error:
        built.train()
    weights = dict(built._trainer.model.module.named_parameters())
    assert all(w.equal(hook.kept[n]) or w.isnan().any() for n, w in weights.items())
    (file,) = (output / "replay").iterdir()
    assert file.name == "iteration_0000001.pth"
    return str(error.value), built, file


@pytest.mark.parametrize(
    ("name", "value", "first", "more"),
    [
        (f"{CONV}.weight", NAN, f"{CONV} (Conv2d)", []),
        ("roi_heads.box_head.fc1.weight", NAN, "roi_heads.box_head.fc1 (Linear)", []),
        (
            "roi_heads.box_predictor.cls_score.bias",
            float("inf"),
            "roi_heads.box_predictor.cls_score (Linear)",
            ["SOLVER.GRADIENT_ACCUMULATION_STEPS", "2"],
        ),
        (f"{CONV}.weight", NAN, f"{CONV} (Conv2d)", ["SOLVER.AMP.ENABLED", "True"]),
    ],
)
def test_what_is_said_and_saved(coco, tmp_path, capsys, name, value, first, more):
    options = {"annotations": "polygons.json", "config": "hrnetv2p_mask_rcnn.yaml"}
    said, built, file = diverge(coco, tmp_path, fill(name, value), *more, **options)
    files = built._trainer.model.latest.files
    assert len(files) == 2 and all(file.startswith(str(coco / "images")) for file in files)
    assert said.startswith(
        "training has diverged at iteration 1: with SOLVER.BASE_LR 0.01 losses or weights became "
        "infinite or NaN. It was found before the optimizer's step; first module whose output is "
        f"not finite: {first}; losses: "
    )
    assert f"; images: {', '.join(files)}; hrnet-det replay {file} repeats it. Advice: " in said
    capsys.readouterr()
    assert main(["replay", str(file)]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert f"{file}: iteration 1, {', '.join(files)}" in shown
    assert shown[-1] == f"The first module whose output is not finite: {first}"
    content = torch.load(file, weights_only=True)
    weights = built._trainer.model.module.state_dict()
    assert content["weights"].keys() == weights.keys()
    assert all(content["weights"][n].equal(weights[n]) for n in weights if "norm" in n)


def test_a_gradient_that_is_not_finite(coco, tmp_path):
    def change(model):
        model.get_parameter(f"{CONV}.weight").register_hook(lambda gradient: gradient * NAN)

    said, _, file = diverge(coco, tmp_path, change)
    assert (
        f"NaN. 1 gradients are not finite, such as that of {CONV}.weight. It was found before the "
        "optimizer's step; first module whose output is not finite: in none; a forward pass alone "
        "is finite; losses: loss_cls "
    ) in said
    assert replay(file).endswith("All losses are finite; so are gradients")  # without the hook


def test_a_batch_again_has_the_same_losses(coco, tmp_path):
    """Of a random choice of anchors and proposals; nothing of the training changes."""
    built = trainer(coco, tmp_path, "SOLVER.MAX_ITER", "1")
    built.train()
    fresh = trainer(coco, tmp_path / "other")  # the weights before the step
    batch = built._trainer.model.latest
    torch.manual_seed(77)
    before = torch.get_rng_state()
    outcome = forward_again(fresh._trainer.model.module, batch)
    assert torch.get_rng_state().equal(before)
    assert outcome.is_finite and not outcome.module
    latest = built.storage.latest()
    assert set(outcome.losses) == {"loss_cls", "loss_box_reg", "loss_rpn_cls", "loss_rpn_loc"}
    assert outcome.losses == {name: latest[name][0] for name in outcome.losses}


def test_rows_are_plain_and_come_back(coco, tmp_path):
    options = {"annotations": "keypoints.json", "config": "quickstart/keypoint_rcnn.yaml"}
    sigmas = ["TEST.KEYPOINT_OKS_SIGMAS", "[0.05, 0.05, 0.05]"]
    built = trainer(coco, tmp_path / "k", *sigmas, **options)
    rows = next(iter(built.data_loader))
    options = {"annotations": "polygons.json", "config": "hrnetv2p_mask_rcnn.yaml"}
    rows += next(iter(trainer(coco, tmp_path / "p", **options).data_loader))
    rows += next(
        iter(trainer(coco, tmp_path / "b", "INPUT.MASK_FORMAT", "bitmask", **options).data_loader)
    )
    torch.save([plain(row) for row in rows], tmp_path / "rows.pth")
    loaded = torch.load(tmp_path / "rows.pth", weights_only=True)
    for row, given in zip(map(restored, loaded), rows, strict=True):
        assert row.keys() == given.keys()
        assert row["image"].equal(given["image"]) and row["file_name"] == given["file_name"]
        ours, theirs = row["instances"].get_fields(), given["instances"].get_fields()
        assert row["instances"].image_size == given["instances"].image_size
        assert [(n, type(x)) for n, x in ours.items()] == [(n, type(x)) for n, x in theirs.items()]
        assert ours["gt_boxes"].tensor.equal(theirs["gt_boxes"].tensor)
        assert repr(ours) == repr(theirs)
    assert plain({"x": object(), "y": (1, "a", None)}) == {
        "class": "dict",
        "of": [["x", None], ["y", (1, "a", None)]],
    }


def test_files_that_cannot_be_replayed(tmp_path, capsys):
    with pytest.raises(MissingInputError, match="is not there: give a file of OUTPUT_DIR/replay/"):
        replay(tmp_path / "none.pth")
    path = tmp_path / "x.pth"
    path.write_bytes(b"x")
    with pytest.raises(InputError, match="is no file of a batch"):
        replay(path)
    torch.save({"model": {}}, path)
    assert main(["replay", str(path)]) == 2
    said = f"error: {path} is no file of a batch: give one of OUTPUT_DIR/replay/\n"
    assert capsys.readouterr().err == said
    torch.save({"hrnet_det_replay": 1}, path)
    with pytest.raises(InputError, match="has no config: give the training's one, --config-file"):
        replay(path)
    torch.save({"hrnet_det_replay": 1, "config": "VERSION: 2"}, path)
    with pytest.raises(InputError, match=r"x\.pth cannot be replayed: KeyError: 'rows'"):
        replay(path)


class Toy(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, rows):
        return {"loss": self.weight * sum(row["image"] for row in rows).mean()}


def rows(*values):
    return [{"image": torch.tensor(value)} for value in values]


def test_parts_that_are_not_finite():
    guard = FiniteLosses(GradientAccumulation(Toy(), 2), parts=2)
    assert float(guard(rows(1.0, 3.0))["loss"].detach()) == 2
    with pytest.raises(NotFinite):
        guard(rows(NAN, 3.0))  # of the first part, whose backward pass is done
    assert forward_again(guard.module, Batch(rows(1.0, 3.0), guard.latest.random, 2)).losses == {
        "loss": 2.0
    }
    assert forward_again(guard.module, guard.latest).module == "the images"
    with torch.no_grad():
        assert guard(rows(NAN))["loss"].isnan()  # not a training's


def _of_a_process(rank, folder, answers):
    distributed.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=2)
    guard = FiniteLosses(Toy())
    said = [float(guard(rows(1.0 + rank))["loss"].detach())]
    try:
        guard(rows(NAN if rank else 1.0))
    except NotFinite:
        said.append("stopped")
    answers.put((rank, said))
    distributed.destroy_process_group()


def test_all_processes_stop(tmp_path):
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    processes = [
        context.Process(target=_of_a_process, args=(rank, tmp_path, answers)) for rank in (0, 1)
    ]
    for process in processes:
        process.start()
    found = dict(answers.get(timeout=60) for _ in processes)
    for process in processes:
        process.join(60)
    assert found == {0: [1.0, "stopped"], 1: [2.0, "stopped"]}


class Scaled(SimpleTrainer):
    """Detectron2's AMPTrainer needs a GPU; this is what it does with its GradScaler."""

    def __init__(self, model, data, optimizer):
        super().__init__(model, data, optimizer, zero_grad_before_forward=True)
        self.grad_scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)

    def run_step(self):
        self.optimizer.zero_grad()
        losses = self.model(next(self._data_loader_iter))
        self.grad_scaler.scale(sum(losses.values())).backward()
        self.grad_scaler.step(self.optimizer)
        self.grad_scaler.update()


def test_skipped_steps_are_counted_and_told(caplog):
    model = Toy()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    values = [1.0, 1e37, 1.0, 1e36, 1.0]  # times 2^16 or 2^15: infinite twice
    scaled = Scaled(FiniteLosses(model), [rows(value) for value in values], optimizer)
    hook, weights = SkippedSteps(scaled.grad_scaler), []
    scaled.register_hooks([hook])
    with caplog.at_level("INFO"), EventStorage(0) as scaled.storage:
        for scaled.iter in range(5):
            scaled.before_step()
            scaled.run_step()
            scaled.after_step()
            weights.append(round(float(model.weight), 4))
        scaled.iter += 1
        hook.after_train()
    assert weights == [0.9, 0.9, 0.8, 0.8, 0.7]
    assert scaled.storage.latest()["amp_skipped_steps"] == (2, 4) and hook.skipped == 2
    assert (
        "AMP skipped 2 of 5 steps, whose gradients were infinite in float16; the loss is scaled "
        "by 16384 now"
    ) in caplog.text
    other = SkippedSteps(scaled.grad_scaler)
    other.load_state_dict(hook.state_dict())
    assert other.skipped == 2
