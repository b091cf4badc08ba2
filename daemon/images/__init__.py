"""What an image is made of, and what is known to be wrong with it."""
