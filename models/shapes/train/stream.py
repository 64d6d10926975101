"""Endless training batches, a pure function of (seed, first index): pictures, patch labels, packed questions."""

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset


import pixels
import world
from network import GRID

PATCH_CLASSES = [len(world.SHAPES) + 1, len(world.COLOURS) + 1, len(world.SIZES) + 1, 10, 37]


class Pictures(Dataset):
    """Batch number i: pictures i * size .. (i + 1) * size of the stream `seed`."""

    def __init__(self, seed: int, batch: int, batches: int, packer=None):
        self.seed, self.batch, self.batches, self.packer = seed, batch, batches, packer

    def __len__(self):
        return self.batches

    def __getitem__(self, i):
        rows = []
        for index in range(i * self.batch, (i + 1) * self.batch):
            scene = world.make_scene(self.seed, index)
            row = [pixels.to_square(world.draw(scene)), world.patch_labels(scene, GRID)]
            if self.packer:
                row += self.packer.pack(scene, self.seed, index)
            rows.append(row)
        return [torch.from_numpy(np.stack(column)) for column in zip(*rows)]


def batches(seed: int, batch: int, first: int, count: int, packer=None):
    """Batches `first` .. `count` of a stream, made in another process."""
    data = Pictures(seed, batch, count, packer)
    return DataLoader(data, batch_size=None, sampler=range(first, count), num_workers=1, prefetch_factor=8)


def normalise(images: torch.Tensor) -> torch.Tensor:
    """uint8 [pictures, side, side, 3] -> [-1, 1] float [pictures, 3, side, side]."""
    return images.permute(0, 3, 1, 2).float() / 127.5 - 1.0
