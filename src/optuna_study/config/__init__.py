"""What a training run is configured with; free of torch."""
