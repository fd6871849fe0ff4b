"""The files that datasets come in, read row by row.

In: the path of a JSONL, JSON, CSV, TSV, Parquet or Arrow file, compressed or not, or of a folder of them. Out: an
iterator of `Row`; only JSON is held in memory whole. What a file has wrong is a `DataError` of one line.
"""
