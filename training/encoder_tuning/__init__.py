"""An encoder adapted to a data set: its texts, and what users chose before the split."""
