"""Unlearning algorithms as values: what each keeps, what it does, what it assumes. Start in `_base.py`."""
