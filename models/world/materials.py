"""What things are made of: colour over the object's own frame.

Each public function draws its colours and proportions from a random generator and returns
`paint(x, y, depth)`, which gives colours of shape (height, width, 3) in [0, 1]. `depth` is the
distance to the edge of the silhouette, positive inside, in units of the frame. A material fits any
silhouette.
"""

import colorsys

import numpy as np

from .shapes import TAU, circle, ellipse, segment

EDGE = 0.03  # softness of borders inside of an object


def hsv(h, s, v):
    return np.array(colorsys.hsv_to_rgb(h % 1, min(max(s, 0), 1), min(max(v, 0), 1)))


def near(rng, h, s, v, dh=0.02, ds=0.1, dv=0.08):
    """A colour that varies a little."""
    return hsv(h + rng.uniform(-dh, dh), s + rng.uniform(-ds, ds), v + rng.uniform(-dv, dv))


def inside(distance, soft=EDGE):
    """Coverage of what has this distance: 1 inside, 0 outside."""
    return np.clip(0.5 - distance / soft, 0, 1)


def fill(x, colour):
    return np.broadcast_to(colour, x.shape + (3,)).astype(np.float32)


def over(below, coverage, colour):
    return below + (colour - below) * coverage[..., None]


def turned(x, y, angle):
    c, s = np.cos(angle), np.sin(angle)
    return c * x + s * y, c * y - s * x


def spots(rng, spacing, radius, jitter=0.25):
    """Distance to the nearest of many spots on a jittered hexagonal grid."""
    points = []
    for row, cy in enumerate(np.arange(-1.2, 1.2, spacing * 0.87)):
        for cx in np.arange(-1.2, 1.2, spacing):
            offset = rng.uniform(-jitter, jitter, 2) * spacing
            points.append((cx + row % 2 * spacing / 2 + offset[0], cy + offset[1]))
    radii = radius * rng.uniform(0.75, 1.25, len(points))

    def distance(x, y):
        return np.minimum.reduce([circle(x, y, *p, r) for p, r in zip(points, radii)])

    return distance


# ---------------------------------------------------------------------------------------------


def watermelon(rng):
    rind, flesh = near(rng, 0.33, 0.8, 0.5), near(rng, 0.98, 0.75, 0.92)
    white, seed = near(rng, 0.25, 0.3, 0.92), near(rng, 0.05, 0.5, 0.1)
    seeds, thick = spots(rng, rng.uniform(0.36, 0.5), 0.06), rng.uniform(0.09, 0.14)

    def paint(x, y, depth):
        c = over(fill(x, rind), inside(thick - depth), white)
        c = over(c, inside(thick * 1.6 - depth), flesh)
        return over(c, inside(seeds(x, y * 0.75)) * inside(thick * 2.3 - depth), seed)

    return paint


def lemon(rng):
    peel, pulp = near(rng, 0.14, 0.85, 0.97), near(rng, 0.155, 0.6, 1)
    pith = near(rng, 0.15, 0.12, 1, ds=0.05)
    count, phase = rng.integers(7, 11), rng.uniform(0, TAU)

    def paint(x, y, depth):
        radius, angle = np.hypot(x, y), np.arctan2(y, x) + phase
        spoke = abs((angle * count / TAU) % 1 - 0.5)  # 0.5 on a spoke, 0 between two
        ribs = inside((0.5 - spoke) * radius * TAU / count - 0.035)
        c = over(fill(x, peel), inside(0.12 - depth), pith)
        c = over(c, inside(0.19 - depth), pulp)
        return over(c, np.maximum(ribs, inside(radius - 0.1)) * inside(0.12 - depth), pith)

    return paint


