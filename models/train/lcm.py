"""Distils a LoRA for few steps from the model in the box: latent consistency.

    python -m train.lcm --pictures pictures.npz --out world-128-lcm/pytorch_lora_weights.safetensors

After Luo et al. 2023 (LCM, arXiv 2310.04378, and LCM-LoRA, arXiv 2311.05556). A teacher, the model
with guidance, takes one step of DDIM from a noisy latent. The student, the model with the LoRA and
without guidance, learns to predict from where the step began what it predicts from where it ended;
so in the end it predicts at once, from any of fifty timesteps, what all steps would have made.
"""

import argparse
import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from torch.func import functional_call

from . import box, diffusion, loop
from .autoencoder import SCALING

LATTICE = 20  # of the thousand timesteps every twentieth is used: 19, 39 .. 999
SIGMA_DATA, TIMESTEP_SCALING = 0.5, 10.0
HUBER = 0.001
SPARED = ('conv_in', 'conv_out', 'time_embedding.linear_1', 'time_embedding.linear_2')
LOOK = ['a photo of a tiger', 'a watermelon', 'a photo of a house', 'a mug', 'a photo of a zebra',
        'a fish', 'a photo of a donut', 'a heart']  # fmt: skip


class Lora(nn.Module):
    """Low-rank changes of a UNet's layers.

    They are merged into its weights before it runs, which costs little beside a batch, and rounds as
    the engine does when it merges a file. The UNet hides in a list: it is neither trained nor kept
    with the state.
    """

    def __init__(self, unet, rank):
        super().__init__()
        self.hidden, self.rank = [unet], rank
        self.layers = [
            name
            for name, module in unet.named_modules()
            if isinstance(module, nn.Linear | nn.Conv2d) and name not in SPARED
        ]
        weights = [unet.get_parameter(f'{name}.weight') for name in self.layers]
        self.down = nn.ParameterList(torch.empty(rank, w[0].numel()) for w in weights)
        self.up = nn.ParameterList(torch.zeros(len(w), rank) for w in weights)
        for down in self.down:
            nn.init.kaiming_uniform_(down, a=math.sqrt(5))

    def merged(self):
        """The UNet with these changes, a function."""
        unet, weights = self.hidden[0], {}
        for name, down, up in zip(self.layers, self.down, self.up):
            weight = unet.get_parameter(f'{name}.weight')
            change = (up.float() @ down.float()).view_as(weight)
            weights[f'{name}.weight'] = (weight + change).to(weight.dtype)
        return lambda *inputs: functional_call(unet, weights, inputs)

    def save(self, file):
        """As the published LCM LoRAs are: kohya's names, and an alpha that is the rank."""
        tensors = {}
        for name, down, up in zip(self.layers, self.down, self.up):
            weight = self.hidden[0].get_parameter(f'{name}.weight')
            module = 'lora_unet_' + name.replace('.', '_')
            # A convolution goes down with its own kernel, and up with one of a single pixel.
            tensors[f'{module}.lora_down.weight'] = down.view(self.rank, *weight.shape[1:])
            tensors[f'{module}.lora_up.weight'] = up.view(*up.shape, *(1,) * (weight.dim() - 2))
            tensors[f'{module}.alpha'] = torch.tensor(float(self.rank))
        about = {
            'modelspec.title': 'magicmix world, few steps (LCM)',
            'modelspec.architecture': 'stable-diffusion-v1/lora',
            'ss_network_module': 'networks.lora', 'ss_network_dim': str(self.rank),
            'ss_network_alpha': str(float(self.rank)),
        }  # fmt: skip
        file.parent.mkdir(parents=True, exist_ok=True)
        halves = {name: tensor.detach().half().contiguous() for name, tensor in tensors.items()}
        save_file(halves, file, about)
        file.chmod(0o644)


def consistent(unet, x, timesteps, states):
    """The consistency function: x itself at timestep 0, and nearly the predicted picture elsewhere."""
    t = TIMESTEP_SCALING * timesteps[:, None, None, None]
    skip = SIGMA_DATA**2 / (t**2 + SIGMA_DATA**2)
    out = t / (t**2 + SIGMA_DATA**2).sqrt()
    epsilon = unet(x.bfloat16(), timesteps, states).float()
    return skip * x + out * diffusion.clean(x, epsilon, timesteps)


