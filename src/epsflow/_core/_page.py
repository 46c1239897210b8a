"""Pages of HTML that need nothing else: no network, no second file."""

import html

STYLE = """
:root { color-scheme: light dark; --line: #8886; --soft: #8881; --accent: #0072B2; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 74rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: .2rem; }
h2 { font-size: 1.25rem; margin-top: 2.2rem; } h3 { font-size: 1.05rem; }
.answer { border-left: 4px solid var(--accent); padding: .2rem 1rem; background: var(--soft); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .6rem; text-align: right; vertical-align: top; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; }
figure { margin: 1rem 0; background: white; color: black; padding: .5rem; }
figure svg { max-width: 100%; height: auto; }
figcaption, small, .note { font-size: .85rem; opacity: .8; }
pre { background: var(--soft); padding: .8rem; overflow-x: auto; font-size: .8rem; }
@media print { body { margin: 0; max-width: none; } h2 { break-after: avoid; } figure { break-inside: avoid; } }
"""


def page(title: str, body: str, *, style: str = "", head: str = "") -> str:
    """A whole page.

    Args:
        title: plain text.
        body: markup.
        style: rules beside the house's, which they may change.
        head: more of the page's head, as markup.
    """
    width = '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/>'
        f"<title>{html.escape(title)}</title>{width}{head}<style>{STYLE}{style}</style></head>\n"
        f"<body>{body}</body></html>\n"
    )
