"""What the README says is what the project does."""

import re
from pathlib import Path

import jax.numpy as jnp
import pytest

import epsflow as ef

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_its_script_is_the_first_example():
    script = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert script is not None
    assert script.group(1) == (ROOT / "examples" / "first_schedule.py").read_text(encoding="utf-8")


def test_its_links_lead_somewhere():
    links = re.findall(r"\]\((?!http)([^)]+)\)", README)
    assert links
    assert all((ROOT / link).exists() for link in links)


def test_its_commands_are_where_continuous_integration_looks():
    for name in ("main job", "tests"):
        assert re.search(rf"^<!-- command: {name} -->\n```sh\n.+\n```$", README, re.MULTILINE)


def test_every_name_it_mentions_exists():
    table = README.split("## What each room is for")[1].split("##")[0]
    names = re.findall(r"`([A-Za-z_]+)`", table)
    assert len(names) > 20
    assert all(hasattr(ef, name) for name in names)


def test_dropping_the_point_at_once_costs_as_many_times_more_as_it_says():
    times = int(re.search(r"costs\s+(\d+) times as much", README).group(1))
    problem = ef.linear_regression(ef.load_dataset("diabetes"), [382], reduction="mean")
    baseline = ef.certify(problem, ef.Step(50.0), jnp.zeros(10), s=50.0, T=200.0)
    assert baseline.cost / baseline.lower_bound == pytest.approx(times, abs=0.5)
    assert int(jnp.argmax(jnp.asarray(ef.leverage(problem).cooks_distance))) == 382
