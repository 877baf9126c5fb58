"""Trains the autoencoder on crops of the pictures, and makes latents of all of them.

python -m train.autoencoder --pictures pictures.npz --out vae.pt --latents latents.pt
"""

import argparse
import math

import numpy as np
import torch
import torch.nn.functional as F

from . import loop
from .networks import Autoencoder

SCALING = 0.18215


def batch(pictures, count, size, random):
    """Random crops, half of them mirrored, in [-1, 1]."""
    which = torch.randint(len(pictures), (count,), generator=random)
    at = torch.randint(0, (128 - size) // 8 + 1, (count, 2), generator=random) * 8
    flip = torch.rand(count, generator=random) < 0.5
    crops = []
    for i, (y, x), f in zip(which.tolist(), at.tolist(), flip.tolist()):
        crop = pictures[i, y : y + size, x : x + size]
        crops.append(torch.from_numpy(crop[:, ::-1].copy() if f else crop))
    return torch.stack(crops).permute(0, 3, 1, 2).float() / 127.5 - 1


def differences(x):
    return x[..., 1:, :] - x[..., :-1, :], x[..., 1:] - x[..., :-1]


def stage(options, rank, device):
    torch.manual_seed(options.seed)
    pictures = np.load(options.pictures)['pictures']
    held_out, pictures = pictures[:256], pictures[256:]
    whole = torch.from_numpy(held_out).permute(0, 3, 1, 2).float().to(device) / 127.5 - 1

    def loss_of(vae, random):
        # Whole pictures now and then: what a norm sees of one is not what it sees of a crop.
        size = 128 if torch.rand(1, generator=random) < 0.25 else 64
        count = options.batch if size == 64 else options.batch // 4
        x = batch(pictures, count, size, random).to(device)
        mean, log_variance = vae.encode(x.bfloat16())
        mean, log_variance = mean.float(), log_variance.float()
        noise = torch.randn(mean.shape, generator=random).to(device)
        y = vae.decode((mean + noise * (0.5 * log_variance).exp()).bfloat16()).float()
        edges = sum(F.l1_loss(a, b) for a, b in zip(differences(y), differences(x)))
        kl = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).mean()
        return F.l1_loss(y, x) + F.mse_loss(y, x) + edges + 1e-4 * kl

    @torch.no_grad()
    def report(vae):
        error = torch.cat(
            [(vae.decode(vae.encode(x)[0]) - x).clamp(-2, 2) for x in whole.split(16)]
        )
        return f'PSNR {-10 * math.log10((error / 2).square().mean()):.2f} dB'

    vae = loop.train(Autoencoder(), loss_of, options, rank, device, report)
    if rank == 0:
        fold_statistics(vae, whole)
        torch.save(vae.state_dict(), options.out)


@torch.no_grad()
def fold_statistics(vae, pictures):
    """Makes every channel of the latent, times the scaling factor, have mean 0 and variance 1."""
    z = torch.cat([vae.encode(x)[0] for x in pictures.split(16)])
    mean = z.mean((0, 2, 3))
    scale = 1 / (SCALING * z.std((0, 2, 3)))
    q, p = vae.quant_conv, vae.post_quant_conv
    q.weight[:4] *= scale[:, None, None, None]
    q.bias[:4] = (q.bias[:4] - mean) * scale
    q.bias[4:] += 2 * scale.log()  # the logarithm of the variance scales along
    p.bias += (p.weight[:, :, 0, 0] * mean).sum(1)
    p.weight /= scale[None, :, None, None]


def encode_stage(options, rank, device):
    """Writes latents (scaled) of this process's share of the pictures."""
    vae = Autoencoder()
    vae.load_state_dict(torch.load(options.out, weights_only=True))
    vae = vae.to(device).bfloat16()
    ranks = 1 if device == 'cuda' else options.processes
    pictures = np.load(options.pictures)['pictures'][rank::ranks]
    made = []
    with torch.no_grad():
        for i in range(0, len(pictures), 32):
            x = torch.from_numpy(pictures[i : i + 32]).permute(0, 3, 1, 2).to(device)
            z = vae.encode((x.float() / 127.5 - 1).bfloat16())[0]
            made.append((z.float() * SCALING).half().cpu())
    torch.save(torch.cat(made), f'{options.latents}.{rank}')


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--pictures', required=True)
    parser.add_argument('--out', required=True)
    parser.add_argument('--latents', required=True)
    parser.add_argument('--state', default='vae.state')
    parser.add_argument('--minutes', type=float, default=30)
    parser.add_argument('--batch', type=int, default=16, help='crops of 64 x 64 for each process')
    parser.add_argument('--rate', type=float, default=1e-3)
    parser.add_argument('--ema', type=float, default=0.995)
    parser.add_argument('--processes', type=int, default=2)
    parser.add_argument('--seed', type=int, default=1)
    options = parser.parse_args()
    loop.start(stage, options)
    loop.start(encode_stage, options)
    ranks = 1 if torch.cuda.is_available() else options.processes
    parts = [torch.load(f'{options.latents}.{rank}', weights_only=True) for rank in range(ranks)]
    count = sum(map(len, parts))
    latents = torch.empty(count, *parts[0].shape[1:], dtype=torch.half)
    for rank, part in enumerate(parts):
        latents[rank::ranks] = part
    torch.save(latents, options.latents)


if __name__ == '__main__':
    main()
