"""The run of a YAML config."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from detectron2.config import CfgNode

from hrnet_det.config.run_config import ModelNames, RunConfig
from hrnet_det.config.settings import Setting


class YamlRun(RunConfig):
    """The run of a YAML config, which is Detectron2's CfgNode.

    Args:
        stated: the keys that the user states.
        others: as RunConfig's.
    """

    cfg: CfgNode

    def __init__(
        self,
        cfg: CfgNode,
        path: str = "",
        overrides: Sequence[str] = (),
        stated: Collection[str] = (),
    ) -> None:
        cfg.defrost()  # its settings follow device and data
        super().__init__(cfg, path, overrides)
        self.stated = frozenset(stated)

    @property
    def model(self) -> ModelNames:
        options = self.cfg.MODEL
        names = (options.META_ARCHITECTURE, options.ROI_HEADS.NAME)
        return ModelNames(*names, masks=options.MASK_ON, keypoints=options.KEYPOINT_ON)

    @property
    def semantic_branch(self) -> bool:
        return self.cfg.MODEL.HTC.SEMANTIC_ON

    def __getitem__(self, setting: Setting) -> object:
        node: object = self.cfg
        for name in setting.yaml.split("."):
            node = node[name]
        return node

    def __setitem__(self, setting: Setting, value: object) -> None:
        *groups, name = setting.yaml.split(".")
        node = self.cfg
        for group in groups:
            node = node[group]
        node[name] = value

    def has(self, setting: Setting) -> bool:
        return True

    def states(self, setting: Setting) -> bool:
        return setting.yaml in self.stated

    def name(self, setting: Setting) -> str:
        return setting.yaml

    def words(self, setting: Setting, value: object) -> list[str]:
        return [setting.yaml, str(value)]

    def text(self) -> str:
        return self.cfg.dump()
