"""Ten threes forgotten by a network that Adam trains in batches: the best step, the best linear decay, the optimum."""

import jax
import numpy as np
import optax

import epsflow as ef

jax.config.update("jax_enable_x64", True)

data = ef.load_dataset("digits").subsample(300, seed=0)
model = ef.MLP((64, 16, 10))
threes = np.flatnonzero(data.y == 3.0)[:10]
problem = ef.Problem(model, ef.SoftmaxCrossEntropy(), data, threes, l2=1e-3, reduction="mean")

# Every seed draws its own start and its own batches, and its target is where it ends without the threes. The schedule
# is chosen for the mean over three seeds; three more, which had no part in the choice, say what it is worth.
keys = jax.random.split(jax.random.key(0), 6)
training = {"optimiser": optax.adam(3e-3), "batch": 32, "key": keys[:3], "held_out": keys[3:]}

# The request comes after 60 steps of training; 60 more may be used.
table = ef.compare_schedules(
    problem,
    model.init,
    s=60,
    T=120,
    bounds=(-1.0, 1.0),
    families=(ef.Step, ef.LinearDecay),
    intervals=6,
    cost=ef.PredictionGap(data.x),
    **training,
)
for row in table.rows():
    held_out = f"{row['held_out']:.4f} ± {row['held_out_error']:.4f}"
    print(f"{row['family']:12}  gap {row['cost']:.4f}  held-out seeds {held_out}  {row['status']}")

best = table.optimum
print("ε on the intervals:", np.round(np.asarray(best.schedule(0.5 + np.arange(60, 120, 10))), 3))
print(f"what no ε on this mesh gains more of, to first order: {best.pmp_gap:.1e}")
