"""When does a two-layer network learn each degree of its target? On the time scales ε^{1/(2l)}, with plateaus between.

    python examples/plateaus.py

Prints learning times and slopes for ε = 1e-2 … 1e-8, and writes plateaus.png and slopes.png. Some ten seconds.
"""

import epsflow as ef
from epsflow.attribution import plateau_slopes

TARGET = [0.0, 1.0, 1.0, 1.0]


def main() -> None:
    flow = ef.plateau_flow(TARGET, time_scale=1e-6, rtol=1e-6)
    print(flow.summary())
    slopes = plateau_slopes(TARGET, rtol=1e-6)
    print(slopes.summary())
    print("slopes between neighbouring ε, degrees 1 to 3:")
    for scale, row in zip(slopes.time_scales[1:], slopes.local[:, 1:], strict=True):
        print(f"  {scale:.0e}", *(f"{slope:.3f}" for slope in row))
    ef.plots.save(ef.plots.plateaus(flow, ax=ef.plots.panels()[0]), "plateaus.png")
    ef.plots.save(ef.plots.plateau_slopes(slopes, ax=ef.plots.panels()[0]), "slopes.png")


if __name__ == "__main__":
    main()
