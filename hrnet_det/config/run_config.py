"""One object for a run's settings, whichever kind of config states them."""

from __future__ import annotations

import copy
from collections.abc import Collection, Sequence
from functools import reduce
from operator import getitem
from typing import NamedTuple

from detectron2.config import CfgNode
from omegaconf import DictConfig

from hrnet_det.config import settings
from hrnet_det.config.settings import Setting


class ModelNames(NamedTuple):
    """What tells the kind of a detector; roi_heads is "" for a model without RoI heads."""

    meta_arch: str
    roi_heads: str
    masks: bool
    keypoints: bool


class RunConfig:
    """The settings of a run, read and written by `run[settings.MAX_ITER]`.

    This class is for YAML configs; its subclass LazyRun answers the same questions for LazyConfigs.

    Args:
        cfg: Detectron2's config, a CfgNode or a LazyConfig's DictConfig; changed in place.
        path: its file; "" where it comes from none.
        overrides: what has been merged over it, as the user typed it.
        stated: the keys that the user states, in a file of their own or as an override.
    """

    is_lazy = False

    def __init__(
        self,
        cfg: CfgNode | DictConfig,
        path: str = "",
        overrides: Sequence[str] = (),
        stated: Collection[str] = (),
    ) -> None:
        if isinstance(cfg, CfgNode):
            cfg.defrost()  # its settings follow device and data
        self.cfg = cfg
        self.path = path
        self.overrides = tuple(overrides)
        self.stated = frozenset(stated)
        self.notes: list[str] = []  # what `note` has said
        self.data: dict = {}  # Statistics.summary of the user's own data to train on
        self.custom: list[dict] = []  # what custom datasets were registered with

    def note(self, text: str) -> None:
        """Say what was changed for the user; the log of the run gets it too."""
        print(text)
        self.notes.append(text)

    @property
    def model(self) -> ModelNames:
        """The model that the config describes."""
        options = self.cfg.MODEL
        names = (options.META_ARCHITECTURE, options.ROI_HEADS.NAME)
        return ModelNames(*names, masks=options.MASK_ON, keypoints=options.KEYPOINT_ON)

    @property
    def semantic_branch(self) -> bool:
        """Whether its RoI heads, where they can have a semantic branch, have one."""
        return self.cfg.MODEL.HTC.SEMANTIC_ON

    @property
    def detections_setting(self) -> Setting:
        """The setting of the most objects that the detector finds in an image."""
        return settings.DETECTIONS_PER_IMAGE

    @property
    def detections_per_image(self) -> int:
        """The most objects that the detector finds in an image."""
        return self[self.detections_setting]

    def __getitem__(self, setting: Setting) -> object:
        return reduce(getitem, setting.yaml.split("."), self.cfg)

    def __setitem__(self, setting: Setting, value: object) -> None:
        *groups, name = setting.yaml.split(".")
        reduce(getitem, groups, self.cfg)[name] = value

    def has(self, setting: Setting) -> bool:
        """Whether this config has such a setting."""
        return True

    def states(self, setting: Setting) -> bool:
        """Whether the user has stated it, in a file of their own or as an override."""
        return setting.yaml in self.stated

    @property
    def typed(self) -> tuple[str, ...]:
        """The keys that the user has typed, as overrides."""
        return self.overrides[::2]

    def types(self, setting: Setting) -> bool:
        """Whether the user has typed it, as an override."""
        return setting.yaml in self.typed

    def name(self, setting: Setting) -> str:
        """What a user calls it in this kind of config: "MODEL.WEIGHTS", "train.init_checkpoint"."""
        return setting.yaml

    def words(self, setting: Setting, value: object) -> list[str]:
        """What sets it at the end of a command: ["MODEL.WEIGHTS", "x.pth"]."""
        return [setting.yaml, str(value)]

    def shown(self, setting: Setting, value: object = None) -> str:
        """Name and value as a user would state them; by default its own value."""
        return " ".join(self.words(setting, self[setting] if value is None else value))

    def text(self) -> str:
        """The whole config for `load.parse_run`. Raises: ValueError if an object has no text."""
        return self.cfg.dump()

    def copy(self) -> RunConfig:
        """Another one, whose settings can be changed without changing these."""
        made = object.__new__(type(self))
        made.__dict__ = copy.deepcopy(vars(self))
        return made
