"""Where and when the flows run."""
