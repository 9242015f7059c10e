"""The server as it is installed: the one package under which the folders of the application stand. Start at `main`."""
