"""What writing costs: calls, tokens, seconds."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Cost:
    """Of texts that a model wrote about.

    Attributes
    ----------
    n_calls : texts given to the model
    n_read_tokens, n_written_tokens : of prompts and answers; 0 where a server does not tell
    seconds : of computing or waiting
    """

    n_calls: int = 0
    n_read_tokens: int = 0
    n_written_tokens: int = 0
    seconds: float = 0.0

    def __sub__(self, other: "Cost") -> "Cost":
        return Cost(
            self.n_calls - other.n_calls,
            self.n_read_tokens - other.n_read_tokens,
            self.n_written_tokens - other.n_written_tokens,
            self.seconds - other.seconds,
        )

    def of(self, n: int) -> "Cost":
        """What n texts cost if these are like them; nothing where nothing is known.

        >>> Cost(2, 100, 20, 3.0).of(10)
        Cost(n_calls=10, n_read_tokens=500, n_written_tokens=100, seconds=15.0)
        """
        share = n / self.n_calls if self.n_calls else 0.0
        return Cost(
            n,
            round(self.n_read_tokens * share),
            round(self.n_written_tokens * share),
            self.seconds * share,
        )

    def __str__(self) -> str:
        return (
            f"{self.n_calls:,} calls, {self.n_read_tokens:,} tokens read, "
            f"{self.n_written_tokens:,} written, {self.seconds:,.0f} s"
        )
