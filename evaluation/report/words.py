"""Numbers as the report writes them."""

from collections.abc import Mapping

from evaluation.report.document import Bounds, Figure

ABSENT = "-"


def figure(value: Figure, digits: int = 3) -> str:
    """A measure without its leading zero; a dash where it is not defined.

    >>> figure(0.1234), figure(-0.02), figure(1.5, 2), figure(None)
    ('.123', '-.020', '1.50', '-')
    """
    if value is None:
        return ABSENT
    written = f"{value:.{digits}f}"
    return written.replace("0.", ".", 1) if written.lstrip("-").startswith("0.") else written


def bounds(value: Bounds, digits: int = 3) -> str:
    """A mean with its interval.

    >>> bounds(Bounds(mean=0.125, low=0.11, high=0.14))
    '.125 (.110 to .140)'
    """
    if value.mean is None:
        return ABSENT
    ends = f"{figure(value.low, digits)} to {figure(value.high, digits)}"
    return f"{figure(value.mean, digits)} ({ends})"


def mean_and_spread(values: list[Figure], digits: int = 3) -> str:
    """The mean over seeds, and the least and the greatest of them.

    >>> mean_and_spread([0.1, 0.2, 0.3]), mean_and_spread([0.1])
    ('.200 (.100 to .300)', '.100')
    """
    known = [value for value in values if value is not None]
    if not known:
        return ABSENT
    mean = figure(sum(known) / len(known), digits)
    if len(known) == 1:
        return mean
    return f"{mean} ({figure(min(known), digits)} to {figure(max(known), digits)})"


def shared_categories(found: Mapping[str, float]) -> list[str]:
    """A sentence on the features some of whose categories the ranker does not tell apart."""
    features = [f"{name} {share:.1%}" for name, share in found.items() if share > 0]
    if not features:
        return []
    return [f"Categories that share codes with others, of all: {', '.join(features)}."]
