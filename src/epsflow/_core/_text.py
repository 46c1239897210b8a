"""Names that come from files, made fit to be shown."""


def printable(text: str, *, lines: bool = False) -> str:
    r"""The text with its control characters spelled out (\x1b, \n), so that a name cannot move the cursor.

    Args:
        text: anything; names come from files.
        lines: keep line breaks.
    """
    kept = "\n" if lines else ""
    return "".join(
        letter if letter.isprintable() or letter in kept else ascii(letter)[1:-1]  # the escape that Python writes
        for letter in text
    )
