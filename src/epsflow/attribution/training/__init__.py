"""Influence along training: a problem, a schedule and a start come in; K_j(t), its integrals and its limits go out."""
