"""The networks of Stable Diffusion 1.x, small, with the tensor names of a diffusers folder.

Only what training needs: no dropout, no checkpointing, one picture size. The computation is that of
the full-size networks (same blocks, same epsilons), so the engine runs the result unchanged.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

CONTEXT = 77  # tokens of a prompt
VOCABULARY = 49408


def attend(q, k, v, heads, causal=False):
    """Two plain products: on a CPU in bf16 this is far faster than torch's fused attention."""
    n, length, width = q.shape
    q, k, v = (t.view(n, -1, heads, width // heads).transpose(1, 2) for t in (q, k, v))
    scores = (q / math.sqrt(width // heads)) @ k.transpose(2, 3)
    if causal:
        scores = scores + torch.full(scores.shape[-2:], -1e4, dtype=scores.dtype).triu(1)
    return (scores.softmax(-1) @ v).transpose(1, 2).reshape(n, length, width)


class Attention(nn.Module):
    def __init__(self, width, heads, context=None, bias=False):
        super().__init__()
        context = context or width
        self.heads = heads
        self.to_q = nn.Linear(width, width, bias)
        self.to_k = nn.Linear(context, width, bias)
        self.to_v = nn.Linear(context, width, bias)
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def forward(self, x, context=None):
        context = x if context is None else context
        heads = attend(self.to_q(x), self.to_k(context), self.to_v(context), self.heads)
        return self.to_out[0](heads)


# ---------------------------------------------------------------------------------------------
# Text encoder


class TextLayer(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.self_attn = nn.Module()
        for name in ('q_proj', 'k_proj', 'v_proj', 'out_proj'):
            setattr(self.self_attn, name, nn.Linear(width, width))
        self.layer_norm1, self.layer_norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = nn.Module()
        self.mlp.fc1, self.mlp.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        a, y = self.self_attn, self.layer_norm1(x)
        x = x + a.out_proj(attend(a.q_proj(y), a.k_proj(y), a.v_proj(y), self.heads, causal=True))
        y = self.mlp.fc1(self.layer_norm2(x))
        return x + self.mlp.fc2(y * torch.sigmoid(1.702 * y))


class TextEncoder(nn.Module):
    def __init__(self, width=64, layers=2, heads=4, vocabulary=VOCABULARY):
        super().__init__()
        self.config = {
            'architectures': ['CLIPTextModel'], 'model_type': 'clip_text_model',
            'vocab_size': VOCABULARY, 'max_position_embeddings': CONTEXT, 'hidden_size': width,
            'intermediate_size': 4 * width, 'num_hidden_layers': layers,
            'num_attention_heads': heads, 'hidden_act': 'quick_gelu', 'layer_norm_eps': 1e-5,
        }  # fmt: skip
        model = self.text_model = nn.Module()
        model.embeddings = nn.Module()
        model.embeddings.token_embedding = nn.Embedding(vocabulary, width)
        model.embeddings.position_embedding = nn.Embedding(CONTEXT, width)
        nn.init.normal_(model.embeddings.token_embedding.weight, std=0.5)
        nn.init.normal_(model.embeddings.position_embedding.weight, std=0.1)
        model.encoder = nn.Module()
        model.encoder.layers = nn.ModuleList(TextLayer(width, heads) for _ in range(layers))
        model.final_layer_norm = nn.LayerNorm(width)

    def forward(self, tokens):
        model = self.text_model
        x = model.embeddings.token_embedding(tokens) + model.embeddings.position_embedding.weight
        for layer in model.encoder.layers:
            x = layer(x)
        return model.final_layer_norm(x)


# ---------------------------------------------------------------------------------------------
# Blocks of UNet and autoencoder


class ResBlock(nn.Module):
    def __init__(self, before, after, groups, eps, time=None):
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(groups, before, eps), nn.GroupNorm(groups, after, eps)
        self.conv1 = nn.Conv2d(before, after, 3, padding=1)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1)
        if time:
            self.time_emb_proj = nn.Linear(time, after)
        self.conv_shortcut = nn.Conv2d(before, after, 1) if before != after else None
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x, time=None):
        h = self.conv1(F.silu(self.norm1(x)))
        if time is not None:
            h = h + self.time_emb_proj(F.silu(time))[:, :, None, None]
        h = self.conv2(F.silu(self.norm2(h)))
        return (x if self.conv_shortcut is None else self.conv_shortcut(x)) + h


class Resampler(nn.Module):
    def __init__(self, channels, stride=1, padding=1):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride, padding)

    def forward(self, x):
        return self.conv(x)


def level(resnets, attentions=None, name='', resampler=None):
    """One level of a network, its parts named as diffusers names them."""
    block = nn.Module()
    block.resnets = nn.ModuleList(resnets)
    if attentions:
        block.attentions = nn.ModuleList(attentions)
    if resampler:
        setattr(block, name, nn.ModuleList([resampler]))
    return block


# ---------------------------------------------------------------------------------------------
# UNet


class Gate(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.proj = nn.Linear(width, 8 * width)

    def forward(self, x):
        a, b = self.proj(x).chunk(2, -1)
        return a * F.gelu(b)


class TransformerBlock(nn.Module):
    def __init__(self, width, heads, context):
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))
        self.attn1, self.attn2 = Attention(width, heads), Attention(width, heads, context)
        self.ff = nn.Module()
        self.ff.net = nn.ModuleList([Gate(width), nn.Identity(), nn.Linear(4 * width, width)])

    def forward(self, x, context):
        x = x + self.attn1(self.norm1(x))
        x = x + self.attn2(self.norm2(x), context)
        return x + self.ff.net[2](self.ff.net[0](self.norm3(x)))


class Transformer(nn.Module):
    def __init__(self, width, heads, context, groups):
        super().__init__()
        self.norm = nn.GroupNorm(groups, width, 1e-6)
        self.proj_in, self.proj_out = nn.Conv2d(width, width, 1), nn.Conv2d(width, width, 1)
        self.transformer_blocks = nn.ModuleList([TransformerBlock(width, heads, context)])
        nn.init.zeros_(self.proj_out.weight)
        nn.init.zeros_(self.proj_out.bias)

    def forward(self, x, context):
        n, c, h, w = x.shape
        y = self.proj_in(self.norm(x)).flatten(2).transpose(1, 2)
        y = self.transformer_blocks[0](y, context)
        return x + self.proj_out(y.transpose(1, 2).reshape(n, c, h, w))


class UNet(nn.Module):
    def __init__(self, channels=(64, 128, 128, 128), heads=4, context=64, groups=32):
        super().__init__()
        self.config = {
            '_class_name': 'UNet2DConditionModel', 'sample_size': 16, 'in_channels': 4,
            'out_channels': 4, 'layers_per_block': 1, 'block_out_channels': list(channels),
            'attention_head_dim': heads, 'cross_attention_dim': context, 'norm_num_groups': groups,
            'down_block_types': ['CrossAttnDownBlock2D'] * 3 + ['DownBlock2D'],
            'up_block_types': ['UpBlock2D'] + ['CrossAttnUpBlock2D'] * 3,
        }  # fmt: skip
        self.first, last = channels[0], len(channels) - 1
        time = 4 * channels[0]
        self.time_embedding = nn.Module()
        self.time_embedding.linear_1 = nn.Linear(channels[0], time)
        self.time_embedding.linear_2 = nn.Linear(time, time)

        res = lambda before, after: ResBlock(before, after, groups, 1e-5, time)
        transformer = lambda width: Transformer(width, heads, context, groups)

        self.conv_in = nn.Conv2d(4, channels[0], 3, padding=1)
        skips, now = [channels[0]], channels[0]
        self.down_blocks = nn.ModuleList()
        for i, width in enumerate(channels):
            down = Resampler(width, stride=2) if i < last else None
            attentions = [transformer(width)] if i < last else None
            self.down_blocks.append(level([res(now, width)], attentions, 'downsamplers', down))
            skips += [width] * (2 if i < last else 1)
            now = width
        self.mid_block = level([res(now, now), res(now, now)], [transformer(now)])
        self.up_blocks = nn.ModuleList()
        for i, width in reversed(list(enumerate(channels))):
            resnets = []
            for _ in range(2):
                resnets.append(res(now + skips.pop(), width))
                now = width
            up = Resampler(width) if i > 0 else None
            attentions = [transformer(width) for _ in range(2)] if i < last else None
            self.up_blocks.append(level(resnets, attentions, 'upsamplers', up))
        self.conv_norm_out = nn.GroupNorm(groups, channels[0], 1e-5)
        self.conv_out = nn.Conv2d(channels[0], 4, 3, padding=1)
        nn.init.zeros_(self.conv_out.weight)

    def embed(self, timesteps):
        half = self.first // 2
        frequencies = torch.exp(-math.log(10000) * torch.arange(half) / half)
        angles = timesteps[:, None].float() * frequencies.to(timesteps.device)
        wave = torch.cat([angles.cos(), angles.sin()], 1).to(self.conv_in.weight.dtype)
        return self.time_embedding.linear_2(F.silu(self.time_embedding.linear_1(wave)))

    def forward(self, x, timesteps, context):
        time = self.embed(timesteps)
        x = self.conv_in(x)
        skips = [x]
        for block in self.down_blocks:
            x = block.resnets[0](x, time)
            if hasattr(block, 'attentions'):
                x = block.attentions[0](x, context)
            skips.append(x)
            if hasattr(block, 'downsamplers'):
                x = block.downsamplers[0](x)
                skips.append(x)
        x = self.mid_block.resnets[0](x, time)
        x = self.mid_block.attentions[0](x, context)
        x = self.mid_block.resnets[1](x, time)
        for block in self.up_blocks:
            for i, resnet in enumerate(block.resnets):
                x = resnet(torch.cat([x, skips.pop()], 1), time)
                if hasattr(block, 'attentions'):
                    x = block.attentions[i](x, context)
            if hasattr(block, 'upsamplers'):
                x = block.upsamplers[0](F.interpolate(x, scale_factor=2.0, mode='nearest'))
        return self.conv_out(F.silu(self.conv_norm_out(x)))


# ---------------------------------------------------------------------------------------------
# Autoencoder


class VaeAttention(nn.Module):
    def __init__(self, width, groups):
        super().__init__()
        self.group_norm = nn.GroupNorm(groups, width, 1e-6)
        self.to_q, self.to_k, self.to_v = (nn.Linear(width, width) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(width, width)])
        nn.init.zeros_(self.to_out[0].weight)
        nn.init.zeros_(self.to_out[0].bias)

    def forward(self, x):
        n, c, h, w = x.shape
        y = self.group_norm(x).flatten(2).transpose(1, 2)
        y = self.to_out[0](attend(self.to_q(y), self.to_k(y), self.to_v(y), 1))
        return x + y.transpose(1, 2).reshape(n, c, h, w)


