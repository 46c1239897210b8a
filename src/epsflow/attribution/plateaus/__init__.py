"""Plateaus: coefficients and a time scale come in; what a two-layer network has learned, and when, goes out."""
