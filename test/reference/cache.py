"""Reference numbers for the cache of the UNet's inner levels: diffusers' UNet in the hands of the helper
that DeepCache's authors publish, in MagicMix's equations, in float64.

    python test/reference/cache.py FOLDER    # test/fixtures/cache.json and cache.safetensors

FOLDER is the tiny model in diffusers' layout, which the tests make (`tinyDiffusers` of
test/support/models.ts). See README.md.
"""

import json
import math
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from DeepCache import DeepCacheSDHelper
from diffusers.models import UNet2DConditionModel
from safetensors.torch import load_file, save_file

FIXTURES = Path(__file__).parent.parent / 'fixtures'
ALPHA_BAR = np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)

NOTHING, CORGI, PAINTING = (
    '',
    'a photo of a corgi wearing a red hat',
    'an oil painting of two lighthouses by the sea, dramatic sky, highly detailed, 8k',
)
SMALL = {'layout': 'landscape64.png', 'width': 64, 'height': 64}
LARGE = {'layout': 'landscape128x192.png', 'width': 192, 'height': 128}
# Cells of an odd number come back from the way down as they were.
TEXT = {'layout': {'prompt': PAINTING}, 'width': 104, 'height': 72}
MIX = {'content': CORGI, 'steps': 20, 'kMax': 0.6, 'kMin': 0.3, 'nu': 0.5, 'seed': 42}


def case(name, where, every, blocks, **more):
    request = {**where, **MIX, 'cache': {'every': every, 'blocks': blocks}, **more}
    return {'id': name, 'request': request}


CASES = [
    case('last block', SMALL, 3, 1),
    case('two blocks', SMALL, 2, 2),
    case('outer level', SMALL, 5, 3, nu=0.9),
    case('a block of the next level', LARGE, 3, 4),
    case('more often while mixing', SMALL, 5, 1, cache={'every': 5, 'whileMixing': 3, 'blocks': 1}),
    case('more often afterwards', SMALL, 1, 3, cache={'every': 1, 'whileMixing': 4, 'blocks': 3}),
    case('two levels', SMALL, 4, 6),
    case('into the third level', SMALL, 3, 8),
    case('all but the middle', SMALL, 3, 12),
    case('the whole schedule', SMALL, 7, 1, kMax=1, kMin=0, nu=0.3),
    case('no guidance', SMALL, 3, 2, guidanceScale=1),
    case('guidance in the middle', SMALL, 3, 1, guidanceInterval=[0.2, 0.4]),
    case('layout of a prompt', TEXT, 3, 1),
    case('layout of a prompt, two levels', TEXT, 4, 5, kMin=0.2),
]


class Model:
    def __init__(self, folder):
        config = json.loads((folder / 'unet' / 'config.json').read_text())
        self.unet = UNet2DConditionModel.from_config(config).double().eval()
        weights = load_file(folder / 'unet' / 'diffusion_pytorch_model.safetensors')
        self.unet.load_state_dict({name: value.double() for name, value in weights.items()})
        golden = json.loads((FIXTURES / 'manifest.json').read_text())['cases']
        self.golden = [one for one in golden if one.get('model') == 'tiny']
        self.files = {}

    def value(self, reference):
        name = reference['file']
        self.files.setdefault(name, load_file(FIXTURES / name))
        return self.files[name][reference['name']].double()

    def states(self, prompt):
        found = next(c for c in self.golden if c['kind'] == 'clip' and c['prompt'] == prompt)
        return self.value(found['outputs']['hidden']).view(1, 77, -1)

    def latent_of(self, picture):
        found = next(c for c in self.golden if c['kind'] == 'magicmix' and c.get('image') == picture)
        return self.value(found['outputs']['z0'])[None]

    def mix(self, request):
        """The last state, and how many calls were full and how many cached."""
        steps, nu = request['steps'], request['nu']
        scale, (low, high) = request.get('guidanceScale', 7.5), request.get('guidanceInterval', [0, 1])
        stride = 1000 // steps
        timesteps = [(steps - 1 - i) * stride + 1 for i in range(steps)]
        i_max, i_min = (steps - math.floor(request[k] * steps + 1e-9) for k in ('kMax', 'kMin'))
        torch.manual_seed(request['seed'])
        noise = torch.randn(1, 4, request['height'] // 8, request['width'] // 8).double()

        pipe = SimpleNamespace(unet=self.unet, scheduler=SimpleNamespace(timesteps=torch.tensor(timesteps)))
        helper = DeepCacheSDHelper(pipe)
        cache = {'whileMixing': request['cache']['every'], **request['cache']}
        helper.set_params(cache['every'], cache['blocks'] - 1)
        helper.enable()
        calls = {'full': 0, 'cached': 0, 'unguided': 0}
        before = None

        def predict(x, i, prompt, refresh):
            """`refresh`: it begins to count anew."""
            nonlocal before
            is_mixing = i < i_min and prompt == request['content']
            every = cache['whileMixing' if is_mixing else 'every']
            helper.params['cache_interval'] = every
            guided = scale != 1 and low <= timesteps[i] / 1000 <= high
            if refresh or (guided, prompt) != before:
                helper.start_timestep = None
            before = (guided, prompt)
            prompts = [NOTHING, prompt] if guided else [prompt]
            context = torch.cat([self.states(each) for each in prompts])
            latents = torch.cat([x] * len(prompts))
            found = self.unet(latents, torch.tensor(timesteps[i]), encoder_hidden_states=context).sample
            is_full = (i - helper.start_timestep) % every == 0
            calls['full' if is_full else 'cached'] += 1
            calls['unguided'] += not guided
            return found[:1] + scale * (found[1:] - found[:1]) if guided else found

        def step(x, i, prompt, refresh=False):
            a, b = ALPHA_BAR[timesteps[i]], ALPHA_BAR[max(timesteps[i] - stride, 0)]
            eps = predict(x, i, prompt, refresh)
            return math.sqrt(b / a) * (x - math.sqrt(1 - a) * eps) + math.sqrt(1 - b) * eps

        if isinstance(request['layout'], str):
            z0 = self.latent_of(request['layout'])

            def layout(i):
                a = ALPHA_BAR[timesteps[i]]
                return math.sqrt(a) * z0 + math.sqrt(1 - a) * noise
        else:
            layouts = [noise]
            for i in range(max(i_max, i_min - 1)):
                layouts.append(step(layouts[-1], i, request['layout']['prompt']))
            layout = layouts.__getitem__

        x = layout(i_max)
        for i in range(i_max, steps):
            x = step(x, i, request['content'], refresh=i in (i_max, i_min))
            if i + 1 < i_min:
                x = nu * x + (1 - nu) * layout(i + 1)
        helper.disable()
        return x[0], calls


def main(folder):
    model = Model(folder)
    tensors = {}
    for one in CASES:
        last, one['calls'] = model.mix(one['request'])
        tensors[one['id']] = last.float().contiguous()
        without = model.mix({**one['request'], 'cache': {'every': 1, 'blocks': 1}})[0]
        one['change'] = round(float((last - without).norm() / without.norm()), 4)
        print(one['id'], one['calls'], one['change'])
    save_file(tensors, FIXTURES / 'cache.safetensors')
    (FIXTURES / 'cache.json').write_text(json.dumps(CASES, indent=1) + '\n')


if __name__ == '__main__':
    with torch.no_grad():
        main(Path(sys.argv[1]))
