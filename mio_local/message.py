"""One turn of a conversation."""

Message = dict[str, str]  # {"role": "system" | "user" | "assistant", "content": text}
