"""`lightning dashboard`: a saved W&B workspace whose panels are the questions of the suite."""
