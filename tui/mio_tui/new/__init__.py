"""The New run screen: model, data, settings, review."""