def strawberry(rng):
    red, seed = near(rng, 0.975, 0.88, 0.88), near(rng, 0.14, 0.55, 0.98)
    green = near(rng, 0.34, 0.75, 0.55)
    seeds, leaves = spots(rng, rng.uniform(0.26, 0.34), 0.042, 0.1), rng.integers(4, 7)
    reach = rng.uniform(0.3, 0.42)

    def paint(x, y, depth):
        c = over(fill(x, red), inside(seeds(x, y * 0.8)), seed)
        teeth = reach * (0.45 + 0.55 * abs(np.cos(x * leaves * 1.4)))
        return over(c, inside(y + 0.92 - teeth - 0.12), green)

    return paint


def ladybird(rng):
    red, black = near(rng, 0.005, 0.92, 0.85), near(rng, 0.6, 0.2, 0.08)
    places = [(0.38, -0.15), (0.5, 0.35), (0.25, 0.68), (0.68, 0.05)][: rng.integers(3, 5)]
    radius, line = rng.uniform(0.12, 0.17), rng.uniform(0.025, 0.045)
    eyes = rng.random() < 0.8

    def paint(x, y, depth):
        black_parts = np.minimum.reduce(
            [circle(abs(x), y, *place, radius) for place in places]
            + [abs(x) - line, y + 0.52 - 0.08 * np.cos(3 * x)]
        )
        c = over(fill(x, red), inside(black_parts), black)
        return over(c, inside(circle(abs(x), y, 0.16, -0.74, 0.07)) * eyes, np.ones(3))

    return paint


def face(rng, x, y, c, eyes_at, nose_at, muzzle=None):
    ex, ey = eyes_at
    if muzzle is not None:
        c = over(c, inside(ellipse(x, y, 0, nose_at + 0.14, 0.36, 0.26)), muzzle)
    c = over(c, inside(ellipse(abs(x), y, ex, ey, 0.14, 0.13)), np.ones(3))
    c = over(c, inside(circle(abs(x), y, ex - 0.01, ey + 0.01, 0.075)), np.full(3, 0.05))
    return over(c, inside(ellipse(x, y, 0, nose_at, 0.13, 0.085)), np.full(3, 0.08))


def stripes(x, y, rng_values, lean):
    """Coverage of wavy dark stripes that run inward from both sides."""
    count, phase, width, wave = rng_values
    along = y * count + lean * abs(x) + phase + wave * np.sin(5 * x)
    return inside((abs((along % 1) - 0.5) - width) / count, 0.04)


def tiger(rng):
    orange, black = near(rng, 0.075, 0.9, 0.95), near(rng, 0.05, 0.5, 0.08)
    values = rng.uniform(2.4, 3.4), rng.uniform(0, 1), rng.uniform(0.16, 0.22), rng.uniform(0, 0.12)
    lean, cream = rng.uniform(0.3, 0.9), near(rng, 0.11, 0.12, 0.97, ds=0.05)
    has_face = rng.random() < 0.75

    def paint(x, y, depth):
        taper = inside(0.12 + 0.08 * np.sin(9 * y) - abs(x), 0.1)  # free in the middle
        c = over(fill(x, orange), stripes(x, y, values, lean) * taper, black)
        return face(rng, x, y, c, (0.36, -0.1), 0.3, cream) if has_face else c

    return paint


def zebra(rng):
    white, black = near(rng, 0.6, 0.03, 0.96, ds=0.03), near(rng, 0.6, 0.2, 0.1)
    values = rng.uniform(2.6, 3.8), rng.uniform(0, 1), rng.uniform(0.22, 0.27), rng.uniform(0, 0.1)
    lean = -rng.uniform(0.8, 1.6)
    has_face = rng.random() < 0.6

    def paint(x, y, depth):
        c = over(fill(x, white), stripes(x, y, values, lean), black)
        if has_face:
            c = over(c, inside(0.62 - y, 0.06), np.full(3, 0.25))
            c = over(c, inside(ellipse(abs(x), y, 0.28, -0.18, 0.1, 0.12)), np.full(3, 0.05))
            c = over(c, inside(ellipse(abs(x), y, 0.16, 0.84, 0.05, 0.08)), np.full(3, 0.05))
        return c

    return paint


