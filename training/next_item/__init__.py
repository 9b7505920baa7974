"""What is chosen next: signals of user and item, the sequence encoder, the chooser."""
