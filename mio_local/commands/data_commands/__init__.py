"""`mio-local data ...`: pairs looked at, and pairs made by the model itself."""
