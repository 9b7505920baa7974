"""Costly results kept on disk under keys, each made once by whoever needs it first."""
