"""Running a grid: which cells there are, what has become of them, and who works on which."""
