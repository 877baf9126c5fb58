"""Reference numbers for distilled relatives of Stable Diffusion XL, from diffusers' own UNet.

    python test/reference/sdxl_distilled.py   # writes test/fixtures/sdxl/distilled.safetensors

SSD-1B and Segmind Vega have other depths of transformers in each place and one ResBlock in the
middle, KOALA-700M one layer per level and no middle. The configurations are written as theirs are.
Text states come from the numbers of the tiny XL; a mix is MagicMix with DDIM, as sd2.py has it.
"""

import json
import math
import re
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file
from sd2 import ALPHA_BAR, formula

FIXTURES = Path(__file__).parent.parent / 'fixtures' / 'sdxl'

TINY_XL = {
    'sample_size': 128,
    'block_out_channels': [32, 64, 96],
    'down_block_types': ['DownBlock2D', 'CrossAttnDownBlock2D', 'CrossAttnDownBlock2D'],
    'up_block_types': ['CrossAttnUpBlock2D', 'CrossAttnUpBlock2D', 'UpBlock2D'],
    'attention_head_dim': [2, 4, 6],
    'cross_attention_dim': 160,
    'use_linear_projection': True,
    'addition_embed_type': 'text_time',
    'addition_time_embed_dim': 256,
    'projection_class_embeddings_input_dim': 96 + 6 * 256,
}
RELATIVES = {
    'ssd': {
        'mid_block_type': 'UNetMidBlock2D',
        'transformer_layers_per_block': [1, [2, 2], [3, 3]],
        'reverse_transformer_layers_per_block': [[3, 3, 4], [2, 1, 1], 1],
    },
    'vega': {'mid_block_type': 'UNetMidBlock2D', 'transformer_layers_per_block': [1, 1, 2]},
    'koala': {'mid_block_type': None, 'layers_per_block': 1, 'transformer_layers_per_block': [0, 1, 2]},
}

OUTSIDE = {
    'conv_in': 'input_blocks.0.0',
    'time_embedding.linear_1': 'time_embed.0',
    'time_embedding.linear_2': 'time_embed.2',
    'add_embedding.linear_1': 'label_emb.0.0',
    'add_embedding.linear_2': 'label_emb.0.2',
    'conv_norm_out': 'out.0',
    'conv_out': 'out.2',
}
RES_BLOCK = {
    'norm1': 'in_layers.0',
    'conv1': 'in_layers.2',
    'time_emb_proj': 'emb_layers.1',
    'norm2': 'out_layers.0',
    'conv2': 'out_layers.3',
    'conv_shortcut': 'skip_connection',
}


def original_name(name, layers, levels):
    """The name in original checkpoints, by which the formula is seeded."""
    module, kind = name.rsplit('.', 1)
    if module in OUTSIDE:
        return f'{OUTSIDE[module]}.{kind}'
    if module.startswith('mid_block'):
        part, index, rest = re.fullmatch(r'mid_block\.(\w+)\.(\d+)\.(.+)', module).groups()
        inner = rest if part == 'attentions' else RES_BLOCK[rest]
        place = 1 if part == 'attentions' else 2 * int(index)
        return f'middle_block.{place}.{inner}.{kind}'
    way, level, part, index, rest = re.fullmatch(
        r'(down|up)_blocks\.(\d+)\.(\w+)\.(\d+)\.(.+)', module
    ).groups()
    level, index, per_level = int(level), int(index), layers + 1
    if part == 'downsamplers':
        return f'input_blocks.{(level + 1) * per_level}.0.op.{kind}'
    if part == 'upsamplers':
        # behind the ResBlock, and its transformer where the level has some: all but the last do
        return f'output_blocks.{level * per_level + layers}.{1 if level == levels - 1 else 2}.conv.{kind}'
    block = f'input_blocks.{1 + level * per_level + index}' if way == 'down' else (
        f'output_blocks.{level * per_level + index}'
    )
    inner = f'1.{rest}' if part == 'attentions' else f'0.{RES_BLOCK[rest]}'
    return f'{block}.{inner}.{kind}'


def build(relative):
    unet = UNet2DConditionModel(**TINY_XL, **relative).eval()
    layers, levels = unet.config.layers_per_block, len(unet.config.block_out_channels)
    state = {
        name: formula('model.diffusion_model.' + original_name(name, layers, levels), list(value.shape))
        for name, value in unet.state_dict().items()
    }
    unet.load_state_dict(state)
    return unet.double()


def noise(seed, height, width):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, 4, height, width, generator=generator).double()


def main():
    cases = {case['id']: case for case in json.loads((FIXTURES / 'cases.json').read_text())['cases']}
    known = load_file(FIXTURES / 'expected.safetensors')

    def encoded(case):
        outputs = cases[case]['outputs']
        hidden1, hidden2, pooled = (
            known[outputs[name]['name']].double() for name in ('hidden1', 'hidden2', 'pooled')
        )
        return torch.cat([hidden1, hidden2], 1)[None], pooled[None]

    layout_prompt, content = encoded('xl-text-2'), encoded('xl-text-3')
    empty = tuple(torch.zeros_like(each) for each in content)
    results = {}
    for name, relative in RELATIVES.items():
        unet = build(relative)

        def predict(x, t, prompt, unet=unet):
            states, pooled = prompt
            height, width = 8 * x.shape[2], 8 * x.shape[3]
            sizes = torch.tensor([[height, width, 0, 0, height, width]]).double()
            added = {'text_embeds': pooled, 'time_ids': sizes.expand(len(x), -1)}
            return unet(x, t, encoder_hidden_states=states, added_cond_kwargs=added).sample

        results[f'{name}.out'] = predict(noise(1, 16, 24), 981, content)[0]

        # MagicMix: 4 steps, mixed between kMax 0.75 and kMin 0.25
        steps, nu, guidance = 4, 0.9, 7.5
        stride = 1000 // steps
        timesteps = [(steps - 1 - i) * stride + 1 for i in range(steps)]
        i_max, i_min = 1, 3

        def step(x, i, prompt, predict=predict, timesteps=timesteps, stride=stride, guidance=guidance):
            t = timesteps[i]
            a, b = ALPHA_BAR[t], ALPHA_BAR[max(t - stride, 0)]
            uncond, cond = predict(x, t, empty), predict(x, t, prompt)
            eps = uncond + guidance * (cond - uncond)
            clean = (x - math.sqrt(1 - a) * eps) / math.sqrt(a)
            return math.sqrt(b) * clean + math.sqrt(1 - b) * eps

        layouts = [noise(7, 8, 8)]
        for i in range(i_min - 1):
            layouts.append(step(layouts[-1], i, layout_prompt))
        states = [layouts[i_max]]
        for i in range(i_max, steps):
            x = step(states[-1], i, content)
            states.append(nu * x + (1 - nu) * layouts[i + 1] if i + 1 < i_min else x)
        results[f'{name}.states'] = torch.cat(states)
    tensors = {key: value.float().contiguous() for key, value in results.items()}
    for key, value in tensors.items():
        print(key, list(value.shape), float(value.std()), bool(value.isfinite().all()))
    save_file(tensors, FIXTURES / 'distilled.safetensors')


if __name__ == '__main__':
    with torch.no_grad():
        main()
