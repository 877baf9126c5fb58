"""Silhouettes as signed distances: negative inside, in units of the object's own frame.

The frame has x to the right and y down; a silhouette fills about [-1, 1] x [-1, 1]. Each public
function draws its proportions from a random generator and returns `distance(x, y)`.
"""

import numpy as np

TAU = 2 * np.pi


# ---------------------------------------------------------------------------------------------
# Parts


def circle(x, y, cx, cy, r):
    return np.hypot(x - cx, y - cy) - r


def ellipse(x, y, cx, cy, a, b):
    return (np.hypot((x - cx) / a, (y - cy) / b) - 1) * min(a, b)


def box(x, y, cx, cy, a, b, radius=0.0):
    dx, dy = abs(x - cx) - a + radius, abs(y - cy) - b + radius
    outside = np.hypot(np.maximum(dx, 0), np.maximum(dy, 0))
    return outside + np.minimum(np.maximum(dx, dy), 0) - radius


def segment(x, y, start, end, radius):
    (ax, ay), (bx, by) = start, end
    dx, dy = bx - ax, by - ay
    t = np.clip(((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy), 0, 1)
    return np.hypot(x - ax - t * dx, y - ay - t * dy) - radius


def polygon(x, y, points):
    """Exact distance to a closed polygon; inside by the parity of crossings."""
    distance = np.full(x.shape, np.inf, dtype=np.float32)
    inside = np.zeros(x.shape, dtype=bool)
    for (ax, ay), (bx, by) in zip(points, np.roll(points, -1, axis=0)):
        distance = np.minimum(distance, segment(x, y, (ax, ay), (bx, by), 0))
        if ay != by:
            crosses = (ay > y) != (by > y)
            inside ^= crosses & (x < ax + (y - ay) * (bx - ax) / (by - ay))
    return np.where(inside, -distance, distance)


def radial(x, y, radius):
    """A shape given by its radius over the angle; not quite a distance, but close to one."""
    return (np.hypot(x, y) - radius(np.arctan2(y, x))) * 0.85


def union(*distances):
    return np.minimum.reduce(distances)


def without(distance, hole):
    return np.maximum(distance, -hole)


# ---------------------------------------------------------------------------------------------
# Concepts


def watermelon(rng):
    kind = rng.choice(['half', 'wedge', 'whole'], p=[0.5, 0.3, 0.2])
    squeeze = rng.uniform(0.75, 1)
    if kind == 'whole':
        return lambda x, y: ellipse(x, y, 0, 0, 1, squeeze)
    if kind == 'half':
        return lambda x, y: np.maximum(ellipse(x, y, 0, -0.45, 1.05, 1.2 * squeeze), -0.45 - y)
    slope = rng.uniform(0.5, 0.8)
    return lambda x, y: np.maximum.reduce(
        [circle(x, y, 0, -0.9, 1.75), (abs(x) - (y + 0.9) * slope) / np.hypot(1, slope), -0.95 - y]
    )


def lemon(rng):
    tip, squeeze = rng.uniform(0.15, 0.3), rng.uniform(0.65, 0.85)
    return lambda x, y: radial(x, y / squeeze, lambda a: 0.8 + tip * np.exp(-8 * np.sin(a) ** 2))


def strawberry(rng):
    width, point = rng.uniform(0.75, 0.95), rng.uniform(0.9, 1.3)
    t = np.linspace(0, TAU, 40, endpoint=False)
    down = (1 - np.cos(t)) / 2
    points = np.stack([width * np.sin(t) * (1 - 0.55 * down**point), -0.85 + 1.8 * down], 1)
    return lambda x, y: polygon(x, y, points)


def ladybird(rng):
    squeeze = rng.uniform(0.85, 1)
    return lambda x, y: union(
        ellipse(x, y, 0, 0.15, 0.85 * squeeze, 0.85), circle(x, y, 0, -0.72, 0.33)
    )


def tiger(rng):
    ear, spread = rng.uniform(0.25, 0.36), rng.uniform(0.55, 0.7)
    return lambda x, y: union(
        ellipse(x, y, 0, 0.1, 0.9, 0.85),
        circle(x, y, -spread, -0.62, ear),
        circle(x, y, spread, -0.62, ear),
    )


def zebra(rng):
    width, ear = rng.uniform(0.42, 0.55), rng.uniform(0.3, 0.45)
    head = np.array(
        [(-width, -0.55), (width, -0.55), (width * 0.9, 0.1), (width * 0.75, 0.8),
         (width * 0.4, 1), (-width * 0.4, 1), (-width * 0.75, 0.8), (-width * 0.9, 0.1)]
    )  # fmt: skip
    left = np.array([(-width, -0.4), (-width - 0.12, -0.6 - ear), (-width * 0.2, -0.6)])
    right = left * (-1, 1)
    return lambda x, y: union(
        polygon(x, y, head) - 0.06,
        polygon(x, y, left) - 0.04,
        polygon(x, y, right) - 0.04,
        ellipse(x, y, 0, -0.7, 0.16, 0.3),
    )


def panda(rng):
    ear, squeeze = rng.uniform(0.28, 0.36), rng.uniform(0.78, 0.9)
    return lambda x, y: union(
        ellipse(x, y, 0, 0.12, 0.92, squeeze),
        circle(x, y, -0.65, -0.6, ear),
        circle(x, y, 0.65, -0.6, ear),
    )


def heart(rng):
    t = np.linspace(0, TAU, 48, endpoint=False)
    px = 16 * np.sin(t) ** 3
    py = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    points = np.stack([px / 16.5 * rng.uniform(0.9, 1.1), -(py + 2.5) / 15], 1)
    return lambda x, y: polygon(x, y, points)


def spikes(count, inner, phase=-np.pi / 2):
    angles = phase + np.arange(2 * count) * np.pi / count
    radii = np.where(np.arange(2 * count) % 2 == 0, 1.0, inner)
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], 1)


