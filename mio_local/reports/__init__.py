"""What a run was and did, for people: as text, curves, tables and a verdict.

In: run directories. Out: plain data for the templates, SVG, PNG, CSV.
"""
