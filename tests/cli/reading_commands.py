"""Commands that read what was prepared or applied."""

READING = (
    "recommend u1",
    "recommend u1 --as-of 2024-02-01",
    "recommend --all --out {folder}/answers",
    "serve --port 0",
    "refresh full",
    "training-set",
    "train",
    "evaluate",
    "rehearse",
    "audit leakage",
    "audit skew",
    "tune",
    "tables compact",
)
