"""Named options of a constructor: what Python callers give is checked, as the command line's is."""

from collections.abc import Iterable


def check_option(name: str, value: object, known: Iterable[str]) -> None:
    """Raise an error if an option is none of the known ones.

    Raises:
        ValueError: If it is not.

    Example:
        >>> check_option("pixel_loss", "L2", ("l1", "l2"))
        Traceback (most recent call last):
        ValueError: pixel_loss must be one of l1, l2, not 'L2'.
    """
    known = tuple(known)
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}, not {value!r}.")
