"""The search space: its dimensions, and the way between stored parameters and configurations."""
