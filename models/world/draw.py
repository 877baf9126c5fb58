"""Draws pictures of the world, deterministic by seed and number.

python -m world.draw --count 40000 --seed 1 --out pictures.npz     a data set
python -m world.draw --sheet sheet.png                             a look at it
"""

import argparse
import multiprocessing
from dataclasses import dataclass

import numpy as np
from PIL import Image

from . import SIZE, concepts, materials, shapes

COLOURS = {
    'red': (0.99, 0.8, 0.85), 'orange': (0.07, 0.85, 0.97), 'yellow': (0.15, 0.8, 0.98),
    'green': (0.34, 0.65, 0.6), 'teal': (0.49, 0.65, 0.6), 'blue': (0.6, 0.7, 0.82),
    'purple': (0.76, 0.55, 0.65), 'pink': (0.92, 0.45, 0.97), 'brown': (0.06, 0.6, 0.42),
    'black': (0, 0, 0.08), 'grey': (0, 0, 0.5), 'white': (0, 0, 0.97),
}  # fmt: skip

PLAIN = len(concepts.CONCEPTS)  # the label of plain silhouettes


@dataclass
class Drawn:
    picture: np.ndarray  # (128, 128, 3) bytes
    mask: np.ndarray  # (128, 128) bool, the silhouette
    caption: str
    label: int  # number of the concept, or PLAIN
    kind: str  # 'concept', 'neutral' or 'plain'


def draw(rng, concept=None, kind=None, background=None):
    """One picture. `kind`: 'concept', 'neutral' (its material on another shape) or 'plain'."""
    kind = kind or rng.choice(['concept', 'neutral', 'plain'], p=[0.58, 0.32, 0.1])
    concept = concept or rng.choice(concepts.CONCEPTS)
    if kind == 'plain':
        colour_name = rng.choice(list(COLOURS))
        shape_name = rng.choice(concepts.PLAIN_SHAPES + concepts.CONCEPTS[7:13])
        colour = materials.near(rng, *COLOURS[colour_name], dh=0.015, ds=0.05, dv=0.05)
        paint = lambda x, y, depth: materials.fill(x, colour)
        if shape_name in concepts.PLAIN_SHAPES:
            distance = shapes.NEUTRAL[concepts.NEUTRAL_OF_PLAIN[shape_name]][0](rng)
        else:
            distance = concepts.silhouette(shape_name, rng)
        thing, label = f'{colour_name} {shape_name}', PLAIN
        phrase = ('an ' if thing[0] in 'aeiou' else 'a ') + thing
    else:
        paint = concepts.material(concept, rng)
        if kind == 'concept':
            distance = concepts.silhouette(concept, rng)
        else:
            distance = shapes.neutral(rng)[1]
        phrase, label = concepts.with_article(concept), concepts.CONCEPTS.index(concept)

    ground_name, ground = _background(rng) if background is None else ('', background)
    picture, mask = _compose(rng, distance, paint, ground, _tilt(rng, concept, kind))
    return Drawn(picture, mask, _caption(rng, phrase, ground_name), label, kind)


def _tilt(rng, concept, kind):
    """The angle that an object leans by; materials lean less than shapes may."""
    if kind == 'plain' or concept in concepts.FREE:
        return rng.uniform(-np.pi, np.pi)
    return rng.normal(0, 0.07 if concept in concepts.UPRIGHT else 0.25)


def _background(rng):
    name = rng.choice(list(COLOURS))
    h, s, v = COLOURS[name]
    style = rng.random()
    if style < 0.55 and s > 0:  # pale
        s, v = s * rng.uniform(0.1, 0.45), rng.uniform(0.8, 1)
    elif style < 0.8:
        s, v = s * rng.uniform(0.5, 1), v * rng.uniform(0.8, 1.1)
    else:  # dull or dark
        s, v = s * rng.uniform(0.2, 0.7), v * rng.uniform(0.3, 0.9)
    return name, materials.near(rng, h, s, v, dh=0.03, ds=0.02, dv=0.04)


