"""Links into other projects' documentation, from stored lists: building the site needs no network.

`inventories/NAME.txt` begins with the address of the documentation; each further line is `object role page#anchor`.
Only what our pages mention stands there.
"""

import zlib
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

DOCS = Path(__file__).parents[1]


def compiled(source: Path, into: Path) -> tuple[str, str]:
    """The address, and the path of a Sphinx inventory written from the list."""
    address, *rows = source.read_text(encoding="utf-8").split("\n")
    entries = [row.split() for row in rows if row.strip()]
    body = "".join(f"{name} {role} 1 {page} -\n" for name, role, page in entries)
    head = f"# Sphinx inventory version 2\n# Project: {source.stem}\n# Version: \n"
    head += "# The remainder of this file is compressed using zlib.\n"
    into.mkdir(parents=True, exist_ok=True)
    target = into / f"{source.stem}.inv"
    target.write_bytes(head.encode() + zlib.compress(body.encode()))
    return address.strip(), str(target)


def store(app: Sphinx, config: Any) -> None:
    """Tells intersphinx of every stored list."""
    into = Path(app.doctreedir) / "inventories"
    config.intersphinx_mapping = {
        source.stem: compiled(source, into) for source in sorted((DOCS / "inventories").glob("*.txt"))
    }


def setup(app: Sphinx) -> dict[str, bool]:
    """Joins the build."""
    app.connect("config-inited", store, priority=10)  # before intersphinx reads its setting
    return {"parallel_read_safe": True, "parallel_write_safe": True}
