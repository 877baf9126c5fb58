"""The concepts of the world: a name, a silhouette and a material each."""

from . import materials, shapes

CONCEPTS = [
    'watermelon', 'lemon', 'strawberry', 'ladybird', 'tiger', 'zebra', 'panda', 'heart', 'star',
    'moon', 'sun', 'fish', 'mushroom', 'cookie', 'cheese', 'cactus', 'donut', 'leaf', 'house', 'mug',
    'brick wall',
]  # fmt: skip

# What is named without an article.
MASS = {'cheese'}

# Concepts that stand upright; the others may lie in any direction.
UPRIGHT = {'tiger', 'zebra', 'panda', 'mushroom', 'cactus', 'house', 'mug', 'brick wall', 'cheese'}
FREE = {'cookie', 'donut', 'sun', 'lemon'}

PLAIN_SHAPES = ['circle', 'square', 'triangle', 'ring', 'cross', 'blob']
NEUTRAL_OF_PLAIN = {'circle': 'disc', **{name: name for name in PLAIN_SHAPES[1:]}}


def silhouette(concept, rng):
    return getattr(shapes, concept.replace(' ', '_'))(rng)


def material(concept, rng):
    return getattr(materials, concept.replace(' ', '_'))(rng)


def with_article(concept):
    return concept if concept in MASS else f'a {concept}'
