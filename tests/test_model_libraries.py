"""Every registry holds what a config may name, and nothing that a config could not build."""

import pytest
import torch

import model  # noqa: F401  its components are registered by importing it
import train as train_script
from base import LOSSES, METRICS, MODELS, REGISTRIES, Registry, discovery, import_modules
from base.signature import parameters_of
from utils.errors import UserError


@pytest.mark.parametrize("kind", REGISTRIES)
def test_every_name_resolves_and_its_signature_is_readable(kind):
    registry = REGISTRIES[kind]
    for name in registry.names():
        component = registry.find(name)
        assert callable(component) and name.isidentifier()
        parameters_of(component)
    for path in ("torch.optim.SGD", "os.system", "..SGD"):
        with pytest.raises(KeyError):
            registry.find(path)


def test_names_that_people_expect_are_there_and_what_no_config_could_build_is_left_out():
    """Losses, optimizers and schedulers are tried one by one in files of their own."""
    expected = {
        "dataset": ["MNIST", "CIFAR10", "ImageFolder", "FakeData"],
        "transform": ["RandomCrop", "RandomHorizontalFlip", "Normalize", "Resize", "ToDtype", "RandAugment"],
        "batch_transform": ["RandomCrop", "RandomHorizontalFlip", "Normalize", "ColorJitter", "RandomErasing"],
        "model": ["resnet18", "resnet50", "vit_b_16", "LeNet", "MLP", "LinearRegression", "SmallResNet", "MnistModel"],
        "metric": ["accuracy", "MulticlassF1Score", "BinaryAUROC", "R2Score", "F1Score", "MeanSquaredError", "MeanIoU"],
    }  # fmt: skip
    left_out = {
        "dataset": ["VisionDataset", "DatasetFolder"],
        "transform": ["Compose", "Lambda", "Transform", "MixUp"],
        "batch_transform": ["AugmentationSequential", "RandomMixUpV2", "RandomCutMixV2", "RandomMosaic",
                            "AugmentationBase2D", "RandomDissolving"],
        "model": ["fcn_resnet50", "get_model"],
        "metric": ["Metric", "ROC", "BootStrapper", "BLEUScore", "MetricCollection"],
    }  # fmt: skip
    for kind in expected:
        names = {*REGISTRIES[kind].names()}
        assert {*expected[kind]} <= names and not {*left_out[kind]} & names


def test_no_config_need_give_what_the_program_passes_to_a_loss():
    for name in LOSSES.names():
        parameters = parameters_of(LOSSES.find(name)).by_name
        assert {key for key, parameter in parameters.items() if parameter.required} <= LOSSES.provided


def test_batch_transforms_keep_a_batch_a_batch():
    """Those that need no arguments are tried on eight pictures or volumes."""
    registry = REGISTRIES["batch_transform"]
    pictures, volumes = torch.rand(8, 3, 32, 32), torch.rand(8, 1, 8, 8, 8)
    for name in registry.names():
        if any(parameter.required for parameter in parameters_of(registry.find(name)).by_name.values()):
            continue
        targets = [torch.arange(8)] if getattr(registry.find(name), "mixes_samples", False) else []
        built = registry.build(name, {"num_classes": 8} if targets else {})
        batch = built(volumes if name.endswith("3D") else pictures, *targets)
        batch = batch[0] if targets else batch
        views = 2 if getattr(built, "makes_views", False) else 1
        assert len(batch) == 8 * views and batch.is_floating_point(), name


def test_metrics_with_plain_arguments_build():
    given = {"num_classes": 3, "num_labels": 3, "beta": 1.0, "task": "multiclass", "data_range": 1.0, "threshold": 0.5,
             "things": [0], "stuffs": [1], "p": 2.0, "min_recall": 0.5, "min_precision": 0.5, "min_specificity": 0.5,
             "min_sensitivity": 0.5}  # fmt: skip
    for name in METRICS.names():
        if not METRICS.is_own(name):
            parameters = parameters_of(METRICS.find(name)).by_name
            wanted = {key for key, parameter in parameters.items() if parameter.required}
            if "num_classes" in parameters and not name.startswith(("Binary", "Multilabel")):
                wanted.add("num_classes")
            METRICS.build(name, {key: given[key] for key in wanted})


