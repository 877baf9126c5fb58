"""Writes the trained networks as a diffusers folder in half precision, with the preview's matrix.

python -m train.export --pictures pictures.npz --vae vae.pt --model model.pt --out world-128
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from .autoencoder import SCALING
from .networks import Autoencoder, TextEncoder, UNet

SCHEDULER = {
    '_class_name': 'DDIMScheduler', 'num_train_timesteps': 1000, 'beta_start': 0.00085,
    'beta_end': 0.012, 'beta_schedule': 'scaled_linear', 'prediction_type': 'epsilon',
    'set_alpha_to_one': False, 'steps_offset': 1, 'clip_sample': False,
}  # fmt: skip


@torch.no_grad()
def preview_matrix(vae, pictures):
    """The affine map from a latent cell to the mean colour (0..1) of its 8x8 pixels: 3 x 5."""
    x = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
    z = torch.cat([vae.encode(part * 2 - 1)[0] for part in x.split(16)]) * SCALING
    colours = torch.nn.functional.avg_pool2d(x, 8).permute(0, 2, 3, 1).reshape(-1, 3)
    cells = z.permute(0, 2, 3, 1).reshape(-1, 4)
    cells = torch.cat([cells, torch.ones(len(cells), 1)], 1)
    return torch.linalg.lstsq(cells, colours).solution.T


def write(folder, name, network):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'config.json').write_text(json.dumps(network.config, indent=2) + '\n')
    tensors = {k: v.half().contiguous() for k, v in network.state_dict().items()}
    file = folder / f'{name}.safetensors'
    save_file(tensors, file)
    file.chmod(0o644)  # it comes readable by nobody else


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--pictures', required=True)
    parser.add_argument('--vae', required=True)
    parser.add_argument('--model', required=True)
    parser.add_argument('--out', required=True, type=Path)
    options = parser.parse_args()

    vae, unet, text = Autoencoder(), UNet(), TextEncoder()
    vae.load_state_dict(torch.load(options.vae, weights_only=True))
    model = torch.load(options.model, weights_only=True)
    for part, prefix in ((text, 'text.'), (unet, 'unet.')):
        part.load_state_dict(
            {k.removeprefix(prefix): v for k, v in model.items() if k.startswith(prefix)}
        )
    matrix = preview_matrix(vae, np.load(options.pictures)['pictures'][:512])
    vae.config['latent_rgb'] = [[round(v, 4) for v in row] for row in matrix.tolist()]

    write(options.out / 'vae', 'diffusion_pytorch_model', vae)
    write(options.out / 'unet', 'diffusion_pytorch_model', unet)
    write(options.out / 'text_encoder', 'model', text)
    scheduler = options.out / 'scheduler'
    scheduler.mkdir(exist_ok=True)
    (scheduler / 'scheduler_config.json').write_text(json.dumps(SCHEDULER, indent=2) + '\n')
    index = {'_class_name': 'StableDiffusionPipeline', '_name_or_path': 'magicmix world'}
    (options.out / 'model_index.json').write_text(json.dumps(index, indent=2) + '\n')


if __name__ == '__main__':
    main()
