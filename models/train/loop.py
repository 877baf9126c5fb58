"""The training loop that all stages share: two processes of one thread each, or one GPU.

On a CPU, two data-parallel processes of one thread are faster than one of two threads: small
networks spend much of their time in operations that do not divide well. The networks compute in
bf16; AdamW keeps f32 weights. The learning rate falls like a cosine over the minutes given, on a CPU
those of its own time: a process that is put aside learns nothing.
"""

import copy
import math
import os
import socket
import time

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from .networks import Ema


def start(stage, options):
    """Runs `stage(options, rank, device)` in as many processes as the machine deserves."""
    if torch.cuda.is_available():
        stage(options, 0, 'cuda')
        return
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    mp.spawn(_worker, (stage, options, port), nprocs=options.processes)


def _worker(rank, stage, options, port):
    os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port))
    torch.set_num_threads(1)
    dist.init_process_group('gloo', rank=rank, world_size=options.processes)
    stage(options, rank, 'cpu')
    dist.destroy_process_group()


def train(network, loss_of, options, rank, device, report=lambda network: ''):
    """Trains `network` for `options.minutes`; gives the mean of its weights of late.

    `loss_of(network, random)` draws a batch and gives its loss. The state is kept in
    `options.state` every few minutes; a run that is started again goes on from there.
    """
    master = network.to(device).float()
    worker = copy.deepcopy(master).to(torch.bfloat16)
    optimizer = torch.optim.AdamW(
        master.parameters(), options.rate, (0.9, 0.99), weight_decay=0.01, fused=True
    )
    ema = Ema(master, options.ema)
    spent, steps = 0.0, 0
    if os.path.exists(options.state):
        state = torch.load(options.state, map_location=device, weights_only=True)
        master.load_state_dict(state['network'])
        optimizer.load_state_dict(state['optimizer'])
        ema.mean, ema.steps = state['ema'], state['steps']
        spent, steps = state['seconds'], state['steps']
    random = torch.Generator().manual_seed(1000 * rank + steps + options.seed)
    ranks = dist.get_world_size() if dist.is_initialized() else 1
    parameters = list(zip(master.parameters(), worker.parameters()))
    total, mean_loss, kept = 60 * options.minutes, None, spent
    now = time.process_time if device == 'cpu' else time.time
    began = now() - spent

    while spent < total:
        with torch.no_grad():
            for full, short in parameters:
                short.copy_(full)
                short.grad = None
        warm = min(1, (steps + 1) / 100)
        rate = options.rate * warm * max(0.01, 0.5 + 0.5 * math.cos(math.pi * spent / total))
        for group in optimizer.param_groups:
            group.update(lr=rate, fused=True)

        loss = loss_of(worker, random)
        loss.backward()
        flat = torch.cat([_gradient(short) for _, short in parameters])
        clock = torch.tensor([loss.item(), now() - began], device=device)
        if ranks > 1:
            dist.all_reduce(flat)
            dist.all_reduce(clock)
        value, spent = (clock / ranks).tolist()  # the same in every process
        at = 0
        for full, _ in parameters:
            full.grad = flat[at : at + full.numel()].view_as(full) / ranks
            at += full.numel()
        torch.nn.utils.clip_grad_norm_(master.parameters(), 1.0)
        optimizer.step()
        ema.update(master)
        steps += 1
        mean_loss = value if mean_loss is None else 0.98 * mean_loss + 0.02 * value

        if rank == 0 and (steps % 100 == 0):
            print(
                f'{spent / 60:6.1f} min  step {steps}  loss {mean_loss:.4f}  rate {rate:.1e}',
                flush=True,
            )
        if rank == 0 and spent - kept > 240:
            kept = spent
            _keep(options.state, master, optimizer, ema, spent, steps)
            print(report(averaged(master, ema)), flush=True)
    if rank == 0:
        _keep(options.state, master, optimizer, ema, spent, steps)
        print(report(averaged(master, ema)), flush=True)
    return averaged(master, ema)


def averaged(network, ema):
    mean = copy.deepcopy(network)
    with torch.no_grad():
        for name, value in mean.named_parameters():
            value.copy_(ema.mean[name])
    return mean


def _gradient(parameter):
    gradient = parameter.grad if parameter.grad is not None else torch.zeros_like(parameter)
    return gradient.detach().float().flatten()


def _keep(path, network, optimizer, ema, seconds, steps):
    state = {
        'network': network.state_dict(), 'optimizer': optimizer.state_dict(), 'ema': ema.mean,
        'seconds': seconds, 'steps': steps,
    }  # fmt: skip
    torch.save(state, path + '.part')
    os.replace(path + '.part', path)
