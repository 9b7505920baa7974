"""Which of all items a user chooses next: the signals, the model that weighs them, the protocol."""
