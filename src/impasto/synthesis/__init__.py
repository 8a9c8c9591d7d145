"""From losses to a picture: objective, schedule, optimisation, and those who watch it."""

from impasto.synthesis.objective import Objective, Term
from impasto.synthesis.optimize import Moment, Optimisation, Step, Synthesis
from impasto.synthesis.schedule import Scale, coarse_to_fine

__all__ = ["Moment", "Objective", "Optimisation", "Scale", "Step", "Synthesis", "Term", "coarse_to_fine"]