def panda(rng):
    white, black = near(rng, 0.1, 0.03, 0.97, ds=0.03), near(rng, 0.6, 0.2, 0.09)
    slant, _ = rng.uniform(0.3, 0.6), rng.random()  # the second is unused; the model was trained so

    def paint(x, y, depth):
        c = over(fill(x, white), inside(circle(abs(x), y, 0.72, -0.68, 0.36)), black)
        px, py = turned(abs(x) - 0.37, y + 0.02, -slant)
        c = over(c, inside(ellipse(px, py, 0, 0, 0.19, 0.26)), black)
        c = over(c, inside(circle(abs(x), y, 0.35, -0.02, 0.07)), np.ones(3))
        c = over(c, inside(ellipse(x, y, 0, 0.34, 0.14, 0.09)), black)
        smile = abs(circle(x, y, 0, 0.4, 0.2)) - 0.025
        return over(c, inside(np.maximum(smile, 0.48 - y)), black)

    return paint


def heart(rng):
    """Glossy: a bright glint above on the left, darker towards the edge."""
    hue = rng.uniform(-0.07, 0.015)
    colour, dark = hsv(hue, 0.85, 0.95), hsv(hue, 0.95, 0.6)
    angle = rng.uniform(0.5, 0.9)

    def paint(x, y, depth):
        c = over(fill(x, dark), np.clip(depth / 0.3, 0, 1) ** 0.7, colour)
        gx, gy = turned(x + 0.45, y + 0.42, -angle)
        c = over(c, inside(ellipse(gx, gy, 0, 0, 0.2, 0.1), 0.06) * 0.9, np.ones(3))
        return over(c, inside(circle(x, y, -0.1, -0.5, 0.05), 0.05) * 0.8, np.ones(3))

    return paint


def star(rng):
    """Golden facets that meet in the middle."""
    bright, dark = near(rng, 0.14, 0.6, 1), near(rng, 0.1, 0.9, 0.78)
    phase = rng.choice([0, 0.1])

    def paint(x, y, depth):
        facet = ((np.arctan2(x, -y) / TAU + phase) * 5) % 1
        shade = inside((facet - 0.5) * np.hypot(x, y)) * inside(
            (0.0 - facet) * np.hypot(x, y) - EDGE
        )
        return over(fill(x, dark), shade, bright)

    return paint


def moon(rng):
    grey, dark = near(rng, 0.14, 0.14, 0.88, ds=0.08), near(rng, 0.12, 0.15, 0.62)
    craters = [(*rng.uniform(-0.85, 0.85, 2), rng.uniform(0.07, 0.2)) for _ in range(14)]

    def paint(x, y, depth):
        c = fill(x, grey)
        for cx, cy, r in craters:
            c = over(c, inside(circle(x, y, cx, cy, r)), dark)
            c = over(c, inside(circle(x, y, cx + 0.03, cy + 0.03, r * 0.8)), (grey + dark) / 2)
        return c

    return paint


def sun(rng):
    yellow, orange = near(rng, 0.15, 0.75, 1), near(rng, 0.07, 0.9, 0.98)
    core, rays = rng.uniform(0.5, 0.62), rng.integers(9, 15)

    def paint(x, y, depth):
        radius, angle = np.hypot(x, y), np.arctan2(y, x)
        ray = inside(np.cos(angle * rays) * radius / rays - 0.01)
        c = over(fill(x, orange), ray * 0.55, yellow)
        c = over(c, inside(radius - core - 0.06), orange * 0.9)
        return over(c, inside(radius - core), yellow)

    return paint


