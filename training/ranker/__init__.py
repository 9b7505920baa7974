"""The fusion ranker: all that serving needs of training."""
