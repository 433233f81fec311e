"""One object for a run's settings, whichever kind of config states them."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

from detectron2.config import CfgNode
from omegaconf import DictConfig

from hrnet_det.config.settings import Setting


class ModelNames(NamedTuple):
    """What tells the kind of a detector.

    Args:
        meta_arch, roi_heads: the names of the model's classes; roi_heads "" without RoI heads.
        masks, keypoints: whether its RoI heads predict them.
    """

    meta_arch: str
    roi_heads: str
    masks: bool
    keypoints: bool


class RunConfig(ABC):
    """The settings of a run: read and written by `run[settings.MAX_ITER]`.

    Args:
        cfg: Detectron2's config, a CfgNode or a DictConfig.
        path: its file; "" where it comes from none.
        overrides: what has been merged over it, as the user typed it.
    """

    def __init__(
        self, cfg: CfgNode | DictConfig, path: str = "", overrides: Sequence[str] = ()
    ) -> None:
        self.cfg = cfg
        self.path = path
        self.overrides = tuple(overrides)
        self.notes: list[str] = []
        self.custom: list[dict] = []  # what custom datasets were registered with

    def note(self, text: str) -> None:
        """Say what was changed for the user; the log of the run gets it too."""
        print(text)
        self.notes.append(text)

    @property
    @abstractmethod
    def model(self) -> ModelNames:
        """The model that the config describes."""

    @property
    @abstractmethod
    def semantic_branch(self) -> bool:
        """Whether its RoI heads, where they can have a semantic branch, have one."""

    @abstractmethod
    def __getitem__(self, setting: Setting) -> object:
        """The value of a setting."""

    @abstractmethod
    def __setitem__(self, setting: Setting, value: object) -> None: ...

    @abstractmethod
    def has(self, setting: Setting) -> bool:
        """Whether this config has such a setting."""

    @abstractmethod
    def states(self, setting: Setting) -> bool:
        """Whether the user has stated it, in a file of their own or as an override."""

    @abstractmethod
    def name(self, setting: Setting) -> str:
        """What a user calls it in this kind of config: "MODEL.WEIGHTS", "train.init_checkpoint"."""

    @abstractmethod
    def words(self, setting: Setting, value: object) -> list[str]:
        """What sets it at the end of a command: ["MODEL.WEIGHTS", "x.pth"]."""

    @abstractmethod
    def text(self) -> str:
        """The whole config as text, from which `load.parse_run` makes it again.

        Raises: ValueError if it holds objects that have no such form.
        """

    def copy(self) -> RunConfig:
        """Another one, whose settings can be changed without changing these."""
        return copy.deepcopy(self)

    def shown(self, setting: Setting, value: object = None) -> str:
        """Name and value as a user would state them; by default its own value."""
        return " ".join(self.words(setting, self[setting] if value is None else value))
