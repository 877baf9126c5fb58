"""CLIP's tokenizer, from the list of merges that the package is built with."""

import json
import tempfile
from pathlib import Path

import torch

from .networks import CONTEXT

MERGES = Path(__file__).parents[2] / 'dist' / 'clip-merges.txt'
BEGIN, END = 49406, 49407


def tokenizer():
    from transformers import CLIPTokenizer

    merges = MERGES.read_text().splitlines()
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(b) for b in plain] + [chr(256 + i) for i in range(256 - len(plain))]
    words = letters + [letter + '</w>' for letter in letters] + [m.replace(' ', '') for m in merges]
    words += ['<|startoftext|>', '<|endoftext|>']
    with tempfile.TemporaryDirectory() as folder:
        vocabulary, list_of_merges = Path(folder, 'vocab.json'), Path(folder, 'merges.txt')
        vocabulary.write_text(json.dumps({word: i for i, word in enumerate(words)}))
        list_of_merges.write_text('\n'.join(['#version: 0.2', *merges]) + '\n')
        return CLIPTokenizer(str(vocabulary), str(list_of_merges))


def encode(captions):
    """Token ids of shape (captions, 77), as the engine makes them: filled up with END."""
    ids = tokenizer()(list(captions), truncation=True, max_length=CONTEXT)['input_ids']
    rows = [row + [END] * (CONTEXT - len(row)) for row in ids]
    assert all(row[0] == BEGIN for row in rows)
    return torch.tensor(rows)
