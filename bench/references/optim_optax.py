"""Golden values of packages/optim: fifty steps of optax's AdamW with clipping and a schedule, and its average of the weights.

Run from the repository's root: python bench/references/optim_optax.py
Writes packages/optim/golden/optax.json.
"""
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax

jax.config.update("jax_enable_x64", True)
seed, steps, warmup, peak, floor = 5, 50, 5, 0.05, 0.1
random = np.random.default_rng(seed)
float32 = lambda *shape: random.standard_normal(shape).astype(np.float32).astype(np.float64)
x, y = float32(6, 4), float32(6, 3)
initial = params = {"weight": float32(4, 3), "bias": float32(3)}

# Our warm-up reaches the peak one step after its last, and the last step of all has the floor.
start = peak / (warmup + 1)
cosine = optax.warmup_cosine_decay_schedule(start, peak, warmup, steps - 1, end_value=floor * peak)
linear = optax.schedules.warmup_constant_schedule(start, peak, warmup)
linear = optax.join_schedules(
    [linear, optax.linear_schedule(peak, floor * peak, steps - 1 - warmup)], boundaries=[warmup]
)
optimizer = optax.chain(
    optax.clip_by_global_norm(0.3),
    optax.adamw(cosine, b1=0.9, b2=0.95, eps=1e-8, weight_decay=0.1, mask={"weight": True, "bias": False}),
)
state, average = optimizer.init(params), params
losses, norms = [], []
objective = jax.jit(jax.value_and_grad(lambda p: jnp.mean((x @ p["weight"] + p["bias"] - y) ** 2)))
for _ in range(steps):
    loss, grads = objective(params)
    losses.append(float(loss))
    norms.append(float(optax.global_norm(grads)))
    updates, state = optimizer.update(grads, state, params)
    params = optax.apply_updates(params, updates)
    average = optax.incremental_update(params, average, step_size=1 - 0.9)


def flat(tree):
    return {name: np.asarray(value).flatten().tolist() for name, value in tree.items()}


pathlib.Path("packages/optim/golden/optax.json").write_text(json.dumps({
    "source": {
        "script": "bench/references/optim_optax.py",
        "versions": {"jax": jax.__version__, "optax": optax.__version__},
        "seed": seed,
    },
    "steps": steps, "warmup": warmup, "peak": peak, "floorShare": floor,
    "cosine": [float(cosine(i)) for i in range(steps)], "linear": [float(linear(i)) for i in range(steps)],
    "x": x.flatten().tolist(), "y": y.flatten().tolist(), "weightDecay": 0.1, "maxGradNorm": 0.3, "decay": 0.9,
    "initial": flat(initial), "losses": losses, "gradNorms": norms, "final": flat(params), "average": flat(average),
}))
