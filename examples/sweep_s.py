"""A sweep over s: how much dearer than the optimum is dropping the point at once, the later the request comes?

A study keeps its rows in sweep.sqlite: run the script again, or interrupt it, and nothing is computed twice.
"""

import epsflow as ef

study = ef.Study(
    name="sweep",
    problems=[{"kind": "data", "data": "diabetes", "delete": {"by": "most influential", "count": 8}}],
    s=[0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0],
    T=[64.0],
    families=["Step"],
)
state = study.run()
print(f"{state.done} rows computed, {state.kept} were there")

frame = study.to_pandas()
frame["excess"] = frame["cost_baseline"] / frame["cost_optimum"] - 1.0
print(
    frame.pivot_table(
        index="s", values=["excess", "switches"], aggfunc={"excess": ["median", "max"], "switches": "max"}
    )
)
print("certified:", f"{(frame['scope'].str.startswith('global')).mean():.0%}")
