"""What other people chose: histories of users, item-item models, and their versions."""
