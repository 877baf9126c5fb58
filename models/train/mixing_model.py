"""Trains UNet and text encoder together on the latents and captions of the pictures.

python -m train.mixing_model --pictures pictures.npz --latents latents.pt --vae vae.pt --out model.pt
"""

import argparse

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from . import diffusion, loop, tokens
from .autoencoder import SCALING
from .networks import VOCABULARY, Autoencoder, TextEncoder, UNet

LOOK = ['a photo of a tiger', 'a watermelon', 'a photo of a house', 'a mug', 'cheese', 'a fish',
        'a photo of a moon', 'a heart']  # fmt: skip


class MixingModel(nn.Module):
    def __init__(self, vocabulary):
        super().__init__()
        self.text, self.unet = TextEncoder(vocabulary=vocabulary), UNet()


def stage(options, rank, device):
    torch.manual_seed(options.seed)
    latents = torch.load(options.latents, weights_only=True)
    data = np.load(options.pictures)
    captions, numbers = np.unique(data['captions'], return_inverse=True)
    # A quarter on neutral shapes.
    share = torch.from_numpy(np.where(data['kinds'] == 'neutral', 0.7, 1.0))
    numbers = torch.from_numpy(numbers)
    # Only the tokens that occur are trained: a table of a hundred rows instead of 49408.
    seen, prompts = tokens.encode(['', *captions]).unique(return_inverse=True)
    empty, prompts = prompts[:1], prompts[1:]
    end = empty[0, -1]
    look = torch.searchsorted(seen, tokens.encode(LOOK))

    def loss_of(model, random):
        which = torch.multinomial(share, options.batch, True, generator=random)
        x = latents[which].float()
        prompt = prompts[numbers[which]].clone()
        prompt[torch.rand(options.batch, generator=random) < options.empty] = empty[0]
        # Spread evenly over the timesteps within a batch: a calmer loss.
        place = (torch.arange(options.batch) + torch.rand(1, generator=random)) / options.batch
        timesteps = (place * 1000).long().clamp(0, 999)
        noise = torch.randn(x.shape, generator=random) + tint(options.batch, random)
        noisy = diffusion.noised(x, noise, timesteps).to(device).bfloat16()
        states, nothing = model.text(prompt.to(device)), model.text(empty.to(device))
        epsilon = model.unet(noisy, timesteps.to(device), states).float()
        errors = (epsilon - noise.to(device)).square().mean((1, 2, 3))
        loss = (errors * diffusion.min_snr_weight(timesteps).to(device)).mean()
        # What follows a text shall say nothing, or it would carry the meaning of the words before
        # it, and the scale of a word would not reach that.
        behind = (prompt == end).to(device)
        return loss + 0.5 * ((states - nothing)[behind]).float().square().mean()

    @torch.no_grad()
    def report(model):
        vae = Autoencoder().to(device)
        vae.load_state_dict(torch.load(options.vae, weights_only=True))
        noise = torch.randn(len(LOOK), 4, 16, 16, generator=torch.Generator().manual_seed(1))
        context = model.text(look.to(device))
        x = diffusion.sample(model.unet, context, model.text(empty.to(device)), noise.to(device))
        pictures = (vae.decode(x / SCALING).clamp(-1, 1) * 127.5 + 127.5).byte().cpu()
        Image.fromarray(torch.cat(list(pictures), 2).permute(1, 2, 0).numpy()).save(options.look)
        return f'see {options.look}'

    model = loop.train(MixingModel(len(seen)), loss_of, options, rank, device, report)
    if rank == 0:
        model.text = with_all_words(model.text, seen)
        torch.save(model.state_dict(), options.out)


def tint(count, random):
    """Noise in the colours of whole regions, in addition to that of single cells.

    The mean of many cells is hardly noisy, so a network learns to trust the colours of large regions
    even where all else is noise: a blue layout would stay blue whatever the content says. This
    takes the trust in colours, not that in brightness, which carries the silhouette. (The first
    three channels of the latent are red, green and blue; see the autoencoder's start.)
    """
    colour = torch.randn(count, 3, 4, 4, generator=random)
    whole = torch.randn(count, 3, 1, 1, generator=random)
    colour = (colour + whole) / 2**0.5
    colour = F.interpolate(colour - colour.mean(1, keepdim=True), size=16, mode='bilinear')
    strength = 0.8 * torch.rand(count, 1, 1, 1, generator=random)
    return F.pad(strength * colour, (0, 0, 0, 0, 0, 1))


@torch.no_grad()
def with_all_words(text, seen):
    """The encoder with CLIP's whole table: words without a caption act like the mean of the rest."""
    whole = TextEncoder()
    state = text.state_dict()
    name = 'text_model.embeddings.token_embedding.weight'
    words = (seen != tokens.BEGIN) & (seen != tokens.END)
    table = state[name][words].mean(0).repeat(VOCABULARY, 1)
    table[seen] = state[name]
    whole.load_state_dict({**state, name: table})
    return whole


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--pictures', required=True)
    parser.add_argument('--latents', required=True)
    parser.add_argument('--vae', required=True)
    parser.add_argument('--out', required=True)
    parser.add_argument('--state', default='mixing_model.state')
    parser.add_argument('--look', default='look.png')
    parser.add_argument('--minutes', type=float, default=180)
    parser.add_argument('--batch', type=int, default=32, help='samples for each process')
    parser.add_argument('--rate', type=float, default=8e-4)
    parser.add_argument('--ema', type=float, default=0.999)
    parser.add_argument('--empty', type=float, default=0.12, help='share of empty captions')
    parser.add_argument('--processes', type=int, default=2)
    parser.add_argument('--seed', type=int, default=1)
    loop.start(stage, parser.parse_args())


if __name__ == '__main__':
    main()
