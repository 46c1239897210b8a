"""Which ε(t) is best? A problem, θ0, s and T come in; `ScheduleSolution`s and family comparisons go out.

The files of this folder are its doors. `_task.py` states the question; `_optimal.py` chooses a route; `_mesh.py` solves
on a mesh and leaves it, `_steps.py` does so in whole steps, of gradient descent or of an optimiser, whose trainings
`_trainings.py` makes; `_families.py` searches one-line schedules. `_simulate.py` says what a schedule costs,
`_pontryagin.py` holds it against the necessary conditions, `_certify.py` bounds what any schedule could gain and gives
the verdict, `_solution.py` is the answer, `_exact.py` says when the target can be reached. Doors take a `ControlTask`;
the wings never see one: `terms` (what all agree on), `linear` (linear regression, exactly), `steps` (the same in whole
steps), `systems` (any model by sweeps or steps), `bounds`, `programs` (CasADi), `polish` (switch times as unknowns) and
`stacks` (thousands of small problems). Start in `_optimal.py`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
