"""Encoders, whichever library runs them: their options, the way of a set through one, its answers.

Owns order, prompts, and what a row of numbers means. Loading, tokens and sums are the backends'
business: nothing here needs more than numpy.
"""

from llmsql.encoders.answers import Cosines, Scores, Vectors, check_pairs, unit
from llmsql.encoders.encoder import Encoder, Row, Rows, max_characters
from llmsql.encoders.options import Options
from llmsql.encoders.order import packs

__all__ = [
    "Cosines",
    "Encoder",
    "Options",
    "Row",
    "Rows",
    "Scores",
    "Vectors",
    "check_pairs",
    "max_characters",
    "packs",
    "unit",
]