class Encoder(nn.Module):
    def __init__(self, channels, groups):
        super().__init__()
        res = lambda before, after: ResBlock(before, after, groups, 1e-6)
        self.conv_in = nn.Conv2d(3, channels[0], 3, padding=1)
        self.down_blocks, now = nn.ModuleList(), channels[0]
        for i, width in enumerate(channels):
            down = Resampler(width, stride=2, padding=0) if i < len(channels) - 1 else None
            self.down_blocks.append(level([res(now, width)], None, 'downsamplers', down))
            now = width
        self.mid_block = level([res(now, now), res(now, now)], [VaeAttention(now, groups)])
        self.conv_norm_out = nn.GroupNorm(groups, now, 1e-6)
        self.conv_out = nn.Conv2d(now, 8, 3, padding=1)

    def forward(self, x):
        x = self.conv_in(x)
        for block in self.down_blocks:
            x = block.resnets[0](x)
            if hasattr(block, 'downsamplers'):
                x = block.downsamplers[0](F.pad(x, (0, 1, 0, 1)))
        x = self.mid_block.resnets[0](x)
        x = self.mid_block.resnets[1](self.mid_block.attentions[0](x))
        return self.conv_out(F.silu(self.conv_norm_out(x)))


class Decoder(nn.Module):
    def __init__(self, channels, groups):
        super().__init__()
        res = lambda before, after: ResBlock(before, after, groups, 1e-6)
        now = channels[-1]
        self.conv_in = nn.Conv2d(4, now, 3, padding=1)
        self.mid_block = level([res(now, now), res(now, now)], [VaeAttention(now, groups)])
        self.up_blocks = nn.ModuleList()
        for i, width in reversed(list(enumerate(channels))):
            up = Resampler(width) if i > 0 else None
            resnets = [res(now, width), res(width, width)]
            self.up_blocks.append(level(resnets, None, 'upsamplers', up))
            now = width
        self.conv_norm_out = nn.GroupNorm(groups, now, 1e-6)
        self.conv_out = nn.Conv2d(now, 3, 3, padding=1)

    def forward(self, x):
        x = self.conv_in(x)
        x = self.mid_block.resnets[0](x)
        x = self.mid_block.resnets[1](self.mid_block.attentions[0](x))
        for block in self.up_blocks:
            for resnet in block.resnets:
                x = resnet(x)
            if hasattr(block, 'upsamplers'):
                x = block.upsamplers[0](F.interpolate(x, scale_factor=2.0, mode='nearest'))
        return self.conv_out(F.silu(self.conv_norm_out(x)))