def star(rng):
    points, soft = spikes(5, rng.uniform(0.4, 0.52)), rng.uniform(0, 0.08)
    return lambda x, y: polygon(x, y, points * (1 - soft)) - soft


def moon(rng):
    bite, away = rng.uniform(0.75, 0.95), rng.uniform(0.35, 0.6)
    if rng.random() < 0.15:
        return lambda x, y: circle(x, y, 0, 0, 0.9)
    return lambda x, y: without(circle(x, y, 0, 0, 0.95), circle(x, y, away, -0.1, bite))


def sun(rng):
    points = spikes(rng.integers(9, 15), rng.uniform(0.68, 0.78))
    return lambda x, y: polygon(x, y, points)


def fish(rng):
    height, tail = rng.uniform(0.45, 0.62), rng.uniform(0.35, 0.5)
    fin = np.array([(-0.3, -height * 0.7), (0.15, -height - 0.28), (0.35, -height * 0.6)])
    ending = np.array([(0.5, 0), (1.0, -tail), (0.88, 0), (1.0, tail)])
    return lambda x, y: union(
        ellipse(x, y, -0.2, 0, 0.8, height), polygon(x, y, ending), polygon(x, y, fin)
    )


def mushroom(rng):
    cap, stem = rng.uniform(0.75, 0.95), rng.uniform(0.24, 0.36)
    return lambda x, y: union(
        np.maximum(ellipse(x, y, 0, 0.1, 1, cap + 0.1), y - 0.12),
        box(x, y, 0, 0.5, stem, 0.48, 0.15),
    )


def cookie(rng):
    wobble, phase = rng.uniform(0, 0.04), rng.uniform(0, TAU)
    disc = lambda x, y: radial(x, y, lambda a: 0.93 + wobble * np.sin(7 * a + phase))
    if rng.random() < 0.7:
        return disc
    return lambda x, y: without(disc(x, y), circle(x, y, 0.75, -0.65, 0.4))


def cheese(rng):
    lift, back = rng.uniform(-0.7, -0.4), rng.uniform(0.4, 0.7)
    points = np.array([(-1, 0.15), (0.75, lift), (1, lift + 0.1), (1, back), (-1, back)])
    return lambda x, y: polygon(x, y, points * 0.96) - 0.04


def cactus(rng):
    w = rng.uniform(0.2, 0.28)
    left, right = rng.uniform(0, 0.4), rng.uniform(-0.2, 0.2)
    arm = w * 0.62
    return lambda x, y: union(
        segment(x, y, (0, -1 + w), (0, 1), w),
        segment(x, y, (-0.65, left), (0, left), arm),
        segment(x, y, (-0.65, left - 0.5), (-0.65, left), arm),
        segment(x, y, (0, right), (0.65, right), arm),
        segment(x, y, (0.65, right - 0.45), (0.65, right), arm),
    )


def donut(rng):
    hole = rng.uniform(0.22, 0.38)
    return lambda x, y: without(circle(x, y, 0, 0, 0.95), circle(x, y, 0, 0, hole))


def leaf(rng):
    width = rng.uniform(0.5, 0.75)
    t = np.linspace(0, 1, 20)
    side = width * np.sin(np.pi * t**0.8)
    points = np.concatenate(
        [np.stack([side, -1 + 1.75 * t], 1), np.stack([-side, -1 + 1.75 * t], 1)[-2:0:-1]]
    )
    return lambda x, y: union(polygon(x, y, points), segment(x, y, (0, 0.6), (0, 1), 0.05))


def house(rng):
    wall, eave = rng.uniform(0.65, 0.8), rng.uniform(0.9, 1)
    roof = np.array([(0, -0.98), (eave, -0.1), (-eave, -0.1)])
    side = rng.choice([-1, 1])
    return lambda x, y: union(
        box(x, y, 0, 0.4, wall, 0.55),
        polygon(x, y, roof),
        box(x, y, side * 0.5, -0.65, 0.11, 0.3),
    )


def mug(rng):
    width, side = rng.uniform(0.55, 0.7), rng.choice([-1, 1])
    cx = -0.2 * side
    return lambda x, y: union(
        box(x, y, cx, 0, width, 0.85, 0.15),
        abs(ellipse(x, y, cx + side * width, 0, 0.42, 0.48)) - 0.1,
    )


