"""The notebooks run from top to bottom, and are small enough to read."""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

NOTEBOOKS = sorted((Path(__file__).parents[2] / "examples" / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_its_cells_run(notebook, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    names = {}
    for number, source in enumerate(code):
        exec(compile(source, f"{notebook.name}[{number}]", "exec"), names)
    plt.close("all")
    assert 0 < sum(source.count("\n") + 1 for source in code) < 40
    assert not any(cell.get("outputs") for cell in cells)  # what is stored would grow old


def test_there_are_two():
    assert len(NOTEBOOKS) == 2