class Autoencoder(nn.Module):
    """Starts as a thumbnail: three channels of the latent carry the mean colours of 8x8 pixels."""

    def __init__(self, channels=(32, 64, 64, 128), groups=8):
        super().__init__()
        self.config = {
            '_class_name': 'AutoencoderKL', 'in_channels': 3, 'out_channels': 3,
            'latent_channels': 4, 'layers_per_block': 1, 'block_out_channels': list(channels),
            'norm_num_groups': groups, 'scaling_factor': 0.18215, 'sample_size': 128,
            'down_block_types': ['DownEncoderBlock2D'] * 4,
            'up_block_types': ['UpDecoderBlock2D'] * 4,
        }  # fmt: skip
        self.encoder, self.decoder = Encoder(channels, groups), Decoder(channels, groups)
        self.quant_conv, self.post_quant_conv = nn.Conv2d(8, 8, 1), nn.Conv2d(4, 4, 1)
        self.let_colour_through()

    def encode(self, x):
        """The mean and the logarithm of the variance of the latent."""
        mean, log_variance = self.quant_conv(self.encoder(x)).chunk(2, 1)
        return mean, log_variance.clamp(-20, 10)

    def decode(self, z):
        return self.decoder(self.post_quant_conv(z))

    @torch.no_grad()
    def let_colour_through(self):
        """Makes the identity paths carry the colours.

        Each colour has two channels, with and without a minus: silu(a) - silu(-a) = a. A constant
        stands beside them in their norm group, or the norm would erase a flat colour.
        """
        steady = 2.0
        signs = torch.tensor([1.0, -1.0])
        for coder in (self.encoder, self.decoder):
            start, finish = coder.conv_in, coder.conv_out
            start.weight[:12] = 0
            finish.weight[:3] = 0
            finish.bias.zero_()
            per_group = finish.in_channels // coder.conv_norm_out.num_groups
            constants = 2 * min(3, per_group // 4)  # in a norm group
            spread = steady * math.sqrt(constants / per_group)
            for i in range(3):
                at = 4 * i
                start.weight[at : at + 2, i, 1, 1] = signs
                start.bias[at : at + 4] = torch.tensor([0, 0, steady, -steady])
                finish.weight[i, at : at + 2, 1, 1] = signs * spread
            # Between the two, the twelve channels keep their places.
            for name, conv in coder.named_modules():
                if not isinstance(conv, nn.Conv2d) or not ('shortcut' in name or 'sampl' in name):
                    continue
                conv.weight[:12] = 0
                conv.bias[:12] = 0
                for i in range(12):
                    if conv.stride[0] == 2:
                        conv.weight[i, i, :2, :2] = 0.25
                    else:
                        conv.weight[i, i, conv.kernel_size[0] // 2, conv.kernel_size[0] // 2] = 1
        for conv in (self.quant_conv, self.post_quant_conv):
            conv.weight.copy_(torch.eye(len(conv.weight))[:, :, None, None])
            conv.bias.zero_()
        self.quant_conv.bias[4:] = -8


class Ema:
    """A running mean of a network's weights."""

    def __init__(self, network, decay):
        self.decay, self.steps = decay, 0
        self.mean = {k: v.detach().clone() for k, v in network.named_parameters()}

    @torch.no_grad()
    def update(self, network):
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        for name, value in network.named_parameters():
            self.mean[name].lerp_(value, 1 - decay)
