"""Who rewards answers."""
