"""The noise schedule of Stable Diffusion, and DDIM with guidance for a look in between."""

import torch

BETAS = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
ALPHAS = torch.cumprod(1 - BETAS, 0).float()


def noised(latents, noise, timesteps):
    a = ALPHAS.to(latents.device)[timesteps][:, None, None, None]
    return a.sqrt() * latents + (1 - a).sqrt() * noise


def clean(x, epsilon, timesteps):
    """The latent without the noise that is predicted in it."""
    a = ALPHAS.to(x.device)[timesteps][:, None, None, None]
    return (x - (1 - a).sqrt() * epsilon) / a.sqrt()


def min_snr_weight(timesteps, most=5.0):
    """Weights of the epsilon loss after Hang et al. 2023: easy timesteps count less."""
    a = ALPHAS[timesteps]
    snr = a / (1 - a)
    return snr.clamp(max=most) / snr


@torch.no_grad()
def sample(unet, context, empty, noise, steps=25, guidance=5.0):
    x, stride = noise, 1000 // steps
    both = torch.cat([empty.expand_as(context), context])
    for t in range((steps - 1) * stride + 1, 0, -stride):
        a, b = ALPHAS[t], ALPHAS[max(t - stride, 0)]
        e0, e1 = unet(torch.cat([x, x]), torch.full((2 * len(x),), t, device=x.device), both).chunk(
            2
        )
        e = e0 + guidance * (e1 - e0)
        x = b.sqrt() * (x - (1 - a).sqrt() * e) / a.sqrt() + (1 - b).sqrt() * e
    return x
