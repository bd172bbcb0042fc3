"""Columns of a table of records that may lack them."""

import numpy as np
import pandas as pd


def numbers(frame: pd.DataFrame, name: str) -> "pd.Series[float]":
    """A column as float64; NaN where there is no number, everywhere where there is no such column.

    Example:
        >>> numbers(pd.DataFrame({"a": [1, None]}), "a").tolist(), numbers(pd.DataFrame({"a": [1]}), "b").tolist()
        ([1.0, nan], [nan])
    """
    if name not in frame:
        return pd.Series(np.nan, index=frame.index, name=name)
    return pd.to_numeric(frame[name], errors="coerce").astype("float64")


def words(frame: pd.DataFrame, name: str, instead: str = "") -> "pd.Series[str]":
    """A column as text, with something instead where there is nothing.

    Example:
        >>> words(pd.DataFrame({"a": ["x", None]}), "a", "?").tolist(), words(pd.DataFrame({"a": ["x"]}), "b").tolist()
        (['x', '?'], [''])
    """
    if name not in frame:
        return pd.Series(instead, index=frame.index, name=name, dtype=object)
    return frame[name].astype(object).where(frame[name].notna(), instead).astype(str).astype(object)
