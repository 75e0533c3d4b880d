"""Golden trajectory: 50 steps of torch.optim.AdamW with global-norm clipping on a given sequence of gradients."""

import json
import pathlib
import sys

import torch

SEED, STEPS, MAX_NORM = 11, 50, 1.5
torch.manual_seed(SEED)
matrix, vector = torch.nn.Parameter(torch.randn(2, 3)), torch.nn.Parameter(torch.randn(4))
optimizer = torch.optim.AdamW(
    [{"params": [matrix], "weight_decay": 0.1}, {"params": [vector], "weight_decay": 0.0}], lr=3e-3, betas=(0.9, 0.95), eps=1e-8
)


def values(tensor):
    return [float(f"{x:.9g}") for x in tensor.detach().double().flatten().tolist()]


golden = {"initial": {"matrix": values(matrix), "vector": values(vector)}, "maxNorm": MAX_NORM, "steps": []}
for step in range(STEPS):
    grads = [torch.randn_like(matrix) * (1 + step % 3), torch.randn_like(vector) * 0.1]
    matrix.grad, vector.grad = (grad.clone() for grad in grads)
    norm = torch.nn.utils.clip_grad_norm_([matrix, vector], MAX_NORM)
    optimizer.step()
    golden["steps"].append({
        "grads": {"matrix": values(grads[0]), "vector": values(grads[1])},
        "norm": norm.item(),
        "params": {"matrix": values(matrix), "vector": values(vector)},
    })

versions = {"python": sys.version.split()[0], "torch": torch.__version__}
source = {"script": "bench/references/tensor_adamw.py", "versions": versions, "seed": SEED}
path = pathlib.Path(__file__).parents[2] / "packages/tensor/golden/adamw.json"
path.write_text(json.dumps({"source": source, **golden}, separators=(",", ":")) + "\n")
