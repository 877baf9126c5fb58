"""The networks of the model in the box, from its folder, for whatever is distilled from it."""

import numpy as np
import torch
from safetensors.torch import load_file

from . import tokens
from .autoencoder import SCALING
from .networks import Autoencoder, TextEncoder, UNet


def autoencoder(folder):
    return _filled(Autoencoder(), folder / 'vae' / 'diffusion_pytorch_model.safetensors')


def unet(folder):
    return _filled(UNet(), folder / 'unet' / 'diffusion_pytorch_model.safetensors')


def text_encoder(folder):
    return _filled(TextEncoder(), folder / 'text_encoder' / 'model.safetensors')


def _filled(network, file):
    network.load_state_dict(load_file(file))
    return network.float().eval().requires_grad_(False)


@torch.no_grad()
def latents(folder, pictures):
    """Latents, scaled, of pictures (a NumPy array of bytes)."""
    vae = autoencoder(folder).bfloat16()
    made = []
    for i in range(0, len(pictures), 32):
        x = torch.from_numpy(pictures[i : i + 32]).permute(0, 3, 1, 2).bfloat16() / 127.5 - 1
        made.append((vae.encode(x)[0].float() * SCALING).half())
    return torch.cat(made)


@torch.no_grad()
def text_states(folder, captions):
    """Text states of the empty prompt and of all different captions, and each caption's number."""
    different, numbers = np.unique(captions, return_inverse=True)
    encoder = text_encoder(folder)
    states = [encoder(part) for part in tokens.encode(['', *different]).split(256)]
    return torch.cat(states), torch.from_numpy(numbers) + 1
