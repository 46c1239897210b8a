import jaxtyping
import pytest


@pytest.fixture
def as_a_user(monkeypatch):
    """Without the tests' check of annotations, which would answer before the library does."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
