"""What the tests of studies compare."""

from typing import Any

from epsflow.studies import Study, open_store


def table(study: Study) -> list[tuple[Any, ...]]:
    """What a run leaves that does not depend on the clock."""
    with open_store(study.store) as store:
        return [(row.place, row.key, row.inputs, row.status, row.outputs, row.error) for row in store.rows()]