def test_an_own_component_that_is_not_registered_is_found(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    room = tmp_path / "own_room"
    for file, name in (("mine.py", "Mine"), ("net.2.py", "Second"), ("deeper/other.py", "Other")):
        (room / file).parent.mkdir(parents=True, exist_ok=True)
        (room / file).write_text(f"class {name}: ...\n")
    import_modules("own_room", [str(room)])
    for name, told in (
        ("Mine", "it is defined in own_room/mine.py, but lacks @MODELS.register"),
        ("Second", "own_room/net.2.py, but is never imported: give it a name without a dot"),
        ("Other", "own_room/deeper/other.py, but is never imported: import it in own_room/deeper/__init__.py"),
    ):
        ((where, message),) = MODELS.problems({"type": name})
        assert where == ("type",) and told in message
    (room / "deeper" / "__init__.py").write_text("from own_room.deeper import other")
    (room / "deeper.py").write_text("class Another: ...\n")
    with pytest.raises(UserError, match=r"own_room/deeper\.py is never imported, as .* own_room/deeper/ .*: rename"):
        import_modules("own_room", [str(room)])


def test_a_file_that_cannot_be_imported_hurts_only_those_who_name_what_is_in_it(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(tmp_path)
    register = "from base import MODELS\n@MODELS.register"
    for file, text in {
        "fine.py": f"{register}\ndef Fine(): ...\n",
        "bert.py": f"{register}\ndef Bert(): ...\n{register}(name='resnet18')\ndef net(): ...\nimport no_such\n",
        "gpt/__init__.py": "from broken_room.gpt import inner\n",
        "gpt/inner.py": f"{register}\ndef Inner(): ...\n1 / 0\n",
    }.items():
        (tmp_path / "broken_room" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "broken_room" / file).write_text(text)
    monkeypatch.setattr(MODELS, "_own", MODELS._own.new_child())
    monkeypatch.setattr(MODELS, "users", MODELS._own.maps[0])
    monkeypatch.setattr(discovery, "_ROOMS", dict(discovery._ROOMS))
    try:
        import_modules("broken_room", [str(tmp_path / "broken_room")])
        assert MODELS.is_own("Fine") and not list(MODELS.problems({"type": "Fine"}))
        assert not list(MODELS.problems({"type": "resnet34"}))
        for name, file, line, error in (
            ("Bert", "bert.py", 7, "ModuleNotFoundError: No module named 'no_such'"),
            ("resnet18", "bert.py", 7, "ModuleNotFoundError: No module named 'no_such'"),  # not torchvision's
        ):
            ((where, told),) = MODELS.problems({"type": name})
            assert where == ("type",) and f"it is defined in broken_room/{file}, which cannot be imported:\n" in told
            assert f'{file}", line {line}' in told and told.endswith(error) and "importlib" not in told
        ((_, told),) = MODELS.problems({"type": "Inner"})
        assert "in broken_room/gpt/inner.py, but broken_room/gpt/__init__.py cannot be imported:\n" in told
        assert train_script.main(["--list", "model"]) == 0
        listed = capsys.readouterr().out
        assert "broken_room/bert.py cannot be imported:" in listed and "ZeroDivisionError" in listed
    finally:
        discovery.BROKEN.clear()


def test_what_an_own_constructor_refuses_is_told_and_its_faults_keep_their_traceback():
    registry = Registry("model")

    @registry.register
    class Net(torch.nn.Module):
        def __init__(self, channels: list[int], size: int = 1):
            super().__init__()
            width, height = channels
            self.layer = torch.nn.Linear(width * height, size)
            self.forgotten = {}[size] if size == 3 else None

    refused = {"not enough values": {"channels": [8]}, ".*negative dimension": {"channels": [8, 8], "size": -2}}
    for told, args in refused.items():
        with pytest.raises(UserError, match=f"model Net: {told}") as caught:
            registry.build("Net", args)
        assert "test_model_libraries.py:" in str(caught.value) and str(args) in str(caught.value)
    with pytest.raises(KeyError):
        registry.build("Net", {"channels": [8, 8], "size": 3})
