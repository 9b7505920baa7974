"""Text to vector: any Hugging Face encoder or decoder, its identity, and a cache of vectors."""
