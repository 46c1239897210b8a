"""Step or linear decay, on real data: the best of each for the most influential points, and the certified optimum."""

import epsflow as ef

study = ef.Study(
    "step-vs-linear",
    store="step-vs-linear.sqlite",
    problems=[
        {"kind": "data", "data": name, "delete": {"by": "most influential", "count": 10}}
        for name in ("diabetes", "wine")
    ],
)
study.run()
for sentence in study.summary().answer:
    print(sentence)
for table in study.summary().tables:
    print(f"\n{table}")
print("\nWritten:", *study.report("step-vs-linear-report"))
