"""Which ε(t) is best? A problem, θ0, s and T come in; `ScheduleSolution`s and family comparisons go out.

`_task.py` states the question; `_optimal.py` answers it by direct transcription (`_exponential.py` for linear
regression, `_transcription.py` for any JAX model, whose jaxpr `_translate.py` turns into CasADi symbols) or without a
program (`_matrix_free.py`, on the gradients of `_rollout.py`) and simulates every proposal; `_families.py` searches
one-line schedules; `_pontryagin.py` holds an answer against the necessary conditions, `_polish.py` (linear regression)
and `_arc_polish.py` free it of the mesh, and `_certify.py` bounds what any schedule could gain. `_batch.py` and
`_batch_certify.py` do the same for thousands of small linear regressions at once. Start in `_optimal.py`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
