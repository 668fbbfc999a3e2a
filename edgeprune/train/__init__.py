"""Training, fine-tuning and accuracy."""
