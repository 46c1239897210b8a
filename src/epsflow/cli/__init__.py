"""The command line: options come in; a table, a picture and files go out.

`epsflow optimise` answers which ε(t) unlearns a point best, `epsflow compare` searches the one-line families only,
`epsflow influence` lays the answers to a deletion side by side, `epsflow verify` checks the notes, `epsflow study` asks
a question over thousands of problems. The rooms do the work; here it is parsed, called, printed and written. Start in
`_app.py`.
"""

from ._main import main as main
