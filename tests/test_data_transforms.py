"""Transforms of a batch: the project's own and kornia's."""

import numpy
import pytest
import torch

from config.schema import BatchTransformConfig, BatchTransformsConfig, ComponentConfig
from data_loader.batch_transforms import Normalize, RandomCrop, RandomHorizontalFlip
from data_loader.build import build_batch_transforms, build_transforms
from data_loader.samples import transformed
from utils.errors import UserError


def pictures(num=64, height=6, width=5):
    """(N, 2, H, W) in which every pixel of a picture is another number."""
    return torch.arange(num * 2 * height * width, dtype=torch.float32).view(num, 2, height, width)


def test_normalize():
    inputs = torch.rand(4, 3, 5, 5)
    expected = (inputs - torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)) / torch.tensor([1.0, 2, 4]).view(3, 1, 1)
    torch.testing.assert_close(Normalize([0.1, 0.2, 0.3], [1, 2, 4])(inputs), expected)
    assert Normalize([0.5], [0.5])(torch.full((2, 7), 1.0)).tolist() == [[1.0] * 7] * 2
    assert not Normalize([0.5], [0.5]).state_dict()
    with pytest.raises(UserError, match="the same length and std > 0"):
        Normalize([0.5, 0.5], [0.5])
    with pytest.raises(UserError, match="std > 0"):
        Normalize([0.5], [0.0])


def test_random_horizontal_flip():
    inputs = pictures()
    outputs = RandomHorizontalFlip(p=0.5)(inputs)
    is_same = (outputs == inputs).flatten(1).all(1)
    is_mirrored = (outputs == inputs.flip(3)).flatten(1).all(1)
    assert (is_same ^ is_mirrored).all()
    assert 10 < is_mirrored.sum() < 54
    assert torch.equal(RandomHorizontalFlip(p=1)(inputs), inputs.flip(3))
    assert torch.equal(RandomHorizontalFlip(p=0)(inputs), inputs)


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate"])
def test_random_crop_cuts_a_piece_out_of_each_padded_picture(mode):
    inputs = pictures()
    outputs = RandomCrop([6, 5], padding=2, padding_mode=mode)(inputs)
    assert outputs.shape == inputs.shape
    assert outputs.is_contiguous()
    padded = torch.nn.functional.pad(inputs, (2, 2, 2, 2), mode=mode)
    pieces = padded.unfold(2, 6, 1).unfold(3, 5, 1)  # (64, 2, 10, 9) -> (64, 2, 5, 5, 6, 5): one for each place
    is_there = (pieces == outputs[:, :, None, None]).all(-1).all(-1).all(1)
    assert (is_there.sum((1, 2)) == 1).all()
    assert is_there.any(0).sum() > 15  # places of 25
    assert RandomCrop(4)(inputs).shape == (64, 2, 4, 4)
    with pytest.raises(UserError, match="size 9x9 is larger than the padded pictures, 8x7"):
        RandomCrop(9, padding=1)(inputs)
    assert RandomCrop(9, padding=4, padding_mode="reflect")(inputs).shape == (64, 2, 9, 9)
    with pytest.raises(UserError, match="padding 5 is too much to reflect pictures of 6x5"):
        RandomCrop(4, padding=5, padding_mode="reflect")(inputs)


def test_randomness_follows_the_global_generator():
    kinds = {"RandomCrop": {"size": [6, 5], "padding": 1}, "RandomHorizontalFlip": {}, "RandomAffine": {"degrees": 10}}
    components = [BatchTransformConfig(type=name, args=args) for name, args in kinds.items()]
    transforms = build_batch_transforms(BatchTransformsConfig(train=components), "train", {})
    torch.manual_seed(0)
    first = transforms(pictures())
    torch.manual_seed(0)
    assert torch.equal(transforms(pictures()), first)
    assert not torch.equal(transforms(pictures()), first)
    assert build_batch_transforms(BatchTransformsConfig(), "eval", {})(first) is first and build_transforms([]) is None


def test_the_target_of_a_dict_is_not_transformed_where_it_comes_first():
    halve = build_transforms([ComponentConfig(type="Normalize", args={"mean": [0.0], "std": [2.0]})])
    sample = transformed({"target": torch.ones(1, 2, 2), "image": torch.ones(1, 2, 2)}, halve)
    assert sample["target"].unique().tolist() == [1.0] and sample["image"].unique().tolist() == [0.5]


def test_arrays_that_torchvision_would_leave_as_they_are_are_refused():
    halve = ComponentConfig(type="Normalize", args={"mean": [0.0], "std": [2.0]})
    picture = numpy.ones((4, 5, 1), numpy.float32)
    with pytest.raises(UserError, match="transform Normalize of torchvision passes over arrays of numpy"):
        build_transforms([halve])(picture)
    assert build_transforms([ComponentConfig(type="ToImage"), halve])(picture).shape == (1, 4, 5)
