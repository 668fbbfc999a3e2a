"""What a comparison found: its figures, its table and its pages."""
