"""Plugins: what they register, where they fail, and that a failed one leaves nothing behind."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
import torch

from search_spaces import SPACES, cls, multi, seg
from tests.support.plugins import forgotten, registered
from trainables import plugins
from trainables.data.layouts import names
from trainables.losses.cls import build_loss
from trainables.models import build_model
from trainables.plugins import PluginError
from trainables.policies import POLICIES
from trainables.tasks import make_task

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "my_models.py"
HEAD = "from search_spaces import cls, seg\nfrom trainables.plugins import *\n"


@pytest.fixture(autouse=True)
def _only_here() -> Iterator[None]:
    with forgotten():
        yield


def write(folder: Path, text: str, name: str = "own.py") -> Path:
    (folder / name).write_text(HEAD + text)
    return folder / name


def test_the_example_registers_one_of_each_and_runs_once() -> None:
    for _ in range(2):
        plugins.load(EXAMPLE)
    assert "dilated_net" in seg.ARCHITECTURES
    assert "dilated_net" not in multi.ARCHITECTURES, "it has no encoder for a class head"
    assert "log_cosh_dice" in seg.LOSSES
    assert "log_cosh_dice" in SPACES["multi"].LOSSES
    assert "speckle" in POLICIES
    assert cls.AUGMENTATIONS[-1] == seg.AUGMENTATIONS[-1] == "speckle"
    assert "scans" in names()
    model = build_model("seg", {"architecture": "dilated_net", "encoder": "", "dropout": 0.1}, 3)
    assert model.eval()(torch.zeros(2, 1, 40, 50)).shape == (2, 1, 40, 50)


def test_an_encoder_makes_it_a_network_of_multi_task_learning_too(tmp_path: Path) -> None:
    plugins.load(
        write(
            tmp_path,
            "import segmentation_models_pytorch as smp\nclass Own(smp.Unet): pass\n"
            "register_architecture(seg.Architecture('own', Own, {'resnet18': .05}))",
        )
    )
    config = {"architecture": "own", "encoder": "resnet18", "dropout": 0.0, "refine": False}
    masks, classes = build_model("multi", config, 3).eval()(torch.zeros(1, 1, 64, 64))
    assert (masks.shape, classes.shape) == ((1, 1, 64, 64), (1, 3))
    assert plugins.needed(iter([("multi", "own"), ("seg", "unet")])) == plugins.digests()
    assert plugins.needed([("seg", "unet"), ("cls", "own")]) == {}


def test_a_backbone_of_ones_own_is_registered_with_timm(tmp_path: Path) -> None:
    text = (
        "from timm.models import ResNet, build_model_with_cfg, generate_default_cfgs, register_model\n"
        "from timm.models.resnet import BasicBlock\n"
        "default_cfgs = generate_default_cfgs({'thin_resnet': {}})\n"
        "@register_model\ndef thin_resnet(pretrained=False, **options):\n"
        "    shape = dict(block=BasicBlock, layers=(1, 1, 1, 1), channels=(8, 16, 32, 64))\n"
        "    return build_model_with_cfg(ResNet, 'thin_resnet', pretrained, **shape, **options)\n"
        "register_architecture(cls.Architecture('thin', {'thin_resnet': .01}))\n"
    )
    plugins.load(write(tmp_path, text))
    config = {**cls.HOUSE, "architecture": "thin", "encoder": "thin_resnet", "head": "se"}
    assert build_model("cls", config, 2).eval()(torch.zeros(1, 1, 64, 64)).shape == (1, 2)


def test_a_loss_of_classes_is_weighed_and_skips_the_unknown_as_others(tmp_path: Path) -> None:
    plugins.load(write(tmp_path, "register_loss('cls', 'ones', lambda logits, targets: 0 * logits.sum(1) + 1)"))
    config = {**cls.HOUSE, "loss": "ones"}
    loss = build_loss(config, np.array([0, 1, 2]), 3)
    assert loss(torch.zeros(3, 3), torch.tensor([0, 1, -1])) == 1
    assert "ones" in multi.CLASS_LOSSES
    assert make_task("multi").loss({**multi.HOUSE, "class_loss": "ones"}, np.array([0, 1, 2]))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1\n1 / 0", r"own.py, line 4: ZeroDivisionError: division by zero"),
        ("def f():\n    int('a')\nf()", r"own.py, line 4: ValueError: invalid literal"),
        ("def f(:", r"own.py, line 3: SyntaxError: invalid syntax"),
        ("import no_such_module", r"own.py, line 3: ModuleNotFoundError: No module named 'no_such_module'"),
        ("raise SystemExit", r"own.py, line 3: SystemExit: no words"),
        (
            "register_architecture(seg.Architecture('unet', 'UNet', {'': 1}))",
            "line 3: architecture 'unet' is there .* unet, resunet, ",
        ),
        ("register_architecture(cls.Architecture('resnet18', {'': 1}))", "line 3: architecture 'resnet18' is there"),
        ("register_loss('seg', 'dice', min)", "line 3: loss 'dice' is there already, .* bce, focal, dice, "),
        ("register_loss('cls', 'ce', min)", "line 3: loss 'ce' is there already, .* than ce, focal"),
        ("register_loss('multi', 'own', min)", "line 3: loss 'own' of task 'multi': give seg"),
        ("register_augmentation('light', Policy())", "line 3: augmentation 'light' is there already, .* none, light"),
        ("register_layout('busi', LAYOUTS['busi'])", "line 3: layout 'busi' is there already, .* busi, "),
        ("register_layout('own', Layout('', ('{nme}',)))", "line 3: ValueError: "),
    ],
)
def test_a_plugin_that_fails_is_a_line_and_leaves_nothing(text: str, words: str, tmp_path: Path) -> None:
    before = registered()
    first = "register_augmentation('mine', Policy()); "
    file = write(tmp_path, text if "\n" in text or text.startswith(("def", "import")) else first + text)
    with pytest.raises(PluginError, match=words) as found:
        plugins.load(file)
    assert "\n" not in str(found.value)
    assert str(found.value).startswith(f"--plugin {tmp_path}")
    assert registered() == before


def test_a_file_that_is_not_there_is_said_unless_its_plugin_ran(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match=r"none.py: No such file"):
        plugins.load(tmp_path / "none.py")
    (tmp_path / "there").mkdir()
    plugins.load(write(tmp_path / "there", "", "none.py"))
    plugins.load(tmp_path / "none.py")


def test_another_source_of_the_name_is_refused_in_the_same_process(tmp_path: Path) -> None:
    plugins.load(write(tmp_path, ""))
    plugins.load(write(tmp_path, ""))
    with pytest.raises(PluginError, match=r"another own, .*own.py, runs in this process; start a new one"):
        plugins.load(write(tmp_path, "x = 1"))


def test_another_process_gets_the_source(tmp_path: Path) -> None:
    file = write(tmp_path, "register_augmentation('mine', Policy())")
    plugins.load(file)
    sent = plugins.loaded()
    file.unlink()
    plugins._loaded.clear()
    POLICIES.pop("mine")
    plugins.install(sent)
    assert "mine" in POLICIES
    assert plugins.loaded() == sent


def test_what_a_model_needs_is_named(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match=r"it needs the plugin own: give --plugin own.py, or install its package"):
        plugins.require({"own": "0" * 64})
    plugins.load(write(tmp_path, ""))
    plugins.require(plugins.digests())
    with pytest.raises(PluginError, match=r"own of SHA-256 000000000000, and .*own.py is .*: give the file as it was"):
        plugins.require({"own": "0" * 64})


def test_a_package_is_found_by_its_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    text = "def register():\n    register_augmentation('of_package', Policy())\n"
    write(tmp_path, text, "package_with_plugin.py")
    point = EntryPoint("theirs", "package_with_plugin:register", plugins.GROUP)
    monkeypatch.setattr(plugins, "_points", lambda: [point])
    for _ in range(2):
        plugins.load()
    assert "of_package" in POLICIES
    (found,) = plugins.loaded()
    assert (found.name, found.source) == ("theirs", "")
    plugins._loaded.clear()
    monkeypatch.setattr(plugins, "_points", lambda: [])
    with pytest.raises(PluginError, match="it needs the plugin theirs"):
        plugins.install([found])


def test_nothing_is_registered_outside_of_a_plugin() -> None:
    with pytest.raises(PluginError, match="'own': register it in a plugin"):
        plugins.register_architecture(seg.Architecture("own", "UNet", {"": 1.0}))
