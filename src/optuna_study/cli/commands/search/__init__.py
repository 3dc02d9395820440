"""Commands that search: start, join, watch and steer studies."""
