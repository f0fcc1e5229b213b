"""What may be sampled, by task. Neither torch nor Ray is needed to know it."""

from types import ModuleType

from search_spaces import cls, multi, recipes, seg
from search_spaces.recipes import Config, Parameters

SPACES: dict[str, ModuleType] = {"seg": seg, "cls": cls, "multi": multi}

__all__ = ["SPACES", "Config", "Parameters", "cls", "multi", "recipes", "seg"]
