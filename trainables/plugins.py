"""Plugins: Python from outside the package that registers architectures, losses, augmentations and layouts of its own.

A plugin is a file, which travels as source text to whoever needs it, or a function of an installed package that its
entry points name in the group `breast_ultrasound.plugins`. It runs once in a process, and its registrations are undone
where it fails.
"""

from __future__ import annotations

import hashlib
import inspect
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from search_spaces import cls, multi, seg
from trainables.data.layouts import LAYOUTS, Layout
from trainables.data.patience import openable
from trainables.policies import POLICIES, Policy

if TYPE_CHECKING:
    from torch import Tensor

GROUP = "breast_ultrasound.plugins"


class PluginError(ValueError):
    """A plugin that cannot be used, or is not there; its message is one line for the user."""


@dataclass(frozen=True)
class Plugin:
    """What ran, or is to run: name, digest, where it lies, and its source; "" of a package, which each host has."""

    name: str
    sha256: str
    file: str
    source: str = ""


_loaded: dict[str, Plugin] = {}
#: (space, name) of an architecture -> the plugin that registered it.
_owners: dict[tuple[str, str], str] = {}
#: The plugin that runs, and how to undo what it registered.
_running: list[str] = []
_undo: list[Callable[[], object]] = []


def register_architecture(entry: seg.Architecture | cls.Architecture) -> None:
    """A network to search: of classification, or of segmentation, and with encoders of multi-task learning, too.

    Raises:
        PluginError: its name is taken.
    """
    space = seg if isinstance(entry, seg.Architecture) else cls
    _register("architecture", entry.name, space.ARCHITECTURES, entry)
    _put(_owners, (space.__name__, entry.name), _running[-1])
    if isinstance(entry, seg.Architecture) and entry.encoders:
        _put(multi.ARCHITECTURES, entry.name, entry)


def register_loss(task: str, name: str, function: Callable[[Tensor, Tensor], Tensor]) -> None:
    """A loss to search, of logits and targets.

    Args:
        task: "seg", for masks: logits [B,1,H,W] and targets of 0 and 1, as floats, -> scalar, the mean over images. Or
            "cls", for classes: logits [B,K] and int64 [B] -> [B], of each image. Multi-task learning has both.
        name: what a user types. function: of a network's output and the truth; it is finite whatever they are.

    Raises:
        PluginError: the name is taken, or another task is given.
    """
    if task == "seg":
        from trainables.losses import seg as mask_losses  # late: they need torch

        _register("loss", name, mask_losses.LOSSES, ("", name), seg.LOSSES)
        _put(mask_losses.PIXEL, name, function)
    elif task == "cls":
        from trainables.losses import cls as class_losses

        _register("loss", name, class_losses.LOSSES, lambda logits, targets, _: function(logits, targets), cls.LOSSES)
    else:
        raise PluginError(f"loss {name!r} of task {task!r}: give seg, of masks, or cls, of classes")


def register_augmentation(name: str, policy: Policy) -> None:
    """A policy to search. Raises PluginError where the name is taken."""
    _register("augmentation", name, POLICIES, policy, seg.AUGMENTATIONS, cls.AUGMENTATIONS)


def register_layout(name: str, layout: Layout) -> None:
    """A way that data sets lie on disk, for `--layout` and for what is found by itself.

    Raises:
        PluginError: the name is taken. ValueError: a pattern that is none.
    """
    from trainables.data.layout_file import check_patterns  # late: it needs numpy, and commands are read without

    check_patterns(layout)
    _register("layout", name, LAYOUTS, layout)


def load(*files: Path | str) -> None:
    """Run the plugins of installed packages, and of these files, each once in a process.

    A file that is not there is passed over where a plugin of its name ran already.

    Raises:
        PluginError: a file cannot be read, a plugin raises, or another of its name runs in this process.
    """
    for point in _points():
        if point.name not in _loaded:
            _run(Plugin(point.name, "", f"{GROUP}: {point.name}"), partial(_call, point))
    for file in (Path(one).expanduser().absolute() for one in files):
        if file.stem in _loaded and not file.exists():
            continue
        try:
            source = openable(file).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise PluginError(
                f"--plugin {file}: {getattr(error, 'strerror', None) or 'not UTF-8'}; give a file of Python"
            ) from None
        _run_source(Plugin(file.stem, _sha256(source), str(file), source))


