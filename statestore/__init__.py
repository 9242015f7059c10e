"""statestore"""