def brick_wall(rng):
    rows, step, height = rng.integers(4, 7), rng.uniform(0.05, 0.12), rng.uniform(0.6, 0.9)

    def distance(x, y):
        even = np.floor((y + 1) * rows / 2) % 2
        return box(x + step * (2 * even - 1), y, 0, 0, 0.9, height)

    return distance


# ---------------------------------------------------------------------------------------------
# Neutral shapes, which belong to no concept


def blob(rng):
    count = rng.integers(2, 7)
    k = np.arange(1, count + 1)
    amplitude = rng.normal(0, rng.uniform(0.1, 0.34), count) / k**0.7
    phase = rng.uniform(0, TAU, count)

    def radius(a):
        waves = sum(amplitude[i] * np.cos(k[i] * a + phase[i]) for i in range(count))
        return 0.8 * np.exp(np.clip(waves, -0.8, 0.5))

    return lambda x, y: radial(x, y, radius)


def disc(rng):
    squeeze = rng.uniform(0.5, 1)
    return lambda x, y: ellipse(x, y, 0, 0, 0.95, 0.95 * squeeze)


def square(rng):
    ratio, corner = rng.uniform(0.4, 1), rng.uniform(0, 0.3)
    return lambda x, y: box(x, y, 0, 0, 0.9, 0.9 * ratio, corner * ratio)


def triangle(rng):
    points = np.array([(rng.uniform(-0.7, 0.7), -0.95), (0.95, 0.85), (-0.95, 0.85)])
    soft = rng.uniform(0, 0.15)
    return lambda x, y: polygon(x, y, points * (1 - soft)) - soft


def crystal(rng):
    """A random polygon around the centre, convex or not."""
    count = rng.integers(5, 11)
    angles = (np.arange(count) + rng.uniform(-0.3, 0.3, count)) * TAU / count
    radii = rng.uniform(rng.uniform(0.4, 0.8), 1, count)
    points = np.stack([radii * np.cos(angles), radii * np.sin(angles)], 1)
    soft = rng.uniform(0, 0.1)
    return lambda x, y: polygon(x, y, points * (1 - soft)) - soft


def ring(rng):
    hole, shift = rng.uniform(0.2, 0.6), rng.uniform(-0.3, 0.3)
    return lambda x, y: without(circle(x, y, 0, 0, 0.95), circle(x, y, shift, 0, hole))


def cross(rng):
    arms = rng.uniform(0.2, 0.4, 2)
    at = rng.uniform(-0.6, 0.6, 2)
    return lambda x, y: union(
        box(x, y, at[0], 0, arms[0], 0.95, 0.05), box(x, y, 0, at[1], 0.95, arms[1], 0.05)
    )


def branches(rng):
    """Thick lines from one point: shapes with long, thin parts."""
    count = rng.integers(2, 6)
    angles = (
        rng.uniform(0, TAU) + (np.arange(count) + rng.uniform(-0.25, 0.25, count)) * TAU / count
    )
    ends = [(0.8 * np.cos(a), 0.8 * np.sin(a)) for a in angles]
    widths = rng.uniform(0.12, 0.3, count)
    return lambda x, y: union(*(segment(x, y, (0, 0), e, w) for e, w in zip(ends, widths)))


def cluster(rng):
    """Some ellipses that overlap: bodies with heads, ears and arms."""
    count = rng.integers(2, 5)
    first = rng.uniform(0.5, 0.7)
    parts = [(0.0, 0.0, first, first * rng.uniform(0.7, 1))]
    for _ in range(count):
        angle, size = rng.uniform(0, TAU), rng.uniform(0.2, 0.4)
        away = 0.98 - size
        parts.append((away * np.cos(angle), away * np.sin(angle), size, size * rng.uniform(0.6, 1)))
    return lambda x, y: union(*(ellipse(x, y, *part) for part in parts))


def sickle(rng):
    bite, away, angle = rng.uniform(0.5, 1), rng.uniform(0.3, 0.8), rng.uniform(0, TAU)
    return lambda x, y: without(
        circle(x, y, 0, 0, 0.95), circle(x, y, away * np.cos(angle), away * np.sin(angle), bite)
    )


def petals(rng):
    count, depth = rng.integers(3, 9), rng.uniform(0.1, 0.35)
    power = rng.uniform(0.6, 1.5)
    return lambda x, y: radial(
        x, y, lambda a: 0.95 - depth * 2 * abs(np.cos(count * a / 2)) ** power
    )


NEUTRAL = {
    'blob': (blob, 0.4),
    'disc': (disc, 0.06),
    'square': (square, 0.08),
    'triangle': (triangle, 0.06),
    'crystal': (crystal, 0.1),
    'ring': (ring, 0.04),
    'cross': (cross, 0.05),
    'branches': (branches, 0.06),
    'cluster': (cluster, 0.07),
    'sickle': (sickle, 0.04),
    'petals': (petals, 0.04),
}


def neutral(rng):
    names = list(NEUTRAL)
    name = rng.choice(names, p=[NEUTRAL[n][1] for n in names])
    return name, NEUTRAL[name][0](rng)
