"""The machinery that turns a raw download into an image table; what is special to a data set is in its recipe."""
