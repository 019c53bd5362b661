"""timm's models stand behind torchvision's, where it is installed: named, checked, trained like the rest."""

import pytest

from base import MODELS
from base.signature import parameters_of
from tests.make_data import write_pictures
from tests.running import evaluate, resume, state_of, train

pytest.importorskip("timm")
CONFIG = """\
name: pictures
device: cpu
dataset: {{type: ImageFolder, args: {{root: {root}, size: 32}}}}
data_loader: {{batch_size: 8, num_workers: 0, validation_split: 0.2}}
model: {{type: test_resnet, args: {{drop_path_rate: 0.1}}}}
loss: CrossEntropyLoss
metrics: [accuracy]
optimizer: {{type: AdamW, args: {{lr: 1e-2}}}}
trainer: {{max_steps: 4, tensorboard: false}}
"""


@pytest.fixture
def pictures(tmp_path):
    write_pictures(tmp_path / "pictures/train", num_each=10)
    write_pictures(tmp_path / "pictures/test", num_each=4)
    return tmp_path


def test_torchvisions_go_before_timms():
    assert MODELS.find("resnet18").__module__ == "torchvision.models.resnet"
    assert MODELS.find("vit_tiny_patch16_224").__module__ == "timm.models.vision_transformer"
    assert {"resnet18", "test_resnet", "convnext_atto"} <= set(MODELS.names())


def test_arguments_are_those_of_the_class():
    parameters = parameters_of(MODELS.find("vit_tiny_patch16_224"))
    assert {"weights", "in_channels", "num_classes", "img_size", "depth"} <= parameters.by_name.keys()
    assert not parameters.is_open


def test_a_model_of_timm_trains_goes_on_and_is_evaluated(pictures):
    config = CONFIG.format(root=pictures / "pictures")
    run = train(pictures, config=config)
    state = state_of(run)
    assert state["model"]["fc.weight"].shape[0] == state["data"]["facts"]["num_classes"] == 3
    resume(run, "trainer.max_steps=6")
    assert evaluate(run)["num_samples"] == 12


def test_what_does_not_fit_is_told(pictures, capsys):
    config = CONFIG.format(root=pictures / "pictures")
    train(pictures, "model.args.drop_path_rat=0.1", config=config, code=2)
    assert "unknown argument of test_resnet" in (told := capsys.readouterr().err) and "drop_path_rate" in told
    train(pictures, "model.args.weights=IMAGENET", config=config, code=2)
    assert "expected 'DEFAULT' or null" in capsys.readouterr().err
