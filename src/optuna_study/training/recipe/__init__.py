"""What people train with beside the plain loop: the best epoch, averages, mixtures, policies."""