def fish(rng):
    blue, light = near(rng, 0.58, 0.75, 0.85, dh=0.05), near(rng, 0.54, 0.4, 0.97, dh=0.04)
    size, eye = rng.uniform(0.3, 0.4), rng.uniform(-0.68, -0.55)

    def paint(x, y, depth):
        row = np.floor(y / (size * 0.6))
        along = ((x / size + row * 0.5) % 1 - 0.5) * size
        down = y - row * size * 0.6
        rim = abs(np.hypot(along, down) - size * 0.5) - 0.025
        c = over(fill(x, blue), inside(rim) * inside(-0.38 - x), light)
        c = over(c, inside(abs(circle(x, y, -1.0, 0, 0.62)) - 0.03), light)
        c = over(c, inside(circle(x, y, eye, -0.12, 0.12)), np.ones(3))
        return over(c, inside(circle(x, y, eye, -0.12, 0.065)), np.full(3, 0.05))

    return paint


def mushroom(rng):
    red, cream = near(rng, 0.005, 0.88, 0.82), near(rng, 0.11, 0.18, 0.95)
    dots, edge = spots(rng, rng.uniform(0.45, 0.58), 0.115), rng.uniform(0.05, 0.15)

    def paint(x, y, depth):
        c = over(fill(x, red), inside(dots(x, y)), np.ones(3))
        gills = 0.86 + 0.14 * inside(np.cos(x * 26) * 0.03 * inside(y - 0.35) + 0.005)
        stem = cream * gills[..., None]
        return over(c, inside(edge - y), stem)

    return paint


def cookie(rng):
    dough, chip = near(rng, 0.085, 0.55, 0.78), near(rng, 0.05, 0.65, 0.25)
    chips, crumbs = spots(rng, rng.uniform(0.4, 0.52), 0.105, 0.35), spots(rng, 0.26, 0.045, 0.4)

    def paint(x, y, depth):
        c = over(fill(x, dough), inside(crumbs(x, y)) * 0.5, dough * 0.75)
        c = over(c, inside(depth - 0.07, 0.1) * 0.5, dough * 0.7)
        return over(c, inside(chips(x, y)), chip)

    return paint


def cheese(rng):
    yellow, hole = near(rng, 0.13, 0.65, 0.98), near(rng, 0.11, 0.8, 0.78)
    holes = [(*rng.uniform(-0.85, 0.85, 2), rng.uniform(0.09, 0.22)) for _ in range(10)]

    def paint(x, y, depth):
        c = fill(x, yellow)
        for cx, cy, r in holes:
            c = over(c, inside(circle(x, y, cx, cy, r)), hole * 0.85)
            c = over(c, inside(circle(x, y, cx + 0.025, cy + 0.03, r * 0.85)), hole)
        return c

    return paint


def cactus(rng):
    green, light = near(rng, 0.36, 0.7, 0.55), near(rng, 0.3, 0.5, 0.8)
    ribs = rng.uniform(3.2, 4.6)

    def paint(x, y, depth):
        rib = abs((x * ribs) % 1 - 0.5)
        c = over(fill(x, green), inside((rib - 0.16) / ribs), light)
        thorn_x, thorn_y = ((x * ribs + 0.5) % 1 - 0.5) / ribs, (y * 5) % 1 / 5 - 0.1
        thorn = np.minimum(
            segment(thorn_x, thorn_y, (-0.05, -0.03), (0.05, 0.03), 0.016),
            segment(thorn_x, thorn_y, (0.05, -0.03), (-0.05, 0.03), 0.016),
        )
        return over(c, inside(thorn), np.array([1, 1, 0.9]))

    return paint


