"""A schedule as a moving picture."""

import pytest
from PIL import Image

from epsflow import InputError, plots


def test_it_is_a_gif_of_as_many_pictures_as_asked_for_and_a_second_more(comparison, tmp_path):
    written = plots.animate(comparison, tmp_path / "schedule.gif", frames=4, fps=3)
    with Image.open(written) as picture:
        assert picture.format == "GIF"
        first = picture.convert("L").tobytes()
        # Equal pictures are merged by the writer: the last second stands still.
        assert 4 <= picture.n_frames <= 4 + 3
        picture.seek(picture.n_frames - 1)
        assert picture.convert("L").tobytes() != first


def test_other_endings_and_folders_that_are_not_there_are_refused(comparison, tmp_path):
    with pytest.raises(InputError, match=r"must end in \.gif"):
        plots.animate(comparison, tmp_path / "schedule.mp4")
    with pytest.raises(InputError, match="Name a folder that exists"):
        plots.animate(comparison, tmp_path / "none" / "schedule.gif", frames=2)
