"""Whether anything is left: reads bytes of files and keys, and knows nothing of who erased them."""
