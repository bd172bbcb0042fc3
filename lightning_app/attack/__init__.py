"""`lightning attack`: how robust a saved network is, on its own images or on others."""
