"""A Llama-like model written without transformers, under MedSLM's names."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

WIDTH, HEADS, KEY_HEADS, HEAD_DIM, INNER, VOCABULARY, LAYERS = 64, 4, 2, 16, 96, 120, 3
THETA, EPS = 500.0, 1e-5


class Norm(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(WIDTH) + 0.5)

    def forward(self, x):
        return self.weight * x / (x.square().mean(-1, keepdim=True) + EPS).sqrt()


def rotate(x_LHD, rotary):
    """Each pair of numbers as one complex number, turned by its angle."""
    length, half = x_LHD.shape[0], HEAD_DIM // 2
    angle_LD = torch.arange(length)[:, None] * THETA ** (-torch.arange(half) / half)
    turn = torch.polar(torch.ones_like(angle_LD), angle_LD)[:, None]
    if rotary == "pairs":
        x = torch.view_as_complex(x_LHD.unflatten(-1, (half, 2)).contiguous())
        return torch.view_as_real(x * turn).flatten(-2)
    x = torch.complex(x_LHD[..., :half], x_LHD[..., half:]) * turn
    return torch.cat([x.real, x.imag], -1)


class Attention(nn.Module):
    def __init__(self, rotary):
        super().__init__()
        self.rotary = rotary
        self.wq = nn.Linear(WIDTH, HEADS * HEAD_DIM, bias=False)
        self.wk = nn.Linear(WIDTH, KEY_HEADS * HEAD_DIM, bias=False)
        self.wv = nn.Linear(WIDTH, KEY_HEADS * HEAD_DIM, bias=False)
        self.wo = nn.Linear(HEADS * HEAD_DIM, WIDTH, bias=False)

    def forward(self, x):
        q = rotate(self.wq(x).unflatten(-1, (HEADS, HEAD_DIM)), self.rotary)
        k = rotate(self.wk(x).unflatten(-1, (KEY_HEADS, HEAD_DIM)), self.rotary)
        v = self.wv(x).unflatten(-1, (KEY_HEADS, HEAD_DIM))
        k, v = (each.repeat_interleave(HEADS // KEY_HEADS, dim=1) for each in (k, v))
        scores = torch.einsum("qhd,khd->hqk", q, k) / math.sqrt(HEAD_DIM)
        future = torch.ones(len(x), len(x), dtype=torch.bool).triu(1)
        weights = scores.masked_fill(future, -math.inf).softmax(-1)
        return self.wo(torch.einsum("hqk,khd->qhd", weights, v).flatten(1))


class FeedForward(nn.Module):
    def __init__(self):
        super().__init__()
        self.w_gate = nn.Linear(WIDTH, INNER, bias=False)
        self.w_up = nn.Linear(WIDTH, INNER, bias=False)
        self.w_down = nn.Linear(INNER, WIDTH, bias=False)

    def forward(self, x):
        gate = self.w_gate(x)
        return self.w_down(gate * gate.sigmoid() * self.w_up(x))


class Block(nn.Module):
    def __init__(self, rotary):
        super().__init__()
        self.norm1, self.attn = Norm(), Attention(rotary)
        self.norm2, self.ffn = Norm(), FeedForward()

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.ffn(self.norm2(x))


class Theirs(nn.Module):
    def __init__(self, rotary="halves"):
        super().__init__()
        self.tok_emb = nn.Embedding(VOCABULARY, WIDTH)
        self.blocks = nn.ModuleList(Block(rotary) for _ in range(LAYERS))
        self.norm_f = Norm()
        for parameter in self.parameters():
            if parameter.ndim == 2:
                nn.init.normal_(parameter, std=0.25)

    def forward(self, ids_L):
        x = self.tok_emb(ids_L)
        for block in self.blocks:
            x = block(x)
        return self.norm_f(x) @ self.tok_emb.weight.T


@pytest.fixture
def theirs():
    """By how its queries and keys lie, the model and its logits for some tokens."""

    def make(rotary="halves"):
        torch.manual_seed(0)
        model = Theirs(rotary)
        ids_BL = torch.randint(VOCABULARY, (2, 24))
        with torch.no_grad():
            logits_BLV = torch.stack([model(ids_L) for ids_L in ids_BL])
        return SimpleNamespace(weights=model.state_dict(), ids=ids_BL, logits=logits_BLV)

    return make
