"""What a training's history says in words: whether it overfits, and whether it was long enough."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

from hrnet_det.config import settings
from hrnet_det.config.run_config import RunConfig
from hrnet_det.config.settings import Setting
from hrnet_det.report.history import TOTAL, VALIDATION, Curve, History

GOOD, BAD, NEUTRAL = "good", "bad", "neutral"
RISEN = 0.02  # a share of the lowest loss on the test set: less is noise
LOST = 0.02  # a share of the best metric, likewise
LATE = 0.75  # of a training's iterations: what rises after them would rise further
EVALUATIONS = 10  # that a training is advised to have


@dataclass(frozen=True)
class Statement:
    """A sentence of a report.

    Attributes:
        kind: GOOD, BAD or NEUTRAL.
        advice: what to do about it; "" for nothing.
        command: that does it; "" for none.
    """

    kind: str
    text: str
    advice: str = ""
    command: str = ""


def training_story(
    history: History, run: RunConfig | None, metric: str, *, best: str = "model_best.pth"
) -> list[Statement]:
    """Sentences on a training.

    Args:
        run: None where its config is not known.
        metric: as metrics.json names it: "bbox/AP".
        best: the file with the weights that were best; "" where there is none.
    """
    if not history.curve(TOTAL):
        return []
    if len(history.evaluated) < 2:
        return [_too_few_evaluations(history, run)]
    return [*_losses(history, run, metric), *_metric(history, run, metric, best)]


def _losses(history: History, run: RunConfig | None, metric: str) -> Iterator[Statement]:
    """Sentences on the loss on the test set beside that of training."""
    tested = history.curve(f"{VALIDATION}total")
    if len(tested) < 2:
        yield Statement(
            NEUTRAL,
            "Whether it overfits cannot be seen in its losses: none were computed on the test set.",
            f"In the next training set {_set(run, settings.LOSS, True)}: this page then compares "
            "both.",
        )
        return
    place = tested.lowest()
    at, lowest = tested.iterations[place], tested.values[place]
    rise = tested.last / lowest - 1 if lowest > 0 else 0.0
    if place == len(tested) - 1:
        text = f"It does not overfit: the loss on the test set was lowest at the end ({lowest:.3g})"
        yield Statement(GOOD, f"{text}{_beside(history, tested)}.")
    elif rise < RISEN:
        text = f"The loss on the test set has not fallen since iteration {at:,} ({lowest:.3g})"
        yield Statement(NEUTRAL, f"{text}: it overfits little or not, but learns no more.")
    else:
        yield _risen(history, tested, at, rise, metric)


def _risen(history: History, tested: Curve, at: int, rise: float, metric: str) -> Statement:
    """The sentence on a loss on the test set that has risen by a share since an iteration."""
    fall = _training_change(history, tested, at)
    lowest = tested.values[tested.iterations.index(at)]
    text = (
        f"the loss on the test set was lowest at iteration {at:,} ({lowest:.3g}) and has risen "
        f"since then by {rise:.1%} (to {tested.last:.3g})"
    )
    scores = history.curve(metric)
    rising = len(scores) > 1 and scores.highest() == len(scores) - 1
    if fall is not None and fall > 0:
        also = f"{text}, and that of training by {fall:.1%}"
        if rising:
            return Statement(NEUTRAL, f"It is too early for its losses: {also}; {metric} rises.")
        return Statement(
            BAD,
            f"Its training was unstable: {also}.",
            "Both rise, so this is not overfitting: lower the learning rate (SOLVER.BASE_LR) or "
            "raise the batch.",
        )
    also = "" if fall is None else f", while the loss in training fell by {-fall:.1%}"
    if rising:
        return Statement(
            NEUTRAL,
            f"It begins to overfit: {text}{also}. {metric} is still best at the end: scores become "
            "too sure of themselves before detections become worse.",
            "More images or stronger augmentation (INPUT.AUGMENT...) before a longer training.",
        )
    return Statement(
        BAD,
        f"It overfits: {text}{also}.",
        "It learns the training images by heart. More images help most; then stronger "
        "augmentation (INPUT.AUGMENT...), a smaller network, or a shorter training.",
    )


def _training_change(history: History, tested: Curve, at: int) -> float | None:
    """The relative change of the loss in training from an evaluation to the last one."""
    then, now = (_training_loss(history, tested, end) for end in (at, tested.iterations[-1]))
    return now / then - 1 if then and now else None


def _training_loss(history: History, tested: Curve, end: int) -> float | None:
    """The median loss in training between an evaluation and the one before."""
    earlier = [i for i in tested.iterations if i < end]
    losses = history.curve(TOTAL).until(end)
    # the last evaluation may come right after one that was due
    values = losses.until(end, after=earlier[-1] if earlier else -1).values or losses.values[-1:]
    return median(values) if values else None


def _beside(history: History, tested: Curve) -> str:
    """How the last loss on the test set compares with the one in training."""
    loss = _training_loss(history, tested, tested.iterations[-1])
    return f", beside {loss:.3g} in training" if loss else ""


def _metric(history: History, run: RunConfig | None, metric: str, best: str) -> Iterator[Statement]:
    """Sentences on a metric over time."""
    curve = history.curve(metric)
    if len(curve) < 2:
        return
    place = curve.highest()
    top, at = curve.values[place], curve.iterations[place]
    lost = top - curve.last
    if place < len(curve) - 1 and lost > LOST * top:
        text = (
            f"{metric} was best at iteration {at:,} ({top:.1f}); at the end it is {lost:.1f} lower"
        )
        use = f"{best} has the weights of that iteration: use those. " if best else ""
        stop = f"{_set(run, settings.PATIENCE, 3)} ends a training where it has stopped rising."
        yield Statement(BAD, f"{text} ({curve.last:.1f}).", use + stop)
        return
    late = curve.until(round(LATE * curve.iterations[-1]))
    if place == len(curve) - 1 and late and curve.last - max(late.values) > LOST * top:
        longer = _set(run, settings.MAX_ITER, 2 * (history.iteration + 1))
        yield Statement(
            NEUTRAL,
            f"{metric} was still rising: from {max(late.values):.1f} at iteration "
            f"{late.iterations[late.highest()]:,} to {curve.last:.1f} at the end.",
            f"Train longer: {longer}, the steps of the learning rate in proportion.",
        )
    elif place == len(curve) - 1:
        yield Statement(GOOD, f"{metric} is best at the end ({top:.1f}).")


def _too_few_evaluations(history: History, run: RunConfig | None) -> Statement:
    text = "It was evaluated once" if history.evaluated else "It was not evaluated"
    loss = _set(run, settings.LOSS, True)
    return Statement(
        NEUTRAL,
        f"{text}: whether it overfits, or would learn more, cannot be told.",
        f"In the next training set {_period(history, run)}, which evaluates while it trains, and "
        f"{loss}, which computes the loss on the test set too.",
    )


def _period(history: History, run: RunConfig | None) -> str:
    """The key that makes EVALUATIONS evaluations of a training like this one."""
    return _set(run, settings.EVAL_PERIOD, max(1, (history.iteration + 1) // EVALUATIONS))


def _set(run: RunConfig | None, setting: Setting, value: object) -> str:
    return run.shown(setting, value) if run else f"{setting.yaml} {value}"