def donut(rng):
    pink, dough = near(rng, 0.92, 0.45, 0.97), near(rng, 0.09, 0.55, 0.82)
    sprinkles = [
        (*rng.uniform(-0.9, 0.9, 2), rng.uniform(0, TAU), hsv(rng.choice(8) / 8, 0.8, 0.95))
        for _ in range(34)
    ]
    rim = rng.uniform(0.07, 0.11)

    def paint(x, y, depth):
        icing = inside(rim + 0.03 * np.sin(np.arctan2(y, x) * 7) - depth)
        c = over(fill(x, dough), icing, pink)
        for cx, cy, angle, colour in sprinkles:
            dx, dy = 0.07 * np.cos(angle), 0.07 * np.sin(angle)
            bar = segment(x, y, (cx - dx, cy - dy), (cx + dx, cy + dy), 0.032)
            c = over(c, inside(bar) * inside(rim * 1.6 - depth), colour)
        return c

    return paint


def leaf(rng):
    green, vein = near(rng, 0.3, 0.75, 0.6, dh=0.05), near(rng, 0.24, 0.45, 0.88)
    count, lean = rng.uniform(2.6, 3.6), rng.uniform(0.6, 1)

    def paint(x, y, depth):
        along = (y + lean * abs(x)) * count
        side = (abs(along % 1 - 0.5) - 0.06) / count
        return over(fill(x, green), inside(np.minimum(side, abs(x) - 0.035)), vein)

    return paint


def house(rng):
    wall, roof = near(rng, 0.12, 0.2, 0.95), near(rng, 0.03, 0.6, 0.55)
    pane, door = near(rng, 0.55, 0.4, 0.95), near(rng, 0.07, 0.65, 0.4)
    edge, side = rng.uniform(-0.16, -0.06), rng.choice([-1, 1])

    def paint(x, y, depth):
        tiles = 0.82 + 0.18 * inside((abs((y * 6) % 1 - 0.5) - 0.32) / 6)
        c = over(fill(x, wall), inside(y - edge), roof * tiles[..., None])
        for cx in (-0.4, 0.4):
            frame = np.maximum(abs(x - cx) - 0.17, abs(y - 0.2) - 0.16)
            cross = np.minimum(abs(x - cx), abs(y - 0.2)) - 0.02
            c = over(c, inside(frame), pane)
            c = over(c, inside(np.maximum(frame, np.minimum(cross, -0.03 - frame))), wall * 0.5)
        c = over(c, inside(np.maximum(abs(x - side * 0.08) - 0.14, 0.5 - y)), door)
        return c

    return paint


def mug(rng):
    """Glazed in teal with a white band of dots, and coffee to be seen above."""
    glaze, white = near(rng, 0.49, 0.65, 0.6, dh=0.03), near(rng, 0.1, 0.06, 0.97, ds=0.04)
    coffee, centre = near(rng, 0.06, 0.7, 0.3), rng.uniform(-0.05, 0.2)
    half, count = rng.uniform(0.2, 0.28), rng.uniform(2.5, 3.5)

    def paint(x, y, depth):
        c = over(fill(x, glaze), inside(abs(y - centre) - half), white)
        dot = np.hypot(((x * count) % 1 - 0.5) / count, y - centre) - 0.085
        c = over(c, inside(dot), glaze * 0.8)
        c = over(c, inside(y + 0.72), white)
        return over(c, inside(y + 0.76 - 0.02 * np.cos(5 * x)), coffee)

    return paint


def brick_wall(rng):
    brick, mortar = near(rng, 0.02, 0.68, 0.68), near(rng, 0.1, 0.12, 0.86)
    rows, ratio = rng.integers(4, 6), rng.uniform(1.7, 2.3)
    shades = rng.uniform(0.82, 1.12, (24, 24))

    def paint(x, y, depth):
        v = (y + 1.2) * rows / 2
        row = np.floor(v)
        u = (x + 1.2) * rows / 2 / ratio + row % 2 * 0.5
        joint = np.minimum((0.5 - abs(u % 1 - 0.5)) * ratio, 0.5 - abs(v % 1 - 0.5)) * 2 / rows
        shade = shades[row.astype(int) % 24, np.floor(u).astype(int) % 24]
        bricks = np.clip(brick * shade[..., None], 0, 1)
        return over(bricks, inside(joint - 0.035), mortar)

    return paint