def stage(options, rank, device):
    torch.manual_seed(options.seed)
    data = np.load(options.pictures)
    latents = kept_latents(options, data['pictures'])
    states, numbers = box.text_states(options.model, data['captions'])
    states = states.bfloat16()
    teacher = box.unet(options.model).bfloat16().to(device)
    batch = options.batch

    def starts(random):
        """Latents and prompts that mixing meets, half of them of a picture and its own caption.

        In the other half the prompt is of another picture, and the latent anything from the first
        picture to that other one: what a content finds where it takes over from a layout.
        """
        one, other = torch.randint(len(latents), (2, batch), generator=random)
        share = torch.rand(batch, 1, 1, 1, generator=random)
        share[torch.rand(batch, generator=random) < 0.5] = 1
        prompt = numbers[other].clone()
        prompt[torch.rand(batch, generator=random) < options.empty] = 0
        return torch.lerp(latents[one].float(), latents[other].float(), share), states[prompt]

    def loss_of(lora, random):
        x, prompts = (each.to(device) for each in starts(random))
        # Spread evenly over the lattice within a batch: a calmer loss.
        place = (torch.arange(batch) + torch.rand(1, generator=random)) / batch
        begin = (place * 1000 / LATTICE).long().clamp(0, 1000 // LATTICE - 1) * LATTICE
        begin = (begin + LATTICE - 1).to(device)
        end = (begin - LATTICE * options.skip).clamp(min=0)
        noise = torch.randn(x.shape, generator=random).to(device)
        low, high = options.guidance
        guidance = low + (high - low) * torch.rand(batch, 1, 1, 1, generator=random).to(device)

        x = diffusion.noised(x, noise, begin)
        student = lora.merged()
        with torch.no_grad():
            both = torch.cat([states[:1].to(device).expand_as(prompts), prompts])
            twice = teacher(x.repeat(2, 1, 1, 1).bfloat16(), begin.repeat(2), both).float()
            empty, prompted = twice.chunk(2)
            epsilon = empty + guidance * (prompted - empty)
            y = diffusion.noised(diffusion.clean(x, epsilon, begin), epsilon, end)
            aim = consistent(student, y, end, prompts)
        error = consistent(student, x, begin, prompts) - aim
        return ((error**2 + HUBER**2).sqrt() - HUBER).mean()

    @torch.no_grad()
    def report(lora):
        lora.save(options.out)
        vae = box.autoencoder(options.model)
        prompts = box.text_states(options.model, LOOK)
        context = prompts[0][prompts[1]].bfloat16()
        rows = []
        for steps in (4, 8):
            random = torch.Generator().manual_seed(1)
            x = sample(lora.merged(), context, steps, random)
            pictures = (vae.decode(x / SCALING).clamp(-1, 1) * 127.5 + 127.5).byte()
            rows.append(torch.cat(list(pictures), 2))
        Image.fromarray(torch.cat(rows, 1).permute(1, 2, 0).numpy()).save(options.look)
        return f'see {options.look}'

    loop.train(Lora(teacher, options.rank), loss_of, options, rank, device, report)


def sample(unet, context, steps, random):
    """The sampler `lcm`: predict the picture, add fresh noise for the next timestep, repeat."""
    lattice = [LATTICE * (50 - 50 * i // steps) - 1 for i in range(steps)]
    draw = lambda: torch.randn(len(context), 4, 16, 16, generator=random)
    x = draw()
    for t, after in zip(lattice, [*lattice[1:], None]):
        x = consistent(unet, x, torch.full((len(x),), t), context)
        if after is not None:
            x = diffusion.noised(x, draw(), torch.full((len(x),), after))
    return x


def kept_latents(options, pictures):
    """The latents of the pictures, which are made once."""
    if not options.latents.exists():
        torch.save(box.latents(options.model, pictures), options.latents)
    return torch.load(options.latents, weights_only=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--pictures', required=True)
    parser.add_argument('--out', required=True, type=Path)
    parser.add_argument('--model', default='world-128', type=Path)
    parser.add_argument('--latents', default='latents.pt', type=Path)
    parser.add_argument('--state', default='lcm.state')
    parser.add_argument('--look', default='lcm.png')
    parser.add_argument('--minutes', type=float, default=60)
    parser.add_argument('--rank', type=int, default=10)
    parser.add_argument('--skip', type=int, default=3, help='of the fifty in a step of the teacher')
    parser.add_argument('--guidance', type=float, nargs=2, default=(5.0, 10.0))
    parser.add_argument('--empty', type=float, default=0.1, help='share of empty prompts')
    parser.add_argument('--batch', type=int, default=16, help='samples for each process')
    parser.add_argument('--rate', type=float, default=1e-3)
    parser.add_argument('--ema', type=float, default=0.99)
    parser.add_argument('--processes', type=int, default=1)
    parser.add_argument('--seed', type=int, default=1)
    loop.start(stage, parser.parse_args())


if __name__ == '__main__':
    main()
