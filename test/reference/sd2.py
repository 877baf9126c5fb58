"""Reference numbers for Stable Diffusion 2.x, from PyTorch functions and transformers' text encoder.

    python test/reference/sd2.py check   # against the numbers that diffusers gave for 1.x
    python test/reference/sd2.py write   # test/fixtures/sd2.json and sd2.safetensors

What the engine computes is written here a second time, after the published architecture. See README.md.
"""

import json
import math
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel

FIXTURES = Path(__file__).parent.parent / 'fixtures'
BEGIN, END = 49406, 49407
SCALING = 0.18215

TINY = {
    'text': {'width': 64, 'layers': 2, 'heads': 2, 'hidden': 256, 'activation': 'quick_gelu'},
    'padding': END,
    'channels': [32, 64, 128, 128],
    'heads': [4, 4, 4, 4],
    'linear_projections': False,
    'vae': [32, 64, 64, 64],
    'prediction': 'epsilon',
}
# The differences are those between 1.x and 2.x.
TINY2 = {
    **TINY,
    'text': {**TINY['text'], 'activation': 'gelu', 'openclip': True},
    'padding': 0,
    'heads': [2, 4, 8, 8],  # of 16 channels on every level
    'linear_projections': True,
    'prediction': 'v_prediction',
}
TINY2_EPSILON = {**TINY2, 'prediction': 'epsilon'}


# --------------------------------------------------------------------------------------------------
# Weights and precision


def formula(name, shape):
    """The weights of test/support/formula-weights.ts, whose rule is in fixtures/manifest.json."""
    seed = 0xCBF29CE484222325
    for byte in name.encode():
        seed = (seed ^ byte) * 0x100000001B3 % 2**64
    with np.errstate(over='ignore'):
        z = np.arange(1, math.prod(shape) + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z += np.uint64(seed)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    r = (z >> np.uint64(40)).astype(np.float64) * 2.0**-23 - 1
    if len(shape) == 1:
        values = 0.05 * r if name.endswith('bias') else 1 + 0.1 * r
    elif name.endswith(('token_embedding.weight', 'position_embedding.weight')):
        values = 0.5 * r
    else:
        values = r * math.sqrt(3 / math.prod(shape[1:]))
    return torch.from_numpy(values.astype(np.float32).astype(np.float16).astype(np.float32)).view(shape)


class Layers:
    """The layers of networks, in one of three precisions: f32, f16in (what goes into a product is
    rounded to half precision), bf16 (everything is)."""

    def __init__(self, precision):
        self.precision = precision
        self.dtype = torch.bfloat16 if precision == 'bf16' else torch.float32
        self.weights = {}

    def weight(self, name, *shape):
        if name not in self.weights:
            self.weights[name] = formula(name, shape).to(self.dtype)
        return self.weights[name]

    def factor(self, x):
        return x.half().float() if self.precision == 'f16in' else x

    def linear(self, name, x, out, bias=True):
        bias = self.weight(name + '.bias', out) if bias else None
        return F.linear(self.factor(x), self.weight(name + '.weight', out, x.shape[-1]), bias)

    def conv(self, name, x, out, size, stride=1, padding=None):
        weight = self.weight(name + '.weight', out, x.shape[1], size, size)
        padding = (size - 1) // 2 if padding is None else padding
        return F.conv2d(self.factor(x), weight, self.weight(name + '.bias', out), stride, padding)

    def group_norm(self, name, x, eps):
        n = x.shape[1]
        return F.group_norm(x, 32, self.weight(name + '.weight', n), self.weight(name + '.bias', n), eps)

    def layer_norm(self, name, x):
        n = x.shape[-1]
        return F.layer_norm(x, (n,), self.weight(name + '.weight', n), self.weight(name + '.bias', n), 1e-5)


def attention(q, k, v, heads):
    def split(x):
        return x.view(*x.shape[:2], heads, -1).transpose(1, 2)

    q, k, v = split(q), split(k), split(v)
    weights = torch.softmax(q @ k.transpose(2, 3) / math.sqrt(q.shape[-1]), dim=-1)
    return (weights @ v).transpose(1, 2).flatten(2)


# --------------------------------------------------------------------------------------------------
# Text


def text_encoder(config, layers):
    """transformers' own, filled with our weights."""
    c = config['text']
    model = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=49408,
            hidden_size=c['width'],
            intermediate_size=c['hidden'],
            num_hidden_layers=c['layers'],
            num_attention_heads=c['heads'],
            max_position_embeddings=77,
            hidden_act=c['activation'],
            eos_token_id=END,
            attn_implementation='eager',
        )
    ).eval()
    weight = openclip_weight if c.get('openclip') else transformers_weight
    state = {}
    for name, tensor in model.state_dict().items():
        if not name.endswith('position_ids'):
            state[name] = weight(name.removeprefix('text_model.'), tuple(tensor.shape))
    model.load_state_dict(state, strict=False)
    if layers.precision == 'f16in':
        for module in model.modules():
            if isinstance(module, torch.nn.Linear):
                module.register_forward_pre_hook(lambda _, inputs: (layers.factor(inputs[0]),))
    return model.to(layers.dtype)


