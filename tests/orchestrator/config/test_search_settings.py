"""Settings: one field is a flag, a YAML line and a Python argument; errors are one line that says what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator import SearchSettings
from orchestrator.common.errors import UserError
from orchestrator.config.cli import make_settings, parse_fields


def parse(*argv: str) -> SearchSettings:
    return make_settings(SearchSettings, parse_fields(SearchSettings, argv, "search", ""))


def test_defaults_depend_on_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    phantom, real = parse(), parse("--data", "busi")
    assert phantom.time_budget
    assert real.time_budget is None
    assert phantom.trials < real.trials
    assert phantom.tracking_uri == f"sqlite:///{tmp_path}/mlflow.db"
    assert real.data == (tmp_path / "busi",)
    assert real.storage == tmp_path / "runs"
    assert real.name.startswith("seg-20")


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("25m", 1500), ("2h", 7200), ("1.5h", 5400), ("45", 45)])
def test_durations(text: str, seconds: float) -> None:
    assert parse("--time-budget", text).time_budget == seconds


def test_flags_win_over_the_file_and_the_file_over_defaults(tmp_path: Path) -> None:
    file = tmp_path / "my settings.yaml"
    file.write_text("trials: 7\nepochs: 9\narch: [fpn, unet]\ntime-budget: 2h\nkeep_aspect: true\n")
    settings = parse("--config", str(file), "--epochs", "3")
    assert (settings.trials, settings.epochs, settings.arch) == (7, 3, ("fpn", "unet"))
    assert settings.time_budget == 7200
    assert settings.keep_aspect
    assert not parse("--config", str(file), "--no-keep-aspect").keep_aspect


def test_every_field_is_a_flag_and_every_option_of_the_issue_is_there() -> None:
    asked = (
        "task data layout masks arch trials trials_per_arch epochs image_size batch_size max_concurrent cpus_per_trial "
        "gpus_per_trial time_budget seed name storage tracking_uri experiment weights"
    )
    assert set(asked.split()) <= set(SearchSettings.model_fields)
    values = {
        "tracking_uri": "sqlite:///x.db",
        "image_size": "64",
        "weights": "none",
        "classes": "3",
        "task": "seg",
        "layout": "busi",
        "masks": "duplicate",
        "arch": "unet",
        "encoder": "resnet18",
        "gpus_per_trial": "0.5",
    }
    for name, field in SearchSettings.model_fields.items():
        flag = "--" + name.replace("_", "-")
        if name in ("resume", "plugin"):
            continue  # needs a search, see test_warm_start.py; or a file, see test_plugin_search.py
        if field.annotation is bool:
            assert getattr(parse(flag), name) is True
        else:
            value = values.get(name, "7")
            assert getattr(parse(flag, value), name) not in (None, (), "")


def test_a_second_gpu_of_a_trial_would_idle() -> None:
    with pytest.raises(UserError, match=r"gpus_per_trial: a trial trains on one GPU, others would idle; give 1"):
        parse("--gpus-per-trial", "2")
    assert parse("--gpus-per-trial", "1").gpus_per_trial == 1


def test_settings_survive_their_own_yaml(tmp_path: Path) -> None:
    import yaml

    settings = parse("--data", str(tmp_path), "--arch", "unet", "fpn", "--time-budget", "5m")
    file = tmp_path / "settings.yaml"
    file.write_text(yaml.safe_dump(settings.model_dump(mode="json")))
    assert parse("--config", str(file)) == settings


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--arch", "vgg"], "--arch: unknown architecture 'vgg': choose from unet, resunet"),
        (["--encoder", "vgg"], "choose from tf_efficientnet_lite0"),
        (["--layout", "dicom"], "choose from auto, bus-uclm"),
        (["--task", "sgm"], "'seg'"),
        (["--trials", "many"], "--trials: input should be a valid integer"),
        (["--epochs", "-1"], "--epochs: "),
        (["--time-budget", "soon"], "write 90s, 25m or 2h"),
        (["--name", "../x"], "letters, digits"),
        (["--image-size", "8"], "--image-size: input should be greater than or equal to 32"),
        (["--image-size", "0"], "greater than or equal to 32"),
        (["--epochs", "0"], "epochs: at least 1"),
        (["--trials", "0"], "--trials: input should be greater than or equal to 1"),
        (["--task", "seg", "--classes", "2"], "seg has no classes"),
        (["--recipes-only", "--arch", "unet"], "leave out arch"),
        (["--data", ""], "--data: given, but empty"),
        (["--learning-rate", "1"], "unrecognized arguments: --learning-rate"),
        (["--config", "missing.yaml"], "missing.yaml: No such file"),
    ],
)
def test_errors_are_one_line_that_lists_what_is_allowed(argv: list[str], expected: str) -> None:
    with pytest.raises(UserError) as error:
        parse(*argv)
    assert expected in str(error.value)
    assert "\n" not in str(error.value)


def test_unknown_line_in_the_file_lists_the_known(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("epoch: 3")
    with pytest.raises(
        UserError,
        match="--epoch: no such setting; choose from data, layout, patient, resize_masks, plugin, test_source",
    ):
        parse("--config", str(file))
    file.write_text("{ a")
    with pytest.raises(UserError, match="not valid YAML"):
        parse("--config", str(file))


def test_fields_beside_settings_are_refused_not_ignored() -> None:
    from orchestrator import run_search

    with pytest.raises(UserError, match="not both"):
        run_search(make_settings(SearchSettings, {}), epochs=7)
    with pytest.raises(UserError, match="3 is not a path"):
        run_search(data=3)


def test_a_folder_of_weights_that_is_not_there_is_told_at_once(tmp_path: Path) -> None:
    from orchestrator import run_search

    with pytest.raises(UserError, match=r"^--weights: .* is neither auto, imagenet, none nor a folder"):
        run_search(weights="no/such/folder", storage=tmp_path)


def test_settings_of_a_search_to_go_on_with_are_read_as_it_begins(tmp_path: Path) -> None:
    from orchestrator import run_search

    for given in ({"settings": SearchSettings(resume="x", storage=tmp_path)}, {"resume": "x", "storage": tmp_path}):
        with pytest.raises(UserError, match=r"--resume: no search 'x' in .* \(there is none\)"):
            run_search(**given)


def test_python_takes_the_same_fields() -> None:
    settings = make_settings(SearchSettings, {"data": "x", "arch": ["unet"], "time_budget": "5m"})
    assert settings.arch == ("unet",)
    assert settings.time_budget == 300


def test_several_datasets_by_one_flag_or_by_several(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    both = (tmp_path / "A", tmp_path / "B")
    assert parse("--data", "A", "B").data == both
    assert parse("--data", "A", "--data", "B").data == both
    (tmp_path / "own.yaml").write_text("data: [A, B]\nfolds: source\n")
    found = parse("--config", "own.yaml")
    assert (found.data, found.folds) == (both, "source")
    assert found.source == f"{tmp_path}/A + {tmp_path}/B"
    assert parse("--folds", "source", "--data", "A").folds == "source"
    (tmp_path / "own.yaml").write_text("data: A\n")
    assert parse("--config", "own.yaml").data == both[:1], "as searches of former versions keep it"


@pytest.mark.parametrize("value", ["1", "21", "sources"])
def test_folds_are_a_number_or_source(value: str) -> None:
    with pytest.raises(UserError, match="--folds: "):
        parse("--folds", value)
