"""One module per command, each with `main(arguments) -> exit code`. Imported when its command runs."""
