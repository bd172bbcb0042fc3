"""Scaling laws with error bars: records in, coefficients and forecasts out."""
