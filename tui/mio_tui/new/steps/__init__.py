"""The four steps of the form: each shows one part of the draft, and says what is missing in it."""
