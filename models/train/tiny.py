"""Distils a small decoder from the autoencoder of the model in the box, in the layout of TAESD.

    python -m train.tiny --pictures pictures.npz --latents latents.pt --out world-128-tiny

TAESD (Bohan 2023) decodes latents as the sampler has them, scaled, with plain convolutions: no norms
and no attention. What is written is a folder of diffusers' AutoencoderTiny without the encoder.
"""

import argparse
import json
import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from . import box, loop
from .autoencoder import SCALING, differences

MAGNITUDE = 3.0


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        conv = lambda: nn.Conv2d(width, width, 3, padding=1)
        self.conv = nn.Sequential(conv(), nn.ReLU(), conv(), nn.ReLU(), conv())

    def forward(self, x):
        return F.relu(self.conv(x) + x)


class TinyDecoder(nn.Module):
    """Diffusers' DecoderTiny: 4 channels in, pictures in [-1, 1] out, eight times as large."""

    def __init__(self, width=32, blocks=(3, 2, 2, 1)):
        super().__init__()
        layers = [nn.Conv2d(4, width, 3, padding=1), nn.ReLU()]
        for count in blocks[:-1]:
            layers += [Block(width) for _ in range(count)]
            sharper = nn.Conv2d(width, width, 3, padding=1, bias=False)
            layers += [nn.Upsample(scale_factor=2.0), sharper]
        layers += [Block(width) for _ in range(blocks[-1])]
        self.layers = nn.Sequential(*layers, nn.Conv2d(width, 3, 3, padding=1))
        self.config = {
            '_class_name': 'AutoencoderTiny', 'in_channels': 3, 'out_channels': 3,
            'encoder_block_out_channels': [width] * 4, 'decoder_block_out_channels': [width] * 4,
            'act_fn': 'relu', 'latent_channels': 4, 'upsampling_scaling_factor': 2,
            'num_encoder_blocks': [1, 1, 1, 1], 'num_decoder_blocks': list(blocks),
            'latent_magnitude': MAGNITUDE, 'latent_shift': 0.5, 'scaling_factor': 1.0,
            'force_upcast': False,
        }  # fmt: skip

    def forward(self, z):
        return 2 * self.layers(MAGNITUDE * torch.tanh(z / MAGNITUDE)) - 1

    def save(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / 'config.json').write_text(json.dumps(self.config, indent=2) + '\n')
        file = folder / 'diffusion_pytorch_model.safetensors'
        tensors = self.state_dict(prefix='decoder.')
        save_file({name: tensor.half().contiguous() for name, tensor in tensors.items()}, file)
        file.chmod(0o644)


def stage(options, rank, device):
    torch.manual_seed(options.seed)
    pictures = np.load(options.pictures)['pictures']
    latents = torch.load(options.latents, weights_only=True)
    teacher = box.autoencoder(options.model).bfloat16().to(device)
    held_out = latents[:64].float().to(device)
    with torch.no_grad():
        wanted = torch.cat([teacher.decode(z.bfloat16() / SCALING) for z in held_out.split(16)])
        wanted = wanted.float().clamp(-1, 1)

    def loss_of(student, random):
        which = torch.randint(len(held_out), len(latents), (options.batch,), generator=random)
        z = latents[which].float()
        # Not only what an encoder makes: previews are decoded from what is still becoming clear.
        blur = F.avg_pool2d(F.pad(z, (1, 1, 1, 1), mode='replicate'), 3, 1)
        share = torch.rand(len(z), 1, 1, 1, generator=random) * options.worn
        noise = torch.randn(z.shape, generator=random)
        z = (torch.lerp(z, blur, share) + 0.3 * share * noise).to(device).bfloat16()
        with torch.no_grad():
            x = teacher.decode(z / SCALING).float().clamp(-1, 1)
        y = student(z).float()
        edges = sum(F.l1_loss(a, b) for a, b in zip(differences(y), differences(x)))
        return F.l1_loss(y, x) + F.mse_loss(y, x) + edges

    @torch.no_grad()
    def report(student):
        student.save(options.out)
        made = torch.cat([student(z) for z in held_out.split(16)]).clamp(-1, 1)
        real = torch.from_numpy(pictures[: len(made)]).permute(0, 3, 1, 2).float() / 127.5 - 1
        psnr = lambda a, b: -10 * math.log10(((a - b) / 2).square().mean())
        return (
            f'PSNR {psnr(made, wanted):.2f} dB to the decoder; to the pictures '
            f'{psnr(made, real):.2f} dB, the decoder {psnr(wanted, real):.2f} dB'
        )

    loop.train(TinyDecoder(), loss_of, options, rank, device, report)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--pictures', required=True)
    parser.add_argument('--latents', required=True)
    parser.add_argument('--out', required=True, type=Path)
    parser.add_argument('--model', default='world-128', type=Path)
    parser.add_argument('--state', default='tiny.state')
    parser.add_argument('--minutes', type=float, default=15)
    parser.add_argument('--batch', type=int, default=8, help='pictures for each process')
    parser.add_argument('--worn', type=float, default=0.5, help='most share of blur and noise')
    parser.add_argument('--rate', type=float, default=1e-3)
    parser.add_argument('--ema', type=float, default=0.995)
    parser.add_argument('--processes', type=int, default=1)
    parser.add_argument('--seed', type=int, default=1)
    loop.start(stage, parser.parse_args())


if __name__ == '__main__':
    main()
