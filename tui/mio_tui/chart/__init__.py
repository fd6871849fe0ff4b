"""Curves drawn with braille dots in the terminal."""

from mio_tui.chart.chart import SMOOTHING, Chart
from mio_tui.chart.curve import Curve, Guide

__all__ = ["SMOOTHING", "Chart", "Curve", "Guide"]