def transformers_weight(name, shape):
    return formula('cond_stage_model.transformer.text_model.' + name, shape)


def openclip_weight(name, shape):
    """Where open_clip has what transformers calls `name`."""
    root = 'cond_stage_model.model.'
    for theirs, original in {
        'embeddings.token_embedding.weight': 'token_embedding.weight',
        'embeddings.position_embedding.weight': 'positional_embedding',
        'final_layer_norm': 'ln_final',
    }.items():
        if name.startswith(theirs):
            return formula(root + original + name[len(theirs):], shape)
    _, _, number, part = name.split('.', 3)
    block = f'{root}transformer.resblocks.{number}.'
    for i, projection in enumerate('qkv'):
        if part.startswith(f'self_attn.{projection}_proj.'):
            kind = part.rsplit('.', 1)[1]
            return formula(f'{block}attn.in_proj_{kind}', (3 * shape[0], *shape[1:])).chunk(3)[i]
    for theirs, original in {
        'self_attn.out_proj': 'attn.out_proj',
        'layer_norm1': 'ln_1',
        'layer_norm2': 'ln_2',
        'mlp.fc1': 'mlp.c_fc',
        'mlp.fc2': 'mlp.c_proj',
    }.items():
        if part.startswith(theirs):
            return formula(block + original + part[len(theirs):], shape)
    raise KeyError(name)


# --------------------------------------------------------------------------------------------------
# UNet


