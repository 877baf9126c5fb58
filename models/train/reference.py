"""Writes what PyTorch makes of the shipped model: the numbers that the engine is compared with.

    python -m train.reference --model world-128 --layout layouts/heart.png --out world_forward.safetensors

The weights are those of the files, rounded to half precision; the arithmetic is float64.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from . import tokens
from .autoencoder import SCALING
from .networks import Autoencoder, TextEncoder, UNet

PROMPT = 'a photo of a tiger'
TIMESTEP = 501


def load(network, file):
    network.load_state_dict(load_file(file))
    return network.double().eval()


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--model', required=True, type=Path)
    parser.add_argument('--layout', required=True)
    parser.add_argument('--out', required=True)
    options = parser.parse_args()

    folder = options.model
    vae = load(Autoencoder(), folder / 'vae' / 'diffusion_pytorch_model.safetensors')
    unet = load(UNet(), folder / 'unet' / 'diffusion_pytorch_model.safetensors')
    text = load(TextEncoder(), folder / 'text_encoder' / 'model.safetensors')

    pixels = torch.from_numpy(np.asarray(Image.open(options.layout).convert('RGB')))
    mean = vae.encode(pixels.permute(2, 0, 1)[None].double() / 127.5 - 1)[0]
    noise = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(42))
    context = text(tokens.encode([PROMPT]))
    latent = (0.6 * SCALING * mean + 0.8 * noise).float()
    save_file(
        {
            'mean': mean[0].float(),
            'states': context[0].float(),
            'latent': latent[0],
            'epsilon': unet(latent.double(), torch.tensor([TIMESTEP]), context)[0].float(),
            'rgb': vae.decode(mean)[0].half(),
        },
        options.out,
    )


if __name__ == '__main__':
    main()
