"""From pictures on disk to arrays and their split; free of torch."""
