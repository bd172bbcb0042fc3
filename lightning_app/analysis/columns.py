"""Columns of a table of records that may lack them."""

from typing import Any

import numpy as np
import pandas as pd

_MOST = 1e50


def numbers(frame: pd.DataFrame, name: str) -> "pd.Series[float]":
    """A column as float64; NaN where there is no number, everywhere where there is no such column.

    What nothing can measure, above 1e50 or below 1e-50, counts as infinite and as 0: its squares would be no numbers.

    Example:
        >>> numbers(pd.DataFrame({"a": [1, None]}), "a").tolist(), numbers(pd.DataFrame({"a": [1]}), "b").tolist()
        ([1.0, nan], [nan])
        >>> numbers(pd.DataFrame({"a": [-1e300, 1e-320]}), "a").tolist()
        [-inf, 0.0]
    """
    if name not in frame:
        return pd.Series(np.nan, index=frame.index, name=name)
    values = pd.to_numeric(frame[name], errors="coerce").astype("float64")
    size = values.abs()
    return values.mask(values > _MOST, np.inf).mask(values < -_MOST, -np.inf).mask(size < 1 / _MOST, 0.0)


def whole(values: "pd.Series[float]") -> "pd.Series[Any]":
    """Counts as whole numbers; as they are where one of them is none.

    Example:
        >>> whole(pd.Series([1.0, np.nan])).tolist(), whole(pd.Series([100.5, np.inf])).tolist()
        ([1, <NA>], [100.5, inf])
    """
    counts = (values.abs() < 2**53) & (values % 1 == 0)
    return values.astype("Int64") if (counts | values.isna()).all() else values


def words(frame: pd.DataFrame, name: str, instead: str = "") -> "pd.Series[str]":
    """A column as text, with something instead where there is nothing.

    Example:
        >>> words(pd.DataFrame({"a": ["x", None]}), "a", "?").tolist(), words(pd.DataFrame({"a": ["x"]}), "b").tolist()
        (['x', '?'], [''])
    """
    if name not in frame:
        return pd.Series(instead, index=frame.index, name=name, dtype=object)
    return frame[name].astype(object).where(frame[name].notna(), instead).astype(str).astype(object)
