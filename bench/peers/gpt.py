"""GPT-2 in plain PyTorch, with the weights of a checkpoint, so that both sides compute with the same numbers."""

import os

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

Cache = list[tuple[Tensor, Tensor]]


class Attention(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.c_attn = nn.Linear(width, 3 * width)
        self.c_proj = nn.Linear(width, width)

    def forward(self, x: Tensor, cache: tuple[Tensor, Tensor] | None, position: int) -> Tensor:
        batch, time, width = x.shape
        q, k, v = (
            part.view(batch, time, self.heads, width // self.heads).transpose(1, 2)
            for part in self.c_attn(x).split(width, dim=2)
        )
        if cache is not None:
            keys, values = cache
            keys[:, :, position : position + time] = k
            values[:, :, position : position + time] = v
            k, v = keys[:, :, : position + time], values[:, :, : position + time]
        # A prompt is causal; a single new token sees everything before it.
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=time > 1)
        return self.c_proj(mixed.transpose(1, 2).reshape(batch, time, width))


class FeedForward(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.c_fc = nn.Linear(width, 4 * width)
        self.c_proj = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.c_proj(F.gelu(self.c_fc(x), approximate="tanh"))


class Block(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attn = Attention(width, heads)
        self.ln_2 = nn.LayerNorm(width)
        self.mlp = FeedForward(width)

    def forward(self, x: Tensor, cache: tuple[Tensor, Tensor] | None, position: int) -> Tensor:
        x = x + self.attn(self.ln_1(x), cache, position)
        return x + self.mlp(self.ln_2(x))


class GPT(nn.Module):
    def __init__(self, layers: int, width: int, heads: int, vocabSize: int, contextLength: int):
        super().__init__()
        self.layers, self.width, self.heads = layers, width, heads
        self.wte = nn.Embedding(vocabSize, width)
        self.wpe = nn.Embedding(contextLength, width)
        self.h = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.ln_f = nn.LayerNorm(width)

    def forward(self, ids: Tensor, cache: Cache | None = None, position: int = 0) -> Tensor:
        """Hidden states after the last norm, [batch, time, width]."""
        positions = torch.arange(position, position + ids.shape[1], device=ids.device)
        x = self.wte(ids) + self.wpe(positions)
        for layer, block in enumerate(self.h):
            x = block(x, None if cache is None else cache[layer], position)
        return self.ln_f(x)

    def logits(self, hidden: Tensor) -> Tensor:
        return F.linear(hidden, self.wte.weight)

    def loss(self, ids: Tensor) -> Tensor:
        """Mean cross-entropy of every token but the first."""
        logits = self.logits(self(ids)[:, :-1])
        return F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())

    def new_cache(self, batch: int, length: int) -> Cache:
        shape = batch, self.heads, length, self.width // self.heads
        dtype = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else torch.float32
        return [(torch.empty(shape, dtype=dtype), torch.empty(shape, dtype=dtype)) for _ in range(self.layers)]


def load(folder: str, shape: dict) -> GPT:
    stored = load_file(os.path.join(folder, "model.safetensors"), device=str(torch.get_default_device()))
    weights = {}
    for name, values in stored.items():
        # Hugging Face's GPT-2 has linear weights [in, out], nn.Linear has [out, in].
        linear = values.dim() == 2 and ".h." in name
        weights[name.removeprefix("transformer.")] = values.t().contiguous() if linear else values
    model = GPT(**shape)
    model.load_state_dict(weights)
    return model


def some_ids(batch: int, time: int, vocab: int) -> Tensor:
    """The same token ids on both sides."""
    return (torch.arange(batch * time) * 7919 % vocab).view(batch, time)


@torch.inference_mode()
def check(model: GPT, ids: Tensor) -> float:
    """The loss of one row: equal on both sides when the weights and the model are."""
    return model.loss(ids[:1]).item()
