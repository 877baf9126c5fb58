"""Times diffusers on the work of bench/peers/run.ts: one JSON object on the last line.

    python diffusers_peer.py --model sd15.safetensors [--family sdxl] --size 512x512 --calls 5 --threads 2 [--whole 30]
                             [--device cuda] [--channels-last] [--compile]
    python diffusers_peer.py --versions

The UNet and the autoencoder have the sizes of Stable Diffusion 1.5 or XL (--family) and the weights of the
file, in bfloat16; nothing is downloaded. A step is one call of the UNet for both prompts of guidance, with guidance
and scheduler. Of several calls the median counts, the first left out.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ['HF_HUB_OFFLINE'] = '1'

import diffusers
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel

UNET = {
    '_class_name': 'UNet2DConditionModel',
    'sample_size': 64,
    'cross_attention_dim': 768,
    'attention_head_dim': 8,
    'layers_per_block': 2,
    'block_out_channels': [320, 640, 1280, 1280],
    'down_block_types': ['CrossAttnDownBlock2D'] * 3 + ['DownBlock2D'],
    'up_block_types': ['UpBlock2D'] + ['CrossAttnUpBlock2D'] * 3,
}
UNET_XL = {
    '_class_name': 'UNet2DConditionModel',
    'sample_size': 128,
    'cross_attention_dim': 2048,
    'attention_head_dim': [5, 10, 20],
    'use_linear_projection': True,
    'layers_per_block': 2,
    'transformer_layers_per_block': [1, 2, 10],
    'block_out_channels': [320, 640, 1280],
    'down_block_types': ['DownBlock2D'] + ['CrossAttnDownBlock2D'] * 2,
    'up_block_types': ['CrossAttnUpBlock2D'] * 2 + ['UpBlock2D'],
    'addition_embed_type': 'text_time',
    'addition_time_embed_dim': 256,
    'projection_class_embeddings_input_dim': 2816,
}
UNETS = {'sd15': UNET, 'sdxl': UNET_XL}
FACTORS = {'sd15': 0.18215, 'sdxl': 0.13025}
VAE = {
    '_class_name': 'AutoencoderKL',
    'sample_size': 512,
    'block_out_channels': [128, 256, 512, 512],
    'down_block_types': ['DownEncoderBlock2D'] * 4,
    'up_block_types': ['UpDecoderBlock2D'] * 4,
    'layers_per_block': 2,
    'latent_channels': 4,
}


def versions():
    return {'diffusers': diffusers.__version__, 'torch': torch.__version__}


def networks(model, family):
    with tempfile.TemporaryDirectory() as folder:
        for name, config in (('unet', UNETS[family]), ('vae', VAE)):
            (Path(folder) / name).mkdir()
            (Path(folder) / name / 'config.json').write_text(json.dumps(config))
        options = {'config': folder, 'torch_dtype': torch.bfloat16, 'local_files_only': True}
        unet = UNet2DConditionModel.from_single_file(model, subfolder='unet', **options)
        vae = AutoencoderKL.from_single_file(model, subfolder='vae', **options)
    return unet.eval(), vae.eval()


class Work:
    def __init__(self, unet, vae, width, height, family, device):
        self.unet, self.vae, self.factor = unet, vae, FACTORS[family]
        self.added = None
        where = {'dtype': torch.bfloat16, 'device': device}
        if family == 'sdxl':
            sizes = torch.tensor([[height, width, 0, 0, height, width]] * 2, **where)
            self.added = {'text_embeds': torch.randn(2, 1280, **where), 'time_ids': sizes}
        cross = unet.config.cross_attention_dim
        torch.manual_seed(42)
        self.picture = torch.rand(1, 3, height, width, **where) * 2 - 1
        self.states = torch.randn(2, 77, cross, **where)
        self.scheduler = DDIMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule='scaled_linear', clip_sample=False,
            set_alpha_to_one=False, steps_offset=1,
        )
        self.scheduler.set_timesteps(50)

    def encode(self):
        return self.vae.encode(self.picture).latent_dist.mean * self.factor

    def step(self, latent, t):
        out = self.unet(
            torch.cat([latent, latent]), t, encoder_hidden_states=self.states,
            added_cond_kwargs=self.added,
        ).sample
        without, wanted = out.chunk(2)
        return self.scheduler.step(without + 7.5 * (wanted - without), t, latent).prev_sample

    def decode(self, latent):
        picture = self.vae.decode(latent / self.factor).sample
        return ((picture / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8).cpu()


def now():
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter()


def seconds(f, *args):
    start = now()
    result = f(*args)
    return now() - start, result


def warm(times):
    return statistics.median(times[1:] or times)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--versions', action='store_true')
    parser.add_argument('--model')
    parser.add_argument('--family', choices=['sd15', 'sdxl'], default='sd15')
    parser.add_argument('--size', default='512x512')
    parser.add_argument('--calls', type=int, default=5)
    parser.add_argument('--threads', type=int, default=0)
    parser.add_argument('--whole', type=int, default=0)
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--channels-last', action='store_true')
    parser.add_argument('--compile', action='store_true')
    options = parser.parse_args()
    if options.versions:
        print(json.dumps(versions()))
        return
    if options.threads:
        torch.set_num_threads(options.threads)
    width, height = map(int, options.size.split('x'))
    unet, vae = (network.to(options.device) for network in networks(options.model, options.family))
    if options.channels_last:
        unet, vae = (network.to(memory_format=torch.channels_last) for network in (unet, vae))
    if options.compile:
        unet = torch.compile(unet)
        vae.encoder, vae.decoder = torch.compile(vae.encoder), torch.compile(vae.decoder)
    work = Work(unet, vae, width, height, options.family, options.device)
    with torch.inference_mode():
        encodes, decodes, steps = [], [], []
        timesteps = work.scheduler.timesteps[-options.calls :]
        for _ in range(3):
            took, latent = seconds(work.encode)
            encodes.append(took)
        for t in timesteps:
            took, latent = seconds(work.step, latent, t)
            steps.append(took)
        for _ in range(3):
            decodes.append(seconds(work.decode, latent)[0])
        whole = None
        if options.whole:
            start = now()
            latent = work.encode()
            for t in work.scheduler.timesteps[-options.whole :]:
                latent = work.step(latent, t)
            work.decode(latent)
            whole = now() - start
    result = {'encode': encodes[-1], 'step': warm(steps), 'decode': decodes[-1], 'whole': whole}
    print(json.dumps(result))


main()
