"""How an answer is spread over unlike items, and what it tries out."""
