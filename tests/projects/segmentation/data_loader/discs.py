from pathlib import Path

import numpy
import torch
from PIL import Image
from torch.utils.data import Dataset
from torchvision import tv_tensors

from base import DATASETS


@DATASETS.register
class Discs(Dataset):
    """root/SPLIT/*.png and, for each, the mask *.mask.png; uint8 (3, H, W), int64 (H, W)."""

    classes = ("ground", "disc")

    def __init__(self, split: str, root: str):
        masks = sorted(Path(root, split).glob("*.mask.png"))
        self.paths = [(mask.with_name(mask.name.replace(".mask", "")), mask) for mask in masks]
        self.names = [picture.name for picture, _ in self.paths]

    def __len__(self):
        return len(self.paths)

    def name_of(self, i):
        return str(self.paths[i][0])

    def __getitem__(self, i):
        picture, mask = (torch.from_numpy(numpy.array(Image.open(path))) for path in self.paths[i])
        return tv_tensors.Image(picture.permute(2, 0, 1)), tv_tensors.Mask(mask.long())
