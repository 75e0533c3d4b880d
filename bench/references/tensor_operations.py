"""Golden values of single operations from torch and transformers: outputs, and gradients for a given output gradient."""

import json
import pathlib
import sys

import torch
import transformers
from torch.nn import functional as F
from transformers.models.llama.modeling_llama import LlamaConfig, LlamaRotaryEmbedding, apply_rotary_pos_emb

SEED = 7
torch.manual_seed(SEED)
cases = {}


def numbers(tensor):
    return {"shape": list(tensor.shape), "values": [float(f"{x:.7g}") for x in tensor.detach().double().flatten().tolist()]}


def record(name, inputs, output, extra=None):
    """Differentiable inputs by name; the output's gradient is drawn here."""
    dy = torch.randn_like(output)
    grads = torch.autograd.grad(output, list(inputs.values()), dy)
    cases[name] = {
        "inputs": {key: numbers(value) for key, value in inputs.items()},
        "output": numbers(output),
        "outputGradient": numbers(dy),
        "gradients": {key: numbers(grad) for key, grad in zip(inputs, grads)},
        **(extra or {}),
    }


def leaf(*shape, scale=1.0):
    return (torch.randn(*shape) * scale).requires_grad_()


x = leaf(4, 6, scale=2)
record("gelu", {"x": x}, F.gelu(x))
record("geluTanh", {"x": x}, F.gelu(x, approximate="tanh"))
record("silu", {"x": x}, F.silu(x))

x, weight, bias, residual = leaf(2, 3, 5), leaf(7, 5), leaf(7), leaf(2, 3, 7)
y = F.gelu(F.linear(x, weight, bias), approximate="tanh") + residual
record("linear", {"x": x, "weight": weight, "bias": bias, "residual": residual}, y)

x, gain, bias = leaf(3, 2, 9), leaf(9), leaf(9)
record("layerNorm", {"x": x, "gain": gain, "bias": bias}, F.layer_norm(x, (9,), gain, bias, 1e-5))
record("rmsNorm", {"x": x, "gain": gain}, F.rms_norm(x, (9,), gain, 1e-6))

x = leaf(3, 8)
gate, up = x.chunk(2, -1)
record("swiglu", {"gateUp": x}, F.silu(gate) * up)


def attend(qkv, heads, kv_heads, mask):
    batch, time, width = qkv.shape
    size = width // (heads + 2 * kv_heads)
    q, k, v = qkv.split([heads * size, kv_heads * size, kv_heads * size], -1)
    q, k, v = (t.view(batch, time, -1, size).transpose(1, 2) for t in (q, k, v))
    y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True)
    return y.transpose(1, 2).reshape(batch, time, heads * size)


qkv = leaf(2, 5, (4 + 2 * 2) * 3)
causal = torch.ones(5, 5, dtype=torch.bool).tril()
record("attentionCausal", {"qkv": qkv}, attend(qkv, 4, 2, causal))
record("attentionFull", {"qkv": qkv}, attend(qkv, 4, 2, None))
# Padding behind in the first row, in front in the second; torch gives NaN to rows that see nothing, so they see all
# here and their output counts as 0.
segments = torch.tensor([[1, 1, 2, 2, 0], [0, 0, 3, 3, 3]])
together = (segments[:, :, None] == segments[:, None, :]) & causal
y = attend(qkv, 4, 2, (together | (segments == 0)[:, :, None])[:, None])
record("attentionSegments", {"qkv": qkv}, y * (segments > 0)[..., None], {"segments": segments.tolist()})

heads, kv_heads, size, theta = 2, 1, 8, 10000.0
qkv = leaf(2, 3, (heads + 2 * kv_heads) * size)
positions = torch.tensor([[0, 1, 2], [5, 700, 9]])
config = LlamaConfig(hidden_size=heads * size, num_attention_heads=heads, rope_parameters={"rope_type": "default", "rope_theta": theta})
cos, sin = LlamaRotaryEmbedding(config)(qkv, positions)
q, k, v = (t.view(2, 3, -1, size).transpose(1, 2) for t in qkv.split([heads * size, size, size], -1))
q, k = apply_rotary_pos_emb(q, k, cos, sin)
y = torch.cat([t.transpose(1, 2).reshape(2, 3, -1) for t in (q, k, v)], -1)
record("rope", {"qkv": qkv}, y, {"positions": positions.tolist()})

logits, ids = leaf(4, 11, scale=3), torch.tensor([0, 10, 3, 3])
y = torch.log_softmax(logits / 0.7, -1).gather(1, ids[:, None])[:, 0]
record("tokenLogProbs", {"logits": logits}, y, {"ids": ids.tolist()})

hidden, unembedding = leaf(4, 5), leaf(11, 5)
log_probs = torch.log_softmax(hidden @ unembedding.T / 0.7, -1)
entropy = numbers(-(log_probs.exp() * log_probs).sum(-1))
y = log_probs.gather(1, ids[:, None])[:, 0]
record("linearTokenLogProbs", {"hidden": hidden, "unembedding": unembedding}, y, {"ids": ids.tolist(), "entropy": entropy})

versions = {"python": sys.version.split()[0], "torch": torch.__version__, "transformers": transformers.__version__}
source = {"script": "bench/references/tensor_operations.py", "versions": versions, "seed": SEED}
path = pathlib.Path(__file__).parents[2] / "packages/tensor/golden/operations.json"
path.write_text(json.dumps({"source": source, **cases}, separators=(",", ":")) + "\n")
