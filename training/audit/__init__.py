"""Whether what was built and what was served may be trusted: leakage and skew."""
