"""Trains the judge: a small classifier that names the concept in a picture of the world.

    python -m eval.classifier --pictures pictures.npz --out eval/classifier.safetensors

It sees 64 x 64 pixels. Blur, noise and shifts of colour in training keep it from leaning on the
sharpness that drawn pictures have and decoded ones lack. `metrics.ts` runs it in the tests.
"""

import argparse

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from world.concepts import CONCEPTS

CLASSES = [*CONCEPTS, 'plain']


class Classifier(nn.Module):
    def __init__(self, widths=(24, 48, 96, 128)):
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv2d(before, after, 3, stride=2, padding=1)
            for before, after in zip((3, *widths), widths)
        )
        self.named = nn.Linear(widths[-1], len(CLASSES))

    def forward(self, x):
        for conv in self.convs:
            x = F.relu(conv(x))
        return self.named(x.mean((2, 3)))


def halved(pictures):
    """Means of 2 x 2 pixels, in [-1, 1]."""
    return F.avg_pool2d(pictures.permute(0, 3, 1, 2).float() / 127.5 - 1, 2)


def worn(x, random):
    """Pictures as a decoder might have made them."""
    n = len(x)
    uniform = lambda *shape: torch.rand(*shape, generator=random)
    blurred = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode='replicate'), 3, 1)
    x = torch.lerp(x, blurred, uniform(n, 1, 1, 1))
    x = x * (0.75 + 0.5 * uniform(n, 1, 1, 1)) + 0.3 * (uniform(n, 3, 1, 1) - 0.5)
    x = x + 0.15 * uniform(n, 1, 1, 1) * torch.randn(x.shape, generator=random)
    coarse = torch.randn(n, 3, 8, 8, generator=random) * 0.12
    x = x + F.interpolate(coarse, size=64, mode='bilinear')
    return torch.where(uniform(n, 1, 1, 1) < 0.5, x, x.flip(3)).clamp(-1.2, 1.2)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--pictures', required=True)
    parser.add_argument('--out', required=True)
    parser.add_argument('--steps', type=int, default=6000)
    parser.add_argument('--threads', type=int, default=1)
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    random = torch.Generator().manual_seed(1)
    data = np.load(options.pictures)
    x = torch.cat([halved(part).half() for part in torch.from_numpy(data['pictures']).split(1000)])
    labels = torch.from_numpy(data['labels'])
    held = 2000
    judge = Classifier()
    optimizer = torch.optim.AdamW(judge.parameters(), 2e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, options.steps)
    for step in range(options.steps):
        which = torch.randint(held, len(x), (64,), generator=random)
        loss = F.cross_entropy(
            judge(worn(x[which].float(), random)), labels[which], label_smoothing=0.05
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if (step + 1) % 500 == 0:
            with torch.no_grad():
                right = judge(x[:held].float()).argmax(1) == labels[:held]
                tired = judge(worn(x[:held].float(), random)).argmax(1) == labels[:held]
            print(f'{step + 1}: loss {loss:.3f}, right {right.float().mean():.4f}, '
                  f'worn {tired.float().mean():.4f}', flush=True)  # fmt: skip
    for label, name in enumerate(CLASSES):
        print(f'{name}: {right[labels[:held] == label].float().mean():.3f}')
    save_file({k: v.half() for k, v in judge.state_dict().items()}, options.out)


if __name__ == '__main__':
    main()
