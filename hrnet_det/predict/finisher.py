"""What happens with an image or a video when it is drawn: its rows are written, and a line said."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from tqdm import tqdm

from hrnet_det.data.coco_values import on_one_line
from hrnet_det.predict.plan import Plan
from hrnet_det.predict.results import Drawn, Prediction, Results
from hrnet_det.predict.sources.find import Source
from hrnet_det.predict.sources.reading import Read

Log = Callable[[str], object]


def counted(word: str, count: int) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


class Finisher:
    """Writes the rows of an image that is drawn, and says so; one thread at a time calls it.

    Attributes:
        done: images and videos that are written.
        failed: what is said of those that cannot be read, or not in full.
    """

    def __init__(self, results: Results, plan: Plan, log: Log | None, bar: tqdm) -> None:
        self._results, self._plan, self._log, self._bar = results, plan, log, bar
        self._finished: deque[Prediction] = deque()
        self.done = 0
        self.failed: list[str] = []

    def __call__(self, one: Drawn | Read) -> None:
        if isinstance(one, Read):
            name = on_one_line(one.source.name)
            self.failed.append(f"{name} {one.problem}")
            line = f"{name}: left out, it {one.problem}"
        else:
            self._results.write(one)
            line = self._finish(one.prediction)
        self._tell(line)

    def video(self, source: Source, prediction: Prediction, problem: str) -> None:
        """A video, of which some or all frames could not be read where there is a problem."""
        name, frames = on_one_line(source.name), prediction.frames
        if problem:
            done = f"{counted('frame', frames)} {'is' if frames == 1 else 'are'}"
            self.failed.append(f"{name} {problem}{f'; {done} done' if frames else ''}")
        line = self._finish(prediction) if frames else f"{name}: left out, it {problem}"
        self._tell(f"{line}; it {problem}" if frames and problem else line)

    def _finish(self, prediction: Prediction) -> str:
        self._finished.append(prediction)
        self.done += 1
        said = ", ".join(f"{n} {name}" for name, n in prediction.counts.items())
        frames = f"{counted('frame', prediction.frames)}, " if prediction.frames else ""
        name = on_one_line(str(prediction.image))
        return f"{name}: {frames}{said or f'nothing over {self._plan.score:g}'}"

    def _tell(self, line: str) -> None:
        self._bar.update()
        if self._log is not None:
            self._log(line)

    def taken(self) -> Iterator[Prediction]:
        """Those that have been finished since it was asked last."""
        while self._finished:
            yield self._finished.popleft()