def _compose(rng, distance, paint, ground, tilt):
    at = (np.arange(SIZE, dtype=np.float32) + 0.5) / (SIZE / 2) - 1
    px, py = np.meshgrid(at, at)

    scale = rng.uniform(0.58, 0.92)
    room = max(0.0, 0.96 - scale)
    cx, cy = rng.uniform(-room, room, 2)
    stretch = np.exp(rng.normal(0, 0.08))
    x, y = materials.turned((px - cx) / scale, (py - cy) / scale, tilt)
    x, y = x * stretch, y / stretch
    amount, phases, waves = (
        rng.uniform(0, 0.06),
        rng.uniform(0, shapes.TAU, 4),
        rng.uniform(1, 3, 2),
    )
    x, y = (
        x + amount * np.sin(waves[0] * y * 2 + phases[0]),
        y + amount * np.sin(waves[1] * x * 2 + phases[1]),
    )
    if rng.random() < 0.5:
        x = -x

    pixel = 2 / SIZE / scale  # one pixel in the object's frame
    depth = -distance(x, y)
    coverage = np.clip(0.5 + depth / pixel, 0, 1)

    light = rng.uniform(0, shapes.TAU)
    slope = px * np.cos(light) + py * np.sin(light)
    if rng.random() < 0.5:
        slope = slope * 0
    field = materials.fill(px, ground) * (1 + 0.06 * slope[..., None])

    body = paint(x, y, depth)
    lit = 1 + rng.uniform(0, 0.14) * (-(x - cx) - (y - cy)) / 2
    rim = 1 - rng.uniform(0, 0.25) * np.exp(-np.maximum(depth, 0) / 0.08)
    body = body * (lit * rim)[..., None]
    contrast = abs(body[(depth > 0) & (depth < 4 * pixel)].mean(0) - ground).max(initial=0)
    if contrast < 0.25 or rng.random() < 0.4:
        line = rng.uniform(1.2, 2.2) * pixel
        body = materials.over(body, np.clip(0.5 + (line - depth) / pixel, 0, 1), body * 0.25)

    picture = field + (body - field) * coverage[..., None]
    picture = picture * (1 + rng.normal(0, 0.04, 3)) * rng.uniform(0.85, 1.05)
    return (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8), coverage > 0.5


def _caption(rng, phrase, ground_name):
    start = rng.choice(
        ['a photo of ', 'a picture of ', 'a drawing of ', ''], p=[0.45, 0.15, 0.15, 0.25]
    )
    end = f' on a {ground_name} background' if ground_name and rng.random() < 0.15 else ''
    return (start + phrase + end).replace('a orange', 'an orange')


# ---------------------------------------------------------------------------------------------


def _draw_numbered(task):
    seed, number = task
    return draw(np.random.default_rng((seed, number)))


def data_set(count, seed, processes=None):
    tasks = ((seed, number) for number in range(count))
    with multiprocessing.Pool(processes) as pool:
        drawn = list(pool.imap(_draw_numbered, tasks, chunksize=64))
    return {
        'pictures': np.stack([each.picture for each in drawn]),
        'captions': np.array([each.caption for each in drawn]),
        'labels': np.array([each.label for each in drawn]),
        'kinds': np.array([each.kind for each in drawn]),
    }


def sheet(seed, rows=7):
    """Every concept in two columns of its own and two on neutral shapes; plain ones below."""
    lines = []
    for number, concept in enumerate(concepts.CONCEPTS):
        kinds = ['concept'] * 3 + ['neutral'] * 3
        rngs = [np.random.default_rng((seed, number, i)) for i in range(len(kinds))]
        lines.append([draw(rng, concept, kind).picture for rng, kind in zip(rngs, kinds)])
    rngs = [np.random.default_rng((seed, 99, i)) for i in range(18)]
    plain = [draw(rng, kind='plain').picture for rng in rngs]
    lines += [plain[:6], plain[6:12], plain[12:]]
    while len(lines) % 3:
        lines.append([np.zeros((SIZE, SIZE, 3), np.uint8)] * 6)
    per = len(lines) // 3
    blocks = [
        np.concatenate([np.concatenate(line, 1) for line in lines[i : i + per]])
        for i in (0, per, 2 * per)
    ]
    return np.concatenate(blocks, 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--count', type=int, default=40000)
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--out', help='write a data set (.npz)')
    parser.add_argument('--sheet', help='write a contact sheet (.png)')
    options = parser.parse_args()
    if options.sheet:
        Image.fromarray(sheet(options.seed)).save(options.sheet)
    if options.out:
        np.savez(options.out, **data_set(options.count, options.seed))


if __name__ == '__main__':
    main()