class UNet:
    def __init__(self, config, layers):
        self.config = config
        self.l = layers

    def __call__(self, x, t, context):
        """`x` [N, 4, h, w], `context` [N, 77, width]."""
        l, root, channels = self.l, 'model.diffusion_model.', self.config['channels']
        time = self.time(t)

        def block(h, name, level):
            h = self.res_block(h, time, f'{name}.0', channels[level])
            return self.transformer(h, context, f'{name}.1', level) if level < 3 else h

        h = l.conv(f'{root}input_blocks.0.0', x.to(l.dtype), channels[0], 3)
        skips = [h]
        for level in range(4):
            for _ in range(2):
                h = block(h, f'{root}input_blocks.{len(skips)}', level)
                skips.append(h)
            if level < 3:
                h = l.conv(f'{root}input_blocks.{len(skips)}.0.op', h, channels[level], 3, stride=2)
                skips.append(h)
        h = self.res_block(h, time, f'{root}middle_block.0', channels[3])
        h = self.transformer(h, context, f'{root}middle_block.1', 3)
        h = self.res_block(h, time, f'{root}middle_block.2', channels[3])
        for n in range(12):
            level = 3 - n // 3
            name = f'{root}output_blocks.{n}'
            h = block(torch.cat([h, skips.pop()], 1), name, level)
            if n in (2, 5, 8):
                h = F.interpolate(h, size=skips[-1].shape[2:], mode='nearest')
                h = l.conv(f'{name}.{1 if level == 3 else 2}.conv', h, channels[level], 3)
        h = F.silu(l.group_norm(f'{root}out.0', h, 1e-5))
        return l.conv(f'{root}out.2', h, 4, 3).float()

    def time(self, t):
        l, base = self.l, self.config['channels'][0]
        frequencies = torch.exp(-math.log(10000) * torch.arange(base // 2, dtype=torch.float32) / (base // 2))
        angles = t * frequencies
        features = torch.cat([torch.cos(angles), torch.sin(angles)])[None].to(l.dtype)
        name = 'model.diffusion_model.time_embed.'
        return F.silu(l.linear(name + '2', F.silu(l.linear(name + '0', features, 4 * base)), 4 * base))

    def res_block(self, x, time, name, out):
        l = self.l
        h = l.conv(f'{name}.in_layers.2', F.silu(l.group_norm(f'{name}.in_layers.0', x, 1e-5)), out, 3)
        h = h + l.linear(f'{name}.emb_layers.1', time, out)[:, :, None, None]
        h = l.conv(f'{name}.out_layers.3', F.silu(l.group_norm(f'{name}.out_layers.0', h, 1e-5)), out, 3)
        return h + (x if x.shape[1] == out else l.conv(f'{name}.skip_connection', x, out, 1))

    def transformer(self, x, context, name, level):
        l, (n, channels, height, width) = self.l, x.shape
        heads = self.config['heads'][level]
        context = context.to(l.dtype)
        y = l.group_norm(f'{name}.norm', x, 1e-6)
        if self.config['linear_projections']:
            y = l.linear(f'{name}.proj_in', y.flatten(2).transpose(1, 2), channels)
        else:
            y = l.conv(f'{name}.proj_in', y, channels, 1).flatten(2).transpose(1, 2)

        block = f'{name}.transformer_blocks.0'

        def attend(at, h, source):
            q, k, v = (
                l.linear(f'{block}.{at}.to_{part}', values, channels, bias=False)
                for part, values in (('q', h), ('k', source), ('v', source))
            )
            return l.linear(f'{block}.{at}.to_out.0', attention(q, k, v, heads), channels)

        h = l.layer_norm(f'{block}.norm1', y)
        y = y + attend('attn1', h, h)
        y = y + attend('attn2', l.layer_norm(f'{block}.norm2', y), context)
        h = l.linear(f'{block}.ff.net.0.proj', l.layer_norm(f'{block}.norm3', y), 8 * channels)
        values, gates = h.chunk(2, dim=-1)
        y = y + l.linear(f'{block}.ff.net.2', values * F.gelu(gates), channels)

        if self.config['linear_projections']:
            y = l.linear(f'{name}.proj_out', y, channels)
            return x + y.transpose(1, 2).reshape(n, channels, height, width)
        return x + l.conv(f'{name}.proj_out', y.transpose(1, 2).reshape(n, channels, height, width), channels, 1)


# --------------------------------------------------------------------------------------------------
# Autoencoder


class Autoencoder:
    def __init__(self, config, layers):
        self.channels = config['vae']
        self.l = layers

    def encode(self, picture):
        """The mean of the posterior of a picture in -1..1."""
        l, root = self.l, 'first_stage_model.encoder.'
        h = l.conv(root + 'conv_in', picture.to(l.dtype), self.channels[0], 3)
        for level, out in enumerate(self.channels):
            for i in range(2):
                h = self.res_block(h, f'{root}down.{level}.block.{i}', out)
            if level < 3:
                h = l.conv(f'{root}down.{level}.downsample.conv', F.pad(h, (0, 1, 0, 1)), out, 3, 2, 0)
        h = self.middle(h, root + 'mid')
        h = l.conv(root + 'conv_out', F.silu(l.group_norm(root + 'norm_out', h, 1e-6)), 8, 3)
        return l.conv('first_stage_model.quant_conv', h, 8, 1).float()[:, :4]

    def decode(self, z):
        l, root = self.l, 'first_stage_model.decoder.'
        h = l.conv('first_stage_model.post_quant_conv', z.to(l.dtype), 4, 1)
        h = l.conv(root + 'conv_in', h, self.channels[3], 3)
        h = self.middle(h, root + 'mid')
        for level in (3, 2, 1, 0):
            for i in range(3):
                h = self.res_block(h, f'{root}up.{level}.block.{i}', self.channels[level])
            if level > 0:
                h = F.interpolate(h, scale_factor=2, mode='nearest')
                h = l.conv(f'{root}up.{level}.upsample.conv', h, self.channels[level], 3)
        return l.conv(root + 'conv_out', F.silu(l.group_norm(root + 'norm_out', h, 1e-6)), 3, 3).float()

    def middle(self, h, name):
        l, out = self.l, self.channels[3]
        h = self.res_block(h, name + '.block_1', out)
        normed = l.group_norm(name + '.attn_1.norm', h, 1e-6)
        q, k, v = (
            l.conv(f'{name}.attn_1.{part}', normed, out, 1).flatten(2).transpose(1, 2) for part in 'qkv'
        )
        mixed = attention(q, k, v, 1).transpose(1, 2).reshape(h.shape)
        h = h + l.conv(name + '.attn_1.proj_out', mixed, out, 1)
        return self.res_block(h, name + '.block_2', out)

    def res_block(self, x, name, out):
        l = self.l
        h = l.conv(name + '.conv1', F.silu(l.group_norm(name + '.norm1', x, 1e-6)), out, 3)
        h = l.conv(name + '.conv2', F.silu(l.group_norm(name + '.norm2', h, 1e-6)), out, 3)
        return h + (x if x.shape[1] == out else l.conv(name + '.nin_shortcut', x, out, 1))


# --------------------------------------------------------------------------------------------------
# The model and MagicMix

ALPHA_BAR = np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)


class Model:
    def __init__(self, config, precision='f32'):
        layers = Layers(precision)
        self.config = config
        self.text = text_encoder(config, layers)
        self.unet = UNet(config, layers)
        self.vae = Autoencoder(config, layers)

    def states(self, ids):
        padded = ids + [self.config['padding']] * (77 - len(ids))
        return self.text(torch.tensor([padded])).last_hidden_state.float()

    def clean_and_noise(self, predicted, x, t):
        """What the prediction says of the clean latent and of the noise."""
        a, s = math.sqrt(ALPHA_BAR[t]), math.sqrt(1 - ALPHA_BAR[t])
        if self.config['prediction'] == 'v_prediction':
            return a * x - s * predicted, a * predicted + s * x
        return (x - s * predicted) / a, predicted

    def noise(self, x, t, states):
        return self.clean_and_noise(self.unet(x, t, states), x, t)[1]

    def image(self, latent):
        rgb = self.vae.decode(latent / SCALING)[0]
        return ((rgb / 2 + 0.5).clamp(0, 1) * 255).round().byte().permute(1, 2, 0).contiguous()

    def mix(self, case):
        steps, nu = case['steps'], case['nu']
        stride = 1000 // steps
        timesteps = [(steps - 1 - i) * stride + 1 for i in range(steps)]
        i_max = steps - math.floor(case['k_max'] * steps + 1e-9)
        i_min = steps - math.floor(case['k_min'] * steps + 1e-9)
        torch.manual_seed(case['seed'])
        noise = torch.randn(1, 4, case['height'] // 8, case['width'] // 8)
        negative = self.states(case['negative_ids'])
        outputs = {'noise': noise[0]}

        def step(x, i, prompt):
            t = timesteps[i]
            b = ALPHA_BAR[max(t - stride, 0)]
            uncond, cond = self.unet(torch.cat([x, x]), t, torch.cat([negative, prompt])).chunk(2)
            guided = uncond + case['guidance'] * (cond - uncond)
            clean, eps = self.clean_and_noise(guided, x, t)
            return math.sqrt(b) * clean + math.sqrt(1 - b) * eps

        if 'image' in case:
            pixels = np.asarray(Image.open(FIXTURES / case['image']).convert('RGB'))
            picture = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
            z0 = SCALING * self.vae.encode(picture)
            outputs['z0'] = z0[0]

            def layout(i):
                a = ALPHA_BAR[timesteps[i]]
                return math.sqrt(a) * z0 + math.sqrt(1 - a) * noise
        else:
            prompt = self.states(case['layout_prompt_ids'])
            layouts = [noise]
            for i in range(max(i_max, i_min - 1)):
                layouts.append(step(layouts[-1], i, prompt))
            outputs['layout_states'] = torch.cat(layouts)
            layout = layouts.__getitem__

        prompt = self.states(case['prompt_ids'])
        states = [layout(i_max)]
        for i in range(i_max, steps):
            x = step(states[-1], i, prompt)
            states.append(nu * x + (1 - nu) * layout(i + 1) if i + 1 < i_min else x)
        outputs['states'] = torch.cat(states)
        outputs['image'] = self.image(states[-1])
        return outputs, {'i_max': i_max, 'i_min': i_min, 'timesteps': timesteps}


# --------------------------------------------------------------------------------------------------
# Checking with the numbers of 1.x


def relative_error(actual, expected):
    return float((actual.double() - expected.double()).norm() / (expected.double().norm() or 1))


def check():
    cases = {case['id']: case for case in json.loads((FIXTURES / 'manifest.json').read_text())['cases']}
    files = {}

    def value(reference):
        name = reference['file']
        files.setdefault(name, load_file(FIXTURES / name))
        return files[name][reference['name']]

    model = Model(TINY)
    worst = {}
    for case in cases.values():
        if case.get('model') != 'tiny' or case.get('scales') or case['kind'] == 'trace':
            continue
        for name, actual in computed(model, case, cases, value).items():
            error = relative_error(actual, value(case['outputs'][name]))
            kind = f'{case["kind"]} {name}'
            worst[kind] = max(worst.get(kind, (0, '')), (error, case['id']))
    for kind, (error, case) in worst.items():
        print(f'{kind:25} {error:.1e}  {case}')


def computed(model, case, cases, value):
    if case['kind'] == 'clip':
        return {'hidden': model.states(case['prompt_ids'])[0]}
    if case['kind'] == 'unet':
        states = value(cases[case['clip']]['outputs']['hidden'])[None]
        return {'epsilon': model.noise(value(case['inputs']['x'])[None], case['t'], states)[0]}
    if case['kind'] == 'vae_encode':
        pixels = np.asarray(Image.open(FIXTURES / case['image']).convert('RGB'))
        picture = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
        return {'mean': model.vae.encode(picture)[0]}
    if case['kind'] == 'vae_decode':
        return {'image': model.image(value(case['inputs']['z'])[None])}
    return model.mix(case)[0]


# --------------------------------------------------------------------------------------------------
# Writing the numbers of 2.x

CORGI = {
    'prompt': 'a photo of a corgi wearing a red hat',
    'prompt_ids': [BEGIN, 320, 1125, 539, 320, 31320, 3309, 320, 736, 3801, END],
}
NO_PROMPT = {'prompt': '', 'prompt_ids': [BEGIN, END]}
LAYOUT = {'layout_prompt': 'a loaf of bread', 'layout_prompt_ids': [BEGIN, 320, 18273, 539, 5066, END]}
MIX = {
    'kind': 'magicmix',
    **CORGI,
    **{'negative': '', 'negative_ids': [BEGIN, END], 'steps': 10, 'guidance': 7.5, 'seed': 42},
    **{'k_min': 0.3, 'k_max': 0.6, 'nu': 0.5, 'width': 64, 'height': 64},
}
PICTURE = {'mode': 'image-text', 'image': 'landscape64.png'}


def unet_case(case_id, model, t, width, height, seed):
    sizes = {'t': t, 'width': width, 'height': height, 'seed': seed}
    return {'id': case_id, 'model': model, 'kind': 'unet', 'clip': 'tiny2-clip-1', **sizes}


CASES = [
    {'id': 'tiny2-clip-0', 'model': 'tiny2', 'kind': 'clip', **NO_PROMPT},
    {'id': 'tiny2-clip-1', 'model': 'tiny2', 'kind': 'clip', **CORGI},
    unet_case('tiny2-unet-8x8', 'tiny2', 301, 8, 8, 1),
    unet_case('tiny2-unet-15x9', 'tiny2', 801, 15, 9, 2),
    unet_case('tiny2-epsilon-unet-8x8', 'tiny2-epsilon', 1, 8, 8, 1),
    unet_case('tiny2-epsilon-unet-15x9', 'tiny2-epsilon', 901, 15, 9, 2),
    {'id': 'tiny2-mix', 'model': 'tiny2', **MIX, **PICTURE},
    {'id': 'tiny2-text', 'model': 'tiny2', **MIX, 'mode': 'text-text', **LAYOUT, 'width': 96},
    {'id': 'tiny2-epsilon-mix', 'model': 'tiny2-epsilon', **MIX, **PICTURE},
]


def run(case, precision, states):
    """The outputs of a case, its inputs, and what else is known of it then."""
    model = MODELS[case['model'], precision]
    if case['kind'] == 'clip':
        return {'hidden': model.states(case['prompt_ids'])[0]}, {}, {}
    if case['kind'] == 'unet':
        generator = torch.Generator().manual_seed(case['seed'])
        x = torch.randn(1, 4, case['height'], case['width'], generator=generator)
        return {'epsilon': model.noise(x, case['t'], states)[0]}, {'x': x[0]}, {}
    outputs, known = model.mix(case)
    return outputs, {}, known


MODELS = {}


def write():
    for name, config in (('tiny2', TINY2), ('tiny2-epsilon', TINY2_EPSILON)):
        for precision in ('f32', 'f16in', 'bf16'):
            MODELS[name, precision] = Model(config, precision)
    states = MODELS['tiny2', 'f32'].states(CORGI['prompt_ids'])
    tensors, cases = {}, []

    def reference(case, name, value):
        key = f'{case["id"]}.{name}'
        tensors[key] = value.contiguous()
        dtype = str(value.dtype).removeprefix('torch.')
        return {'file': 'sd2.safetensors', 'name': key, 'shape': list(value.shape), 'dtype': dtype}

    for case in CASES:
        outputs, inputs, known = run(case, 'f32', states)
        described = {name: reference(case, name, value) for name, value in outputs.items()}
        for precision in ('f16in', 'bf16'):
            for name, value in run(case, precision, states)[0].items():
                described[name] |= errors(precision, value, outputs[name], per_state='states' in name)
        inputs = {name: reference(case, name, value) for name, value in inputs.items()}
        cases.append({**case, **known, **({'inputs': inputs} if inputs else {}), 'outputs': described})
    save_file(tensors, FIXTURES / 'sd2.safetensors')
    environment = {'torch': torch.__version__, 'transformers': transformers.__version__}
    text = json.dumps({'environment': environment, 'cases': cases}, indent=1)
    (FIXTURES / 'sd2.json').write_text(text + '\n')


def errors(precision, value, expected, per_state):
    found = {f'{precision}_rel_l2': relative_error(value, expected)}
    if per_state:
        pairs = zip(value, expected, strict=True)
        found[f'{precision}_rel_l2_each'] = [relative_error(a, b) for a, b in pairs]
    if expected.dtype == torch.uint8:
        found[f'{precision}_mean_abs'] = float((value.double() - expected.double()).abs().mean())
    return {name: np.round(number, 7).tolist() for name, number in found.items()}


if __name__ == '__main__':
    with torch.no_grad():
        {'check': check, 'write': write}[sys.argv[1]]()
