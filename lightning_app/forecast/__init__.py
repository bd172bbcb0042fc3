"""`lightning forecast`: how many images one's own data set needs."""
