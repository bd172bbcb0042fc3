"""`lightning report`: what all records say together."""
