"""Steps of training: one update, told to the device call by call or captured as a whole."""
