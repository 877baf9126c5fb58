"""Reference pictures of tiny decoders, from diffusers' AutoencoderTiny.

    python test/reference/tiny_decoder.py   # writes test/fixtures/tiny_decoder.safetensors

The weights are those of the formula (sd2.py), by diffusers' names. See README.md.
"""

import torch
from diffusers import AutoencoderTiny
from safetensors.torch import save_file
from sd2 import FIXTURES, formula

# As test/support/tiny-decoders.ts has them.
CASES = {
    'small': {'width': 12, 'blocks': (3, 2, 2, 1), 'scaling': 1.0, 'size': (5, 7)},
    'scaled': {'width': 8, 'blocks': (1, 2, 1, 2), 'scaling': 0.5, 'size': (3, 4)},
    'taesd': {'width': 64, 'blocks': (3, 3, 3, 1), 'scaling': 1.0, 'size': (3, 2)},
}


def decoder(case):
    model = AutoencoderTiny(
        decoder_block_out_channels=(case['width'],) * 4,
        num_decoder_blocks=case['blocks'],
        scaling_factor=case['scaling'],
    ).eval()
    state = model.state_dict()
    for name, tensor in state.items():
        if name.startswith('decoder.'):
            state[name] = formula(name, tuple(tensor.shape))
    model.load_state_dict(state)
    return model


def main():
    tensors = {}
    for name, case in CASES.items():
        model = decoder(case)
        torch.manual_seed(7)
        latent = 2 * torch.randn(1, 4, *case['size'])  # some of it far beyond the clamp
        with torch.no_grad():
            # As the pipelines do it.
            picture = model.decode(latent / model.config.scaling_factor).sample
        tensors[f'{name}.latent'], tensors[f'{name}.picture'] = latent, picture
        print(name, tuple(picture.shape), float(picture.min()), float(picture.max()))
    save_file(tensors, FIXTURES / 'tiny_decoder.safetensors')


main()
