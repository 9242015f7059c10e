"""What an operator may choose: the model of all settings, and the layers they come from."""
