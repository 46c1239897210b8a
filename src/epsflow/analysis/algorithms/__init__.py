"""What an unlearning algorithm does, step by step: gradient descent, descend-to-delete, rewind-to-delete."""
