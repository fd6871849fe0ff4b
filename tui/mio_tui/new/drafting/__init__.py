"""What a value that was typed means: in the recipe's words, and as several values."""