def install(plugins: Iterable[Plugin]) -> None:
    """Have here what another process has loaded.

    Raises:
        PluginError: a plugin raises, or this host has not the package of one.
    """
    load()
    for one in plugins:
        if one.source:
            _run_source(one)
        else:
            require({one.name: one.sha256})


def loaded() -> tuple[Plugin, ...]:
    """What ran in this process, for `install` in another."""
    return tuple(_loaded.values())


def digests() -> dict[str, str]:
    """SHA-256 of the source of each plugin that ran in this process, by name."""
    return {one.name: one.sha256 for one in loaded()}


def needed(networks: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Of `digests`, those of plugins without which these networks (task, architecture) cannot be built."""
    owners = {_owners.get(((cls if task == "cls" else seg).__name__, name)) for task, name in networks}
    return {name: digest for name, digest in digests().items() if name in owners}


def require(needed: Mapping[str, str]) -> None:
    """See that plugins ran here, by name with their SHA-256.

    Raises:
        PluginError: one did not, or has changed since; the line names it.
    """
    for name, sha256 in needed.items():
        if name not in _loaded:
            raise PluginError(f"it needs the plugin {name}: give --plugin {name}.py, or install its package")
        if _loaded[name].sha256 != sha256:
            here = _loaded[name]
            raise PluginError(
                f"it needs the plugin {name} of SHA-256 {sha256[:12]}, and {here.file} is {here.sha256[:12]}: give the "
                "file as it was"
            )


@cache
def _points() -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=GROUP))  # which opens a file of every package


def _run_source(plugin: Plugin) -> None:
    known = _loaded.get(plugin.name)
    if known is None:
        _run(plugin, partial(_execute, plugin))
    elif known.sha256 != plugin.sha256:
        raise PluginError(
            f"--plugin {plugin.file}: another {plugin.name}, {known.file}, runs in this process; start a new one, or "
            "give the file another name"
        )


def _run(plugin: Plugin, run: Callable[[], Plugin]) -> None:
    _running.append(plugin.name)
    _undo.clear()
    try:
        _loaded[plugin.name] = run()
    except (Exception, SystemExit) as error:
        for undo in reversed(_undo):
            undo()
        line = _line(error, plugin.file)
        kind = "" if isinstance(error, PluginError) else f"{type(error).__name__}: "
        said = (str(error) or "no words").splitlines()[0]
        raise PluginError(f"--plugin {plugin.file}{line}: {kind}{said}") from None
    finally:
        _running.pop()


def _execute(plugin: Plugin) -> Plugin:
    module = ModuleType(f"plugin_{plugin.name}")
    module.__file__ = plugin.file
    sys.modules[module.__name__] = module  # where dataclasses and timm look
    exec(compile(plugin.source, plugin.file, "exec", dont_inherit=True), module.__dict__)
    return plugin


def _call(point: EntryPoint) -> Plugin:
    function = point.load()
    function()
    file = inspect.getsourcefile(function) or ""
    return Plugin(point.name, _sha256(Path(file).read_text(encoding="utf-8")), file)


def _line(error: BaseException, file: str) -> str:
    """Where a plugin failed: of its own lines the last; of a package's, of all."""
    if isinstance(error, SyntaxError) and error.filename == file:
        return f", line {error.lineno}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
    own = [frame for frame in frames if frame.filename == file]
    if own:
        return f", line {own[-1].lineno}"
    return f", {frames[-1].filename}, line {frames[-1].lineno}" if frames else ""


def _register(kind: str, name: str, registry: dict[str, Any], value: Any, *names: list[str]) -> None:
    """Put an entry into a registry, and its name among those that are sampled."""
    if not _running:
        raise PluginError(f"{kind} {name!r}: register it in a plugin, a file that --plugin or load_plugins runs")
    if name in registry:
        raise PluginError(f"{kind} {name!r} is there already, choose another name than {', '.join(registry)}")
    _put(registry, name, value)
    for known in names:
        known.append(name)
        _undo.append(partial(known.remove, name))


def _put(registry: dict[Any, Any], name: Any, value: Any) -> None:
    registry[name] = value
    _undo.append(partial(registry.pop, name))


def _sha256(source: str) -> str:
    return hashlib.sha256(source.encode()).hexdigest()
