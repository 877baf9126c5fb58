"""Draws the layouts that the demo and the tests mix into.

    python -m world.layouts layouts

They are of another seed than the pictures of the training.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from .draw import draw
from .materials import hsv

# name: (seed, hue, saturation and value of the background)
LAYOUTS = {
    'heart': (1, 0.6, 0.18, 0.92), 'star': (1, 0.36, 0.15, 0.9), 'mug': (2, 0.08, 0.2, 0.95),
    'moon': (2, 0.62, 0.35, 0.75), 'fish': (5, 0.3, 0.14, 0.93), 'house': (6, 0.97, 0.14, 0.95),
    'leaf': (2, 0.12, 0.2, 0.97), 'cactus': (3, 0.1, 0.25, 0.9), 'tiger': (3, 0.52, 0.2, 0.92),
    'panda': (2, 0.45, 0.25, 0.8), 'watermelon': (1, 0.58, 0.15, 0.95),
}  # fmt: skip


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(exist_ok=True)
    for number, (name, (seed, *background)) in enumerate(LAYOUTS.items()):
        rng = np.random.default_rng((20261123, number, seed))
        drawn = draw(rng, name, 'concept', background=hsv(*background))
        Image.fromarray(drawn.picture).save(folder / f'{name}.png', optimize=True)


if __name__ == '__main__':
    main()
