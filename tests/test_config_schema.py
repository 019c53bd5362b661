"""What is checked of a config's keys, its settings of a few words, and the arguments of components."""

import time

import pytest

from base import LOSSES, MODELS
from config.load import check_config, read_config
from config.problems import ConfigError, dotted
from config.reference import NAME, SECTIONS
from config.units import Duration, Every, Monitor
from script import load_registries


def told(*overrides, registries=load_registries):
    """What is told of a good config with these overrides laid over it."""
    try:
        check_config(read_config(["config/digits.yaml"], overrides), registries)
    except ConfigError as error:
        return str(error).splitlines()
    return []


def test_a_key_that_is_wrong_in_itself_leaves_the_others_judged():
    keys = {
        (*path, key) for path, section in SECTIONS.items() if not {0, NAME} & {*path} for key in section.model_fields
    }
    assert len(keys) > 60
    for key in keys:
        lines = "\n".join(told("trainer.monitor=off", "trainer.early_stop=3", f"{dotted(key)}=[[]]", registries=None))
        assert f": {dotted(key)}" in lines
        judged = key not in {("trainer",), ("trainer", "monitor"), ("trainer", "early_stop")}
        assert ("nothing is monitored" in lines) == judged, key


def test_a_new_component_is_checked_against_its_own_signature():
    @MODELS.register
    class TwoLayers:
        """Registered for this test only."""

        def __init__(self, width: int, activation: str = "relu"):
            self.width = width

    @MODELS.register
    class TakesMore:
        def __init__(self, width: int, **more):
            self.width = width

    @LOSSES.register
    def scaled_loss(input, target, scale: float):
        return scale

    try:
        assert told("model={type: TwoLayers, args: {width: 3}}") == []
        assert told("loss={type: scaled_loss, args: {scale: 2}}") == []
        (line,) = told("model={type: TwoLayers, args: {width: 3, activaton: x}}")
        assert line.endswith("unknown argument of TwoLayers; it takes: width, activation; did you mean 'activation'?")
        assert told("model={type: TakesMore, args: {width: 3, activaton: x}}") == []
        (line,) = told("loss=scaled_loss")
        assert line == "loss=scaled_loss: loss.args.scale: missing; scaled_loss needs it: expected a number"
    finally:
        del MODELS._own["TwoLayers"], MODELS._own["TakesMore"], LOSSES._own["scaled_loss"]


def test_thousands_of_unknown_components_are_refused_soon():
    told("metrics=[acuracy]")  # loads the libraries
    start = time.process_time()
    assert told(f"metrics=[{', '.join(f'acuracy{number}' for number in range(3_000))}]")[-1] == "... and 1 more"
    assert time.process_time() - start < 3


@pytest.mark.parametrize(
    ("text", "value", "written"),
    [
        ("1 epoch", Every(1, "epoch"), "1 epoch"), ("1 epochs", Every(1, "epoch"), "1 epoch"),
        ("500 steps", Every(500, "step"), "500 steps"), ("10  minutes", Every(10, "minute"), "10 minutes"),
        ("90 seconds", Duration(90, "second"), "90 seconds"), ("1 minute", Duration(1, "minute"), "1 minute"),
        ("1.5 hours", Duration(1.5, "hour"), "1.5 hours"), ("2 days", Duration(2, "day"), "2 days"),
        ("max val_accuracy", Monitor("max", "val_accuracy"), "max val_accuracy"),
        ("min loss", Monitor("min", "loss"), "min loss"),
    ],
)  # fmt: skip
def test_settings_of_a_few_words(text, value, written):
    assert type(value).parse(text) == value
    assert str(value) == written


def test_seconds_of_a_duration():
    texts = ("90 seconds", "1 minute", "1.5 hours", "2 days")
    assert [Duration.parse(text).seconds for text in texts] == [90, 60, 5400, 172_800]


@pytest.mark.parametrize(
    "text", ["", "1", "epoch", "-1 epochs", "0 steps", "1 parsec", "1epoch", "٣ steps", 3, None, "9" * 40 + " steps"]
)
def test_what_no_count_and_unit_is(text):
    for words in (Every, Duration):
        with pytest.raises(ValueError):
            words.parse(text)
