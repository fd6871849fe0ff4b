"""What a model's loading needs beside the model."""
