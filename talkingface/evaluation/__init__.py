"""The published protocols: models and clips go in, one table comes out."""

from talkingface.evaluation.comparison import compare
from talkingface.evaluation.protocols import PROTOCOLS, Case

__all__ = ["PROTOCOLS", "Case", "compare"]
